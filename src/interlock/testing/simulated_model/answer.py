"""An answer: what a reply becomes for one request, once it has misbehaved.

The same request and reply always give the same answer, its identifiers included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from pydantic import JsonValue

from interlock.base.identifier import derived_id
from interlock.testing.simulated_model.misbehaviour import Misbehaviour
from interlock.testing.simulated_model.obedience import instructed_calls
from interlock.testing.simulated_model.reply import Reply, ToolCall, Usage
from interlock.testing.simulated_model.request import Request
from interlock.testing.simulated_model.token_count import CHARACTERS_PER_TOKEN, token_count

__all__ = ["Answer", "AnswerCall", "FinishReason", "answer_to"]

FinishReason = Literal["stop", "tool_calls", "length"]

_OUTPUT_TOOL_PREFIX: Final = "final_result"
_IGNORING: Final = ("this ignores the schema",)


class AnswerCall(NamedTuple):
    """A tool call as it is sent; `arguments` is a text that should be JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is sent, whole or in chunks. `usage` is what it costs, told or not."""

    id: str
    model: str
    text: str | None
    calls: tuple[AnswerCall, ...]
    finish_reason: FinishReason
    usage: Usage
    usage_told: bool


class _Content(NamedTuple):
    """Text, and calls as pairs of name and arguments."""

    text: str | None = None
    calls: tuple[tuple[str, str], ...] = ()

    @property
    def tokens(self) -> int:
        names_and_arguments = [part for call in self.calls for part in call]
        return sum(map(token_count, [self.text or "", *names_and_arguments]))

    def cut(self, tokens: int) -> _Content:
        """As much as `tokens` allow; a call whose name does not fit is left out."""
        text = self.text[: tokens * CHARACTERS_PER_TOKEN] if self.text is not None else None
        left = tokens - token_count(text or "")
        calls: list[tuple[str, str]] = []
        for name, arguments in self.calls:
            left -= token_count(name)
            if left < 0:
                break
            calls.append((name, arguments[: left * CHARACTERS_PER_TOKEN]))
            left -= token_count(calls[-1][1])
        return _Content(text, tuple(calls))


def answer_to(request: Request, reply: Reply, *, obeying: bool = False) -> Answer:
    """The answer to a request. `obeying` adds to what the reply says of itself."""
    wrong = reply.misbehaviour
    obeyed = instructed_calls(request) if obeying or wrong.obeying else ()
    content = _content(request, Reply(tool_calls=obeyed, misbehaviour=wrong) if obeyed else reply)
    whole = content.tokens
    most = max(1, whole // 2) if wrong.out_of_tokens else request.max_tokens
    cut = most is not None and whole > most
    content = content.cut(most) if cut and most is not None else content
    return Answer(
        id=derived_id("chatcmpl", request.digest),
        model=request.model,
        text=content.text,
        calls=_identified(request, content.calls),
        finish_reason=_finish_reason(content, cut=cut or wrong.out_of_tokens),
        usage=reply.usage
        or Usage(prompt_tokens=request.prompt_tokens, completion_tokens=content.tokens),
        usage_told=not wrong.usage_missing,
    )


def _finish_reason(content: _Content, *, cut: bool) -> FinishReason:
    if cut:
        return "length"
    return "tool_calls" if content.calls else "stop"


def _identified(request: Request, calls: tuple[tuple[str, str], ...]) -> tuple[AnswerCall, ...]:
    return tuple(
        AnswerCall(derived_id("call", request.digest, index), name, arguments)
        for index, (name, arguments) in enumerate(calls)
    )


def _content(request: Request, reply: Reply) -> _Content:
    wrong = reply.misbehaviour
    if wrong.empty:
        return _Content()
    content = _with_output(request, reply)
    if wrong.invented_tool is not None:
        invented = (_not_offered(wrong.invented_tool, request), "{}")
        content = content._replace(calls=(*content.calls, invented))
    if wrong.malformed_arguments:
        # Without its last character no JSON object or list is one.
        calls = tuple((name, arguments[:-1]) for name, arguments in content.calls)
        content = content._replace(calls=calls)
    return content


def _with_output(request: Request, reply: Reply) -> _Content:
    wrong = reply.misbehaviour
    calls = tuple((call.name, _json(_arguments(call, wrong))) for call in reply.tool_calls)
    if reply.output is None:
        return _Content(reply.text, calls)
    output = _json(_output(reply.output, wrong))
    tool = None if request.output_schema is not None else _output_tool(request, reply)
    if tool is None:
        return _Content(output, calls)
    return _Content(reply.text, (*calls, (tool, output)))


def _output_tool(request: Request, reply: Reply) -> str | None:
    if reply.output_tool is not None:
        return reply.output_tool
    return next((name for name in request.tools if name.startswith(_OUTPUT_TOOL_PREFIX)), None)


def _not_offered(name: str, request: Request) -> str:
    while name in request.tools:
        name += "_"
    return name


def _arguments(call: ToolCall, wrong: Misbehaviour) -> Mapping[str, JsonValue]:
    if not wrong.wrong_types:
        return call.arguments
    return {name: _of_another_type(value) for name, value in call.arguments.items()}


def _output(output: JsonValue, wrong: Misbehaviour) -> JsonValue:
    if wrong.ignores_schema:
        return list(_IGNORING)
    if not wrong.wrong_types:
        return output
    if isinstance(output, dict):
        return {name: _of_another_type(value) for name, value in output.items()}
    return _of_another_type(output)


def _of_another_type(value: JsonValue) -> JsonValue:
    """A value that no lenient reader takes for the original's type."""
    return [value] if isinstance(value, str) else f"not a {type(value).__name__}"


def _json(value: JsonValue | Mapping[str, JsonValue]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
