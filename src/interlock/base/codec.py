"""How values become the journal's bytes and come back as the same values.

A result is written with the JSON rules of its declared type (pydantic) and handed to the run's code
as read back, live and on replay alike, so that the code never sees a value that a replay would not
give it. Arguments are written canonically (RFC 8785), because replay compares them byte by byte.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import typing
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any, Final, Generic, TypeVar, cast

import rfc8785
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from interlock.errors import InvalidInputError, NotRecordableError, PayloadTooLargeError

__all__ = [
    "MAX_NESTING",
    "MAX_PAYLOAD_BYTES",
    "MAX_RESULT_BYTES",
    "Codec",
    "canonical",
    "check_size",
    "codec_for",
    "describe",
    "hints",
    "ordered",
    "problems",
    "return_type",
]

T = TypeVar("T")

MAX_PAYLOAD_BYTES: Final = 1_000_000
# A run's result also travels in a message to its parent, which needs room beside it.
MAX_RESULT_BYTES: Final = 990_000
# Arguments are recorded together with a result or a failure, which needs room beside them.
_MAX_ARGUMENTS_BYTES: Final = 950_000
# Lists and objects in one another. Pydantic reads 200 levels, and records wrap what is given.
MAX_NESTING: Final = 150
_SIMPLE: Final = (str, int, float, bool, type(None))
_MAX_SAFE_INTEGER: Final = 2**53 - 1


class Codec(Generic[T]):
    """Writes and reads values of one declared type."""

    def __init__(self, kind: Any) -> None:
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(kind)
        except PydanticUserError as error:
            raise NotRecordableError(
                f"values of type {kind!r} cannot be recorded as JSON: {error.message}. Declare a "
                "pydantic model, a dataclass, a TypedDict or plain JSON types instead."
            ) from error
        self.kind = kind
        # The adapter's own method, without the layer of Python over it: every step goes through.
        self._serializer = self._adapter.serializer
        # Values of these types read back as they were written: no need to do it.
        self._exact = kind in _SIMPLE

    def encode(self, value: T, what: str) -> bytes:
        """The value as JSON. `what` names the operation in errors.

        Raises `NotRecordableError` when it has no JSON form and `PayloadTooLargeError` over
        `MAX_PAYLOAD_BYTES`.
        """
        try:
            if self._exact and type(value) is self.kind:
                # Such a value fits: to ask for warnings takes longer than to write most values.
                body = self._serializer.to_json(value)
            else:
                body = self._serializer.to_json(value, warnings="error")
        except (PydanticSerializationError, ValueError) as error:
            raise NotRecordableError(
                f"{what}: a value of type {type(value).__name__} cannot be recorded as "
                f"{_name(self.kind)}: {error}. Return what the annotation promises, or change it."
            ) from error
        return body if len(body) <= MAX_PAYLOAD_BYTES else check_size(body, what)

    def dump(self, value: T) -> Any:
        """The value as plain Python: models and dataclasses as dicts, all else as it is."""
        return self._adapter.dump_python(value)

    def plain(self, value: T, what: str) -> Any:
        """The value as what its JSON reads back as, without its type. Raises as `encode`."""
        return json.loads(self.encode(value, what))

    def decode(self, body: bytes, what: str) -> T:
        """Read a value back. Raises `InvalidInputError` with every wrong field."""
        try:
            return self._adapter.validate_json(body)
        except ValidationError as error:
            raise InvalidInputError(
                f"{what} does not fit {_name(self.kind)}: {describe(error)}",
                problems=problems(error),
            ) from error

    def read_back(self, value: T, body: bytes, what: str) -> T:
        """What a replay would read: `decode(body)`, or `value` itself where that is the same."""
        if self._exact and type(value) is self.kind and not isinstance(value, float):
            return value
        return self.decode(body, what)

    def validate(self, value: Any, what: str) -> T:
        """Take a Python value as this type. Raises `InvalidInputError` with every wrong field."""
        try:
            return self._adapter.validate_python(value)
        except ValidationError as error:
            raise InvalidInputError(
                f"{what} does not fit {_name(self.kind)}: {describe(error)}",
                problems=problems(error),
            ) from error

    def json_schema(self, *, written: bool = False) -> dict[str, Any]:
        """The type's JSON Schema: of what is read, or of what `encode` writes."""
        return self._adapter.json_schema(mode="serialization" if written else "validation")


@functools.lru_cache(maxsize=4096)
def _cached(kind: Any) -> Codec[Any]:
    return Codec(kind)


def codec_for(kind: Any) -> Codec[Any]:
    """The codec of a type; types that can be hashed share one."""
    try:
        return _cached(kind)
    except TypeError:
        return Codec(kind)


def return_type(function: Callable[..., Any]) -> Any:
    """The declared result type of a function, or `Any` where it declares none."""
    return hints(function).get("return", Any)


def hints(function: Callable[..., Any]) -> dict[str, Any]:
    """A function's resolved annotations, or none where a name in them cannot be resolved."""
    target: Any = inspect.unwrap(function)
    if isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target) and callable(target):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target)
    except (NameError, TypeError):
        return {}


def canonical(value: Any, what: str) -> bytes:
    """`value` as canonical JSON (RFC 8785).

    Raises `NotRecordableError` (also when it is nested more than `MAX_NESTING` deep) or
    `PayloadTooLargeError` (over 950,000 bytes), both naming `what`.
    """
    plain = _plain(value)
    if plain is not None and len(plain) <= _MAX_ARGUMENTS_BYTES:
        return plain
    try:
        body = rfc8785.dumps(to_jsonable_python(ordered(value, MAX_NESTING)))
    except (PydanticSerializationError, rfc8785.CanonicalizationError, _TooDeepError) as error:
        raise NotRecordableError(
            f"{what}: its arguments cannot be recorded: {error}. Pass plain data, or close over "
            "what is not data."
        ) from error
    return check_size(body, what, _MAX_ARGUMENTS_BYTES)


class _TooDeepError(ValueError):
    """A value is nested too deeply, or holds itself."""


def ordered(value: Any, left: int = MAX_NESTING) -> Any:
    """The value with its sets as sorted lists: a set's own order differs between processes."""
    if left < 0:
        raise _TooDeepError(f"they are nested more than {MAX_NESTING} deep")
    if isinstance(value, BaseModel):
        return ordered(value.model_dump(), left)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ordered(codec_for(type(value)).dump(value), left)
    if isinstance(value, (set, frozenset)):
        members = [ordered(member, left - 1) for member in cast("set[Any]", value)]
        return sorted(members, key=lambda member: rfc8785.dumps(to_jsonable_python(member)))
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {name: ordered(item, left - 1) for name, item in items}
    if isinstance(value, (list, tuple)):
        return [ordered(item, left - 1) for item in cast("list[Any]", value)]
    return value


def _plain(value: Any) -> bytes | None:
    """Plain JSON as RFC 8785 writes it, at once: texts, integers, booleans, nulls, lists, objects.

    Most operations have such arguments, and the general way takes ten times as long. None for
    everything else, and for what the general way refuses or sorts otherwise.
    """
    parts: list[str] = []
    try:
        if not _write_plain(value, parts, MAX_NESTING):
            return None
        return "".join(parts).encode()
    except UnicodeEncodeError:  # Half of a surrogate pair.
        return None


def _write_plain(value: Any, parts: list[str], left: int) -> bool:
    kind = cast("type[Any]", type(value))
    if kind is str:
        parts.append(encode_basestring(value))
    elif kind is int:
        parts.append(str(value))
        return -_MAX_SAFE_INTEGER <= value <= _MAX_SAFE_INTEGER
    elif kind is bool:
        parts.append("true" if value else "false")
    elif value is None:
        parts.append("null")
    elif left <= 0:
        return False
    elif kind is list:
        return _write_list(cast("list[Any]", value), parts, left - 1)
    elif kind is dict:
        return _write_object(cast("dict[Any, Any]", value), parts, left - 1)
    else:
        return False
    return True


def _write_list(items: list[Any], parts: list[str], left: int) -> bool:
    before = "["
    for item in items:
        parts.append(before)
        before = ","
        if not _write_plain(item, parts, left):
            return False
    parts.append("]" if items else "[]")
    return True


def _write_object(members: dict[Any, Any], parts: list[str], left: int) -> bool:
    # RFC 8785 sorts names by UTF-16 units, Python by characters: the same where all are ASCII.
    if not all(type(name) is str and name.isascii() for name in members):
        return False
    before = "{"
    for name in sorted(members):
        parts.append(f"{before}{encode_basestring(name)}:")
        before = ","
        if not _write_plain(members[name], parts, left):
            return False
    parts.append("}" if members else "{}")
    return True


def check_size(body: bytes, what: str, limit: int = MAX_PAYLOAD_BYTES) -> bytes:
    """The body itself. Raises `PayloadTooLargeError` when it is over the limit."""
    if len(body) > limit:
        raise PayloadTooLargeError(
            f"{what}: {len(body):,} bytes are to be recorded and the limit is "
            f"{limit:,}. Store the data elsewhere and record a reference to it.",
            size_bytes=len(body),
            limit_bytes=limit,
        )
    return body


def problems(error: ValidationError) -> list[dict[str, str]]:
    """Every wrong field of a validation error as `{"field", "problem"}`, without the value."""
    return [
        {"field": ".".join(str(part) for part in item["loc"]) or "(whole)", "problem": item["msg"]}
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def describe(error: ValidationError) -> str:
    """Every wrong field in one sentence, without the values."""
    return "; ".join(f"{item['field']}: {item['problem']}" for item in problems(error))


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)
