"""How an exception is recorded, so that a decision made on it is the same on replay."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

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
        """`Name: message` for a person."""
        return f"{self.name()}: {self.message}" if self.message else self.name()


def failure_of(error: BaseException) -> Failure:
    """An exception as data. Very long messages are cut, and say so."""
    names = tuple(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in type(error).__mro__
        if issubclass(kind, BaseException)
    )
    message = _message(error)
    if len(message) > _MAX_MESSAGE_CHARACTERS:
        message = f"{message[:_MAX_MESSAGE_CHARACTERS]} … ({len(message):,} characters)"
    # A lone surrogate cannot be written as UTF-8 and would make the failure itself unrecordable.
    return Failure(names, message.encode("utf-8", "replace").decode("utf-8"))


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - whatever a broken `__str__` raises
        return f"(its message cannot be read: {type(second).__name__} in its __str__)"


def read_failure(body: bytes | None) -> Failure:
    """A recorded failure."""
    data: dict[str, Any] = json.loads(body) if body else {}
    return Failure(tuple(data.get("types", ())), str(data.get("message", "")))
