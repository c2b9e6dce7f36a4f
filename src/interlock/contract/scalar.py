"""Plain YAML scalars as values, after the core schema of YAML 1.2.2 (section 10.3.2).

`yes`, `no`, `on` and `off` are texts there, and so is `12:30`. A number with a point or an exponent
is a `Decimal`, exactly as written, because it may be money.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final, TypeAlias

__all__ = ["ScalarValue", "plain_value"]

ScalarValue: TypeAlias = str | int | bool | Decimal | None

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_INTEGER: Final = re.compile(r"[-+]?[0-9]+", re.ASCII)
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FRACTION: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII
)
_INFINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_NUMBER: Final = 40


def plain_value(text: str) -> ScalarValue:
    """The value of an unquoted scalar. Raises `ValueError` for a number that cannot be held."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INFINITE.fullmatch(text):
        raise ValueError("a number that is not finite")
    if _FRACTION.fullmatch(text) or _BASED.fullmatch(text):
        return _number(text)
    return text


def _number(text: str) -> int | Decimal:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text):,} characters")
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, base=0)
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError("a number with too large an exponent") from error
