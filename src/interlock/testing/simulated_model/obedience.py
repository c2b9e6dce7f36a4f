"""Instructions in tool results, for a model that takes them for its own.

An instruction is `CALL tool {json}`, anywhere in a text; without `{json}` there are no arguments.
Tool results are mostly JSON, so their strings are searched as they read, not as they are escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, cast

from interlock.testing.simulated_model.reply import ToolCall
from interlock.testing.simulated_model.request import Request

__all__ = ["instructed_calls"]

_INSTRUCTION: Final = re.compile(r"\bCALL\s+([A-Za-z_][\w-]*)\s*")


def instructed_calls(request: Request) -> tuple[ToolCall, ...]:
    """The calls that tool results after the last assistant message ask for, in their order.

    Older results were obeyed before. An instruction whose JSON is no object is none.
    """
    return tuple(
        call
        for result in request.tool_results
        if result.fresh
        for text in _texts(result.text)
        for call in _calls(text)
    )


def _texts(text: str) -> Iterator[str]:
    try:
        value: Any = json.loads(text)
    except ValueError:
        yield text
    else:
        yield from _strings(value)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in cast("dict[str, Any]", value).values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _strings(item)


def _calls(text: str) -> Iterator[ToolCall]:
    for found in _INSTRUCTION.finditer(text):
        arguments: Any = {}
        if text.startswith("{", found.end()):
            try:
                arguments, _ = json.JSONDecoder().raw_decode(text, found.end())
            except ValueError:
                continue
        yield ToolCall(name=found[1], arguments=arguments)
