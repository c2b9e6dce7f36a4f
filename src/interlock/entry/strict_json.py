"""JSON as the standard has it: no NaN, no infinity, no doubled names, no bottomless nesting.

What other readers would take differently, or could not take at all, is refused at the door.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn, cast

from interlock.base.codec import MAX_NESTING

__all__ = ["strict_json"]


def strict_json(text: bytes | str) -> Any:
    """Read JSON (RFC 8259, UTF-8). Raises `ValueError` that says what is wrong and where."""
    decoded = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        value = json.loads(
            decoded,
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_no_doubled_name,
        )
    except RecursionError as error:
        raise _too_deep() from error
    if decoded.count("[") + decoded.count("{") > MAX_NESTING and not _is_shallow(value):
        raise _too_deep()
    return value


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MAX_NESTING} deep")


def _is_shallow(value: Any) -> bool:
    """Whether a value is nested no deeper than it may be, looked at level by level."""
    level: list[Any] = [value]
    for _ in range(MAX_NESTING + 1):
        containers: list[Any] = [one for one in level if isinstance(one, (dict, list))]
        if not containers:
            return True
        level = [inner for one in containers for inner in _members(one)]
    return False


def _members(container: Any) -> Iterable[Any]:
    is_object = isinstance(container, dict)
    return cast("dict[str, Any]", container).values() if is_object else container


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _no_doubled_name(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same name twice")
    return found
