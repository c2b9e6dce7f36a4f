"""The type that a person's answer must have, where an agent was to answer.

Pydantic AI lets an agent choose between types, name them as tools, or pass its answer through a
function. A person gives the value itself: one of the types, or what the function would return.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic_ai.output import NativeOutput, PromptedOutput, TextOutput, ToolOutput

from interlock.base.codec import return_type

__all__ = ["answer_of", "answer_type"]


def answer_of(kind: Any, value: Any) -> Any:
    """The value as an agent with this output type answers. Raises pydantic's `ValidationError`."""
    return TypeAdapter[Any](answer_type(kind)).validate_python(value)


def answer_type(kind: Any) -> Any:
    """What values of an agent's output type are: a type, or a union of those it chooses from."""
    first, *others = dict.fromkeys(_types(kind))
    for other in others:
        first = first | other
    return first


def _types(kind: Any) -> Iterable[Any]:
    if isinstance(kind, (list, tuple)):
        for one in cast("Sequence[Any]", kind):
            yield from _types(one)
    elif isinstance(kind, ToolOutput):
        yield from _types(cast("Any", kind).output)
    elif isinstance(kind, (NativeOutput, PromptedOutput)):
        yield from _types(cast("Any", kind).outputs)
    elif isinstance(kind, TextOutput):
        yield _returned(cast("Any", kind).output_function)
    elif callable(kind) and not isinstance(kind, type) and not hasattr(kind, "__origin__"):
        yield _returned(kind)
    else:
        yield kind


def _returned(function: Any) -> Any:
    found = return_type(function)
    return type(None) if found is None else found
