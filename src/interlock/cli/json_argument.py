"""JSON on the command line: given as it is, or as `@file`, or `@-` for the standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from interlock.entry.strict_json import strict_json
from interlock.errors import InvalidInputError

__all__ = ["json_argument"]


def json_argument(text: str, what: str) -> Any:
    """Read a JSON argument; `what` names it in errors. Raises `InvalidInputError`."""
    given = _contents(text[1:], what) if text.startswith("@") else text
    try:
        return strict_json(given)
    except ValueError as error:
        remedy = "" if text.startswith("@") else " Quote text as JSON: '\"like this\"'."
        raise InvalidInputError(f"{what} is not JSON: {error}.{remedy}") from error


def _contents(name: str, what: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{what}: {name!r} cannot be read: {error.strerror}.") from error
