"""Events: what is hashed is frozen, since every journal in the world holds it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.journal.event import NO_BODY, NO_HASH, Event, commit_to, encode_header, event_hash

FIRST = Event(
    stream="01h0000000000000000000000a",
    seq=1,
    position=7,
    epoch=0,
    kind="run_queued",
    version=1,
    key="",
    at_us=1_700_000_000_000_000,
    header={"agent": "triage", "priority": 0, "unique": [["start", "grüße"]], "parent": ""},
    commitment=commit_to(bytes(range(16)), b'{"text": "hello"}'),
    prev_hash=NO_HASH,
)
SECOND = FIRST._replace(
    seq=2,
    epoch=3,
    kind="step_completed",
    version=2,
    key='/1/"reply"#2',
    header={},
    commitment=NO_BODY,
    prev_hash=FIRST.hash(),
)


def test_the_hashes_of_format_1_never_change() -> None:
    """Computed once with nothing but `hashlib` over the bytes that the format names."""
    assert FIRST.commitment.hex() == GOLDEN_COMMITMENT
    assert FIRST.hash().hex() == GOLDEN_FIRST
    assert SECOND.hash().hex() == GOLDEN_SECOND


GOLDEN_COMMITMENT = "592f9833b61e8c741e525c6ccf3750598d16682fd130b4e5c992c8b4c22b289e"
GOLDEN_FIRST = "370b5897d510f1ff8e811bcd23698c1f23041c0849866df687eca681cb4c671f"
GOLDEN_SECOND = "fb36e61c380e2af015846b3dd77d49e77091cc7d51486599e8a2d9ce86a33aa5"


@pytest.mark.parametrize(
    "change",
    [
        {"stream": "other"},
        {"seq": 2},
        {"epoch": 1},
        {"kind": "run_claimed"},
        {"version": 2},
        {"key": "k"},
        {"at_us": 1},
        {"header": {}},
        {"commitment": NO_BODY},
        {"prev_hash": bytes(31) + b"\1"},
    ],
)
def test_every_field_is_hashed(change: dict[str, Any]) -> None:
    assert FIRST._replace(**change).hash() != FIRST.hash()


def test_the_position_is_not_hashed() -> None:
    assert FIRST._replace(position=8).hash() == FIRST.hash()


FIELDS = st.tuples(
    st.text(), st.integers(0), st.integers(0), st.text(), st.integers(1), st.text(), st.integers()
)


@given(fields=FIELDS, header=st.text())
def test_a_hash_is_over_a_json_array(
    fields: tuple[str, int, int, str, int, str, int], header: str
) -> None:
    from hashlib import sha256

    expected = sha256(NO_HASH + NO_BODY + json.dumps([*fields, header]).encode()).digest()
    assert event_hash(NO_HASH, NO_BODY, *fields, header) == expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(header=st.dictionaries(st.text(), JSON, max_size=5))
def test_a_header_is_sorted_json_without_spaces(header: dict[str, Any]) -> None:
    text = encode_header(header)
    assert text == json.dumps(header, sort_keys=True, separators=(",", ":"))
    assert json.loads(text) == header
    assert encode_header(json.loads(text)) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", object()])
@pytest.mark.parametrize("inside", [False, True])
def test_what_json_cannot_say_is_refused(value: object, inside: bool) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode_header({"x": [value] if inside else value})


@pytest.mark.parametrize("salt", [b"", b"a"])
def test_a_commitment_hides_the_body_behind_its_salt(salt: bytes) -> None:
    assert commit_to(salt + b"x", b"yes") != commit_to(salt + b"z", b"yes")
