"""How an exception is recorded, so that a decision made on it is the same on replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, cast

__all__ = ["Failure", "failure_of", "read_failure"]

_MAX_MESSAGE_CHARACTERS: Final = 8_000


class Failure(NamedTuple):
    """An exception as data: the qualified names of its classes, most special first, its message."""

    types: tuple[str, ...]
    message: str

    def name(self) -> str:
        """The exception's class name without its module."""
        return self.types[0].rpartition(".")[2] if self.types else "Exception"

    def encode(self) -> bytes:
        """The failure as JSON."""
        data = {"types": self.types, "message": self.message}
        return json.dumps(data, ensure_ascii=False).encode()

    def sentence(self) -> str:
        """`Name: message` for a person; the message alone where no exception stands behind it."""
        if not self.types and self.message:
            return self.message
        return f"{self.name()}: {self.message}" if self.message else self.name()


def failure_of(error: BaseException) -> Failure:
    """An exception as data. Very long messages are cut, and say so.

    A group also has the names and the messages of what it holds.
    """
    names = tuple(dict.fromkeys(_names(error)))
    message = _message(error)
    if len(message) > _MAX_MESSAGE_CHARACTERS:
        message = f"{message[:_MAX_MESSAGE_CHARACTERS]} … ({len(message):,} characters)"
    # A lone surrogate cannot be written as UTF-8 and would make the failure itself unrecordable.
    return Failure(names, message.encode("utf-8", "replace").decode("utf-8"))


def _names(error: BaseException) -> Iterator[str]:
    for kind in type(error).__mro__:
        if issubclass(kind, BaseException):
            yield f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, BaseExceptionGroup):
        for one in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _names(one)


def _message(error: BaseException) -> str:
    try:
        text = str(error)
        if not isinstance(error, BaseExceptionGroup):
            return text
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return f"{text}: {'; '.join(failure_of(one).sentence() for one in inner)}"
    except Exception as second:  # noqa: BLE001 - whatever a broken `__str__` raises
        return f"(its message cannot be read: {type(second).__name__} in its __str__)"


def read_failure(body: bytes | None) -> Failure:
    """A recorded failure."""
    data: dict[str, Any] = json.loads(body) if body else {}
    return Failure(tuple(data.get("types", ())), str(data.get("message", "")))
