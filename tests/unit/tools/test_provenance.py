"""A destination is grounded by the same typed value, and by nothing that only contains it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.tools.provenance import Sources, integrity_of
from tests.support.personal_data import made

IBAN = made("iban", 7).replace(" ", "").replace("-", "")


def sources(text: object) -> Sources:
    found = Sources()
    found.add("the run's input", text)
    return found


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("Write to Jane.Doe@Example.com, please.", "jane.doe@example.com"),
        (f"pay {' '.join(IBAN[i : i + 4] for i in range(0, len(IBAN), 4))} today", IBAN),
        (f"pay {IBAN}.", IBAN.lower()),
        ("call 06 12 34 56 78", "0612345678"),
        ("call +33 6 12 34 56 78", "0033612345678"),
        ("see https://bank.example/a", "https://bank.example/b?c"),
        ("send it to hooks.bank.example.", "https://hooks.bank.example/in"),
        ("ticket T-17 of acme", "T-17"),
        ({"order": 17}, 17),
    ],
)
def test_the_same_value_written_in_another_way_is_grounded(said: object, value: Any) -> None:
    assert sources(said).ungrounded({"to": value}, ("to",)) == ()


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("Write to steve@evil.example", "eve@evil.example"),
        ("Write to eve@evil.example.org", "eve@evil.example"),
        ("see https://bank.example/", "https://bank.example.evil.example/"),
        ("see https://bank.example/", "https://bank.example@evil.example/"),
        ("see https://bank.example/", "https://evil.example\\@bank.example/"),
        ("see https://bank.example/", "https://bank.example:8443/"),
        ("see https://bank.example/", "https://notbank.example/"),
        ("my host is bank.example", "javascript:bank.example"),
        ("ticket T-171", "T-17"),
        ("write to jane@example.com", "example.com"),
        ("", "jane@example.com"),
        ("write to jane", ["jane", "eve"]),
    ],
)
def test_what_only_contains_or_resembles_it_is_no_ground(said: str, value: Any) -> None:
    assert sources(said).ungrounded({"to": value}, ("to",)) == ("to",)


@given(name=st.sampled_from(["email", "iban", "phone", "card"]), seed=st.integers(0, 10**6))
def test_a_value_is_grounded_by_itself_and_by_no_other(name: str, seed: int) -> None:
    one, other = made(name, seed), made(name, seed + 1)
    told = sources(f"Please use {one} for this.")
    assert told.ungrounded({"to": one}, ("to",)) == ()
    assert told.ungrounded({"to": other}, ("to",)) == (() if one == other else ("to",))


def test_handles_are_compared_by_what_they_stand_for() -> None:
    values = {"email#1": "jane@example.com", "email#2": "eve@evil.example"}
    found = Sources(lambda value: values.get(value, value) if isinstance(value, str) else value)
    found.add("the run's input", "Write to jane@example.com")
    assert found.ungrounded({"to": "email#1"}, ("to",)) == ()
    assert found.ungrounded({"to": "email#2"}, ("to",)) == ("to",)


@pytest.mark.parametrize(
    ("meta", "trusted", "expected"),
    [
        (None, True, "trusted"),
        ({}, False, "untrusted"),
        ({"ifc": {"integrity": "trusted", "confidentiality": "public"}}, True, "trusted"),
        ({"ifc": {"integrity": "high", "confidentiality": ["public"]}}, True, "trusted"),
        ({"ifc": {"integrity": "untrusted", "confidentiality": "private"}}, True, "untrusted"),
        ({"ifc": {"integrity": "low"}}, True, "untrusted"),
        ({"ifc": {"integrity": "trusted"}}, False, "untrusted"),
        ({"ifc": "trusted"}, True, "untrusted"),
        ({"ifc": {"integrity": ["trusted"]}}, True, "untrusted"),
    ],
)
def test_a_label_takes_trust_away_and_never_gives_it(
    meta: dict[str, Any] | None, trusted: bool, expected: str
) -> None:
    assert integrity_of(meta, trusted=trusted) == expected
