"""Amounts: exact both ways, and refused where they do not come out even."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import InvalidInputError
from interlock.limits.amount import LARGEST, UNITS, Unit, amount_text, parse_amount, unit_of


@pytest.mark.parametrize(
    ("value", "unit", "amount"),
    [
        ("0.50", "usd", 500_000),
        (Decimal("1e-6"), "usd", 1),
        (3, "usd", 3_000_000),
        (" 7 ", "tokens", 7),
        ("1e3", "model_calls", 1000),
        ("2.000", "tool_calls", 2),
        ("1.5", "seconds", 1500),
        ("12", None, 12),
        ("9223372036854.775807", "usd", LARGEST),
    ],
)
def test_what_people_write(value: Decimal | int | str, unit: Unit | None, amount: int) -> None:
    assert parse_amount(value, unit, "it") == amount


@pytest.mark.parametrize(
    ("value", "unit", "why"),
    [
        ("0.0000001", "usd", "is too fine for usd; give 6 decimals at most"),
        ("1.5", "tokens", "is too fine for tokens; give a whole number"),
        ("0.0001", "seconds", "give 3 decimals at most"),
        ("0.5", None, "is too fine for the account's unit"),
        ("-1", "usd", "is out of range; give 0 or more usd"),
        ("9223372036854.775808", "usd", "out of range"),
        ("1e39", "tokens", "out of range"),
        ("1e999999999", "usd", "is no amount"),
        ("1e-999999999", "usd", "is no amount"),
        ("NaN", "usd", "is no amount"),
        ("inf", "usd", "is no amount"),
        ("$5", "usd", "'$5' is no amount; give a number"),
        ("", "usd", "is no amount"),
        ("1_000", "tokens", "is no amount"),
        ("9" * 100, "tokens", "is no amount"),
    ],
)
def test_what_is_no_amount_is_refused(value: str, unit: Unit | None, why: str) -> None:
    with pytest.raises(InvalidInputError) as found:
        parse_amount(value, unit, "the limit")
    assert found.value.message.startswith("the limit: ")
    assert why in found.value.message


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [
        (500_000, "usd", "0.5"),
        (1, "usd", "0.000001"),
        (-1_250_000, "usd", "-1.25"),
        (0, "usd", "0"),
        (100_000_000, "usd", "100"),
        (1500, "seconds", "1.5"),
        (1000, "tokens", "1000"),
        (-3, None, "-3"),
    ],
)
def test_what_people_read(amount: int, unit: Unit | None, text: str) -> None:
    assert amount_text(amount, unit) == text


@given(amount=st.integers(0, LARGEST), unit=st.sampled_from([*UNITS, None]))
def test_what_is_read_is_what_was_written(amount: int, unit: Unit | None) -> None:
    assert parse_amount(amount_text(amount, unit), unit, "it") == amount


def test_the_unit_is_the_end_of_the_name() -> None:
    assert [unit_of(f"run/r1/{unit}") for unit in UNITS] == list(UNITS)
    assert unit_of("usd") == "usd"
    assert unit_of("run/r1/euros") is unit_of("") is unit_of("run/usd/") is None
