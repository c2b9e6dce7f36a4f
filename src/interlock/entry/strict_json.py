"""JSON as the standard has it: no NaN, no infinity, no doubled names, no bottomless nesting.

What other readers would take differently, or could not take at all, is refused at the door.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

__all__ = ["strict_json"]


def strict_json(text: bytes | str) -> Any:
    """Read JSON (RFC 8259, UTF-8). Raises `ValueError` that says what is wrong and where."""
    try:
        return json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_no_doubled_name,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


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
