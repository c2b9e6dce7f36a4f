"""Amounts of what budgets count: exact integers inside, decimal numbers for people.

An account's name says its unit as a person writes it. Inside, an amount is an integer of the unit's
smallest part: micro-USD for `usd`, milliseconds for `seconds`, one for all else. Nothing is rounded
when an amount is read: what does not come out even is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Final, Literal

from interlock.errors import InvalidInputError

__all__ = ["LARGEST", "UNITS", "Unit", "amount_text", "parse_amount", "unit_of"]

Unit = Literal["usd", "tokens", "model_calls", "tool_calls", "seconds"]

UNITS: Final[tuple[Unit, ...]] = ("usd", "tokens", "model_calls", "tool_calls", "seconds")
LARGEST: Final = 2**63 - 1
_DECIMALS: Final[Mapping[str, int]] = MappingProxyType({"usd": 6, "seconds": 3})
_MOST_DIGITS: Final = 40


def unit_of(account: str) -> Unit | None:
    """The unit that an account's name ends with, or None where it names none of ours."""
    last = account.rpartition("/")[2]
    return last if last in UNITS else None


def parse_amount(value: Decimal | int | str, unit: Unit | None, what: str) -> int:
    """A number in `unit` as the integer that is counted: `"0.50"` USD are 500,000 micro-USD.

    `what` names the value in errors. Raises `InvalidInputError` for what is no number, is negative,
    is too large (over 2^63 - 1 parts) or finer than the unit's smallest part.
    """
    number = _number(value)
    name, places = unit or "the account's unit", _DECIMALS.get(unit or "", 0)
    if number is None:
        raise InvalidInputError(f"{what}: {str(value)[:50]!r} is no amount; give a number.")
    parts = number.scaleb(places)
    if not 0 <= parts <= LARGEST:
        raise InvalidInputError(f"{what}: {value} is out of range; give 0 or more {name}.")
    if parts != int(parts):
        finest = f"{places} decimals at most" if places else "a whole number"
        raise InvalidInputError(f"{what}: {value} is too fine for {name}; give {finest}.")
    return int(parts)


def _number(value: Decimal | int | str) -> Decimal | None:
    text = str(value).strip()
    # A long text, or one like 1e999999999, must not become a number of that size.
    if len(text) > _MOST_DIGITS or "_" in text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    fits = number.is_finite() and abs(number.adjusted()) <= _MOST_DIGITS
    return number if fits else None


def amount_text(amount: int, unit: Unit | None) -> str:
    """The integer as a decimal number in `unit`, exact and without trailing zeros: `"0.5"`."""
    places = _DECIMALS.get(unit or "", 0)
    if places == 0:
        return str(amount)
    sign, digits = ("-" if amount < 0 else ""), str(abs(amount)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}".rstrip("0").removesuffix(".")
