"""A chat-completions request as the scenario sees it: parsed, checked, and with a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from interlock.base.codec import describe
from interlock.errors import InvalidInputError
from interlock.testing.simulated_model.conversation import check_conversation
from interlock.testing.simulated_model.message import Message
from interlock.testing.simulated_model.token_count import token_count

__all__ = ["Request", "ToolResult", "parse_request"]

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
# What a request is about; the rest are settings, which cost nothing.
_PROMPT_FIELDS: Final = ("messages", "tools", "response_format")


class ToolResult(NamedTuple):
    """A tool's answer in the conversation; `fresh` when no assistant message follows it."""

    tool: str
    call_id: str
    text: str
    fresh: bool


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request. `body` is everything that was sent; `headers` has lower-case names.

    `tools` maps each offered tool to the JSON Schema of its arguments. `output_schema` is the
    schema of `response_format`, where one was sent. `max_tokens` bounds the answer.
    """

    model: str
    messages: tuple[Message, ...]
    body: Mapping[str, Any]
    tools: Mapping[str, Mapping[str, Any]]
    headers: Mapping[str, str]
    output_schema: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    streaming: bool = False
    usage_wanted: bool = True

    @cached_property
    def turn(self) -> int:
        """How many assistant messages the conversation has: 0 for its first request."""
        return sum(message.role == "assistant" for message in self.messages)

    @cached_property
    def user_text(self) -> str:
        """The text of the last user message, or an empty one."""
        texts = (message.text for message in reversed(self.messages) if message.role == "user")
        return next(texts, "")

    @cached_property
    def instructions(self) -> str:
        """The texts of the system and developer messages, joined by line breaks."""
        return "\n".join(m.text for m in self.messages if m.role in ("system", "developer"))

    @cached_property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """Every tool's answer in the conversation, in its order."""
        called = {c.id: c.function.name for message in self.messages for c in message.calls}
        last = max((n for n, m in enumerate(self.messages) if m.role == "assistant"), default=-1)
        return tuple(
            ToolResult(called[message.tool_call_id], message.tool_call_id, message.text, n > last)
            for n, message in enumerate(self.messages)
            if message.role == "tool" and message.tool_call_id is not None
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole body in canonical form: equal for a request and its repetition."""
        return _digest(self.body)

    @cached_property
    def messages_digest(self) -> str:
        """SHA-256 of the messages alone, which stays the same under another model or setting."""
        return _digest(self.body["messages"])

    @cached_property
    def prompt_tokens(self) -> int:
        """Tokens of the messages, the offered tools and the output schema."""
        asked = {name: self.body[name] for name in _PROMPT_FIELDS if self.body.get(name)}
        return token_count(_canonical(asked))


def parse_request(content: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> Request:
    """Read a request's body. Raises `InvalidInputError`, which the API answers with status 400."""
    try:
        body: Any = json.loads(content)
        wire = _Body.model_validate(body)
    except ValidationError as error:
        raise InvalidInputError(f"the request is not understood: {describe(error)}") from error
    except ValueError as error:
        raise InvalidInputError(f"the request is not JSON: {error}") from error
    check_conversation(wire.messages)
    return Request(
        model=wire.model,
        messages=wire.messages,
        body=body,
        tools={tool.function.name: tool.function.parameters for tool in wire.tools},
        output_schema=_output_schema(wire),
        max_tokens=wire.max_completion_tokens or wire.max_tokens,
        streaming=wire.stream,
        usage_wanted=not wire.stream or wire.stream_options.include_usage,
        headers={name.lower(): value for name, value in headers.items()},
    )


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Function(_Wire):
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])


class _Tool(_Wire):
    type: Literal["function"]
    function: _Function


class _StreamOptions(_Wire):
    include_usage: bool = False


class _NamedSchema(_Wire):
    name: str
    # The protocol's word; on a pydantic model it would hide a method.
    json_schema_: dict[str, Any] = Field(default_factory=dict[str, Any], alias="schema")


class _ResponseFormat(_Wire):
    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: _NamedSchema | None = None


class _Body(_Wire):
    model: str = Field(min_length=1)
    messages: tuple[Message, ...]
    tools: tuple[_Tool, ...] = ()
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()
    response_format: _ResponseFormat = _ResponseFormat()
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    n: Literal[1] | None = None


def _output_schema(wire: _Body) -> Mapping[str, Any] | None:
    asked = wire.response_format
    if asked.type != "json_schema":
        return None
    if asked.json_schema is None:
        raise InvalidInputError("response_format.json_schema is missing, and its type asks for it.")
    return asked.json_schema.json_schema_


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode("utf-8", "surrogatepass")).hexdigest()
