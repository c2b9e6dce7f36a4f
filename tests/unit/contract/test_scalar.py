"""Plain scalars mean what the core schema of YAML 1.2 says, and fractions stay exact."""

from __future__ import annotations

from decimal import Decimal

import pytest

from interlock.contract.scalar import ScalarValue, plain_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("NULL", None), ("nUll", "nUll"),
        ("true", True), ("False", False), ("yes", "yes"), ("on", "on"), ("tRue", "tRue"),
        ("0", 0), ("-7", -7), ("+7", 7), ("010", 10), ("0o10", 8), ("0xfF", 255), ("0b1", "0b1"),
        ("0.10", Decimal("0.10")), (".5", Decimal("0.5")), ("5.", Decimal(5)),
        ("1e3", Decimal("1e3")), ("-1.5E-2", Decimal("-0.015")), (".", "."), ("1.2.3", "1.2.3"),
        ("1_000", "1_000"), ("12:30", "12:30"), ("2026-05-01", "2026-05-01"), ("١٢", "١٢"),
    ],
)  # fmt: skip
def test_a_plain_scalar_has_its_value(text: str, value: ScalarValue) -> None:
    found = plain_value(text)
    assert (found, type(found), str(found)) == (value, type(value), str(value))


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".NaN", "9" * 41, "1e" + "9" * 20])
def test_a_number_that_cannot_be_held_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        plain_value(text)
