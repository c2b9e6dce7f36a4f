"""A message of a conversation in the form in which replay compares it.

Two messages have the same normal form when a model is shown the same. What differs when the same
conversation is had again is not in it: times, generated ids, usage, what a provider says about
itself, and what an application keeps beside a message. Ids of tool calls are replaced by the
order of the calls. The form is canonical JSON (RFC 8785), so that a message that was written and
read back has the same.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import rfc8785
from pydantic import BaseModel
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    ToolReturnPart,
)
from pydantic_core import PydanticSerializationError

from interlock.base.codec import ordered
from interlock.errors import NotRecordableError

__all__ = ["normalised", "normalised_history"]

# Of a message: when, by which request, at which price and by whom it was made.
_NOT_OF_A_MESSAGE: Final = frozenset(
    {
        "canonical_system",
        "conversation_id",
        "failed_attempts",
        "history_digest",
        "metadata",
        "model_id",
        "model_name",
        "provider_details",
        "provider_name",
        "provider_response_id",
        "provider_url",
        "run_id",
        "timestamp",
        "usage",
        "workspace_ref",
    }
)
_NOT_OF_A_PART: Final = frozenset(
    {"id", "metadata", "provider_details", "provider_name", "timestamp", "tool_call_id"}
)
# An instruction's id names it, and is no id of a provider's.
_NAMED_BY_ID: Final = frozenset({"instruction-delta"})
# A provider's compaction may be in its details alone.
_TOLD_BY_DETAILS: Final = frozenset({"compaction"})

# Not even written: the usage of an answer alone takes as long as all the rest of it.
_LEFT_OUT: Final[Any] = {"__all__": set(_NOT_OF_A_MESSAGE)}
_LARGEST_INTEGER: Final = 2**53 - 1
_write: Final = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False
).encode


def normalised(message: ModelMessage, before: ModelMessage | None = None) -> bytes:
    """A message's normal form. `before` is the message before it, whose calls it may answer.

    Without `before` the answers of tools are numbered in their own order, and two answers that
    changed places cannot be told from two that did not. It depends on the two messages alone, so a
    caller may keep it beside the message. Raises `NotRecordableError` for a message without a JSON
    form.
    """
    numbers = _call_numbers((message,) if before is None else (before, message))
    try:
        (data,) = ModelMessagesTypeAdapter.dump_python(
            [_in_order(message)], mode="json", exclude=_LEFT_OUT
        )
    except (PydanticSerializationError, ValueError) as error:
        raise NotRecordableError(
            f"a message of the conversation cannot be recorded as JSON: {error}. Return plain data "
            "from the tool."
        ) from error
    parts = [_part(part, numbers) for part in data["parts"]]
    return _canonical({**_told(data, _NOT_OF_A_MESSAGE), "parts": parts})


def normalised_history(messages: Sequence[ModelMessage]) -> tuple[bytes, ...]:
    """The normal form of each message, with the one before it. Raises `NotRecordableError`."""
    before = (None, *messages[:-1]) if messages else ()
    return tuple(map(normalised, messages, before))


def _call_numbers(messages: Iterable[ModelMessage]) -> dict[str, int]:
    """Numbers for the ids of tool calls, in the order in which they appear."""
    numbers: dict[str, int] = {}
    for message in messages:
        for part in message.parts:
            call = getattr(part, "tool_call_id", None)
            if isinstance(call, str):
                numbers.setdefault(call, len(numbers))
    return numbers


def _part(part: dict[str, Any], numbers: Mapping[str, int]) -> dict[str, Any]:
    kind = part["part_kind"]
    told = _told(part, _NOT_OF_A_PART)
    if kind in _NAMED_BY_ID:
        told["id"] = part.get("id")
    if kind in _TOLD_BY_DETAILS:
        told["provider_details"] = part.get("provider_details")
    if part.get("tool_call_id") is not None:
        told["call"] = numbers[part["tool_call_id"]]
    if "args" in part:
        told["args"] = _arguments(part["args"])
    return told


def _told(data: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    """Without what is left out, and without absent fields: a newer library may have more."""
    return {n: value for n, value in data.items() if n not in left_out and value is not None}


def _arguments(args: Any) -> Any:
    """A call's arguments: a provider gives them as text or as an object."""
    if not isinstance(args, str):
        return args or {}
    try:
        value: Any = json.loads(args) if args else {}
    except ValueError:
        return args
    return cast("Any", value) if isinstance(value, dict) else args


def _canonical(value: Any) -> bytes:
    # Where no number and no key is in doubt the two writers agree, and this one is six times as
    # fast.
    body = _write(value).encode("utf-8", "surrogatepass")
    if _is_plain(value):
        return body
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        # RFC 8785 has no form for an integer over 2^53, nor for half a character.
        return body


def _is_plain(value: Any) -> bool:
    """Whether there is no float, no integer over 2^53, and no key that UTF-16 may sort otherwise.

    It looks at each value and not at what is written, so that long texts cost nothing.
    """
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return all(name.isascii() and _is_plain(item) for name, item in items)
    if isinstance(value, list):
        return all(map(_is_plain, cast("list[Any]", value)))
    if isinstance(value, int):
        return abs(value) <= _LARGEST_INTEGER
    return not isinstance(value, float)


def _in_order(message: ModelMessage) -> ModelMessage:
    """The message with the sets in its tools' answers sorted: their order is that of memory."""
    if isinstance(message, ModelResponse):
        return message
    unordered = [
        place
        for place, part in enumerate(message.parts)
        if isinstance(part, ToolReturnPart) and _holds_set(part.content)
    ]
    if not unordered:
        return message
    parts = list(message.parts)
    for place in unordered:
        part = cast("ToolReturnPart[Any]", parts[place])
        parts[place] = dataclasses.replace(part, content=ordered(part.content))
    return dataclasses.replace(message, parts=parts)


def _holds_set(value: Any) -> bool:
    return isinstance(value, (set, frozenset)) or any(map(_holds_set, _members(value)))


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, (str, int, float, type(None))):
        return ()
    if isinstance(value, BaseModel):
        return (item for _, item in value)
    if isinstance(value, Mapping):
        return cast("Mapping[Any, Any]", value).values()
    if isinstance(value, (list, tuple)):
        return cast("Sequence[Any]", value)
    if dataclasses.is_dataclass(value):
        return (getattr(value, field.name, None) for field in dataclasses.fields(value))
    return ()
