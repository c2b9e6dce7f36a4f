"""What callers write: JSON, moments, idempotency keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.entry.idempotency_key import parse_idempotency_key
from interlock.entry.moment import parse_moment
from interlock.entry.problem import RequestError
from interlock.entry.strict_json import strict_json
from interlock.errors import InvalidInputError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_reads_as_it_was_written(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert strict_json(text.encode()) == value
    assert strict_json(text) == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"NaN",
        b"-Infinity",
        b"[1e400]",
        b'{"a": 1, "a": 1}',
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 151 + b"]" * 151,
        b'{"a":[' * 76 + b"]}" * 76,
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{'a': 1}",
        b"1 2",
        b"9" * 5000,
    ],
)
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError) as refused:
        strict_json(text)
    assert str(refused.value)


def test_json_may_be_wide_and_150_deep() -> None:
    deep = json.loads("[" * 150 + "]" * 150)
    assert strict_json(json.dumps(deep)) == deep
    wide = [[n] for n in range(1000)]
    assert strict_json(json.dumps(wide)) == wide


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("90s", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("15m", timedelta(minutes=15)),
        ("3d", timedelta(days=3)),
        (" 0s ", timedelta(0)),
        ("2026-05-01T12:30:00Z", datetime(2026, 5, 1, 12, 30, tzinfo=UTC)),
        ("2026-05-01T14:30:00+02:00", datetime(2026, 5, 1, 12, 30, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: datetime | timedelta) -> None:
    assert parse_moment(text, "deadline") == moment


@pytest.mark.parametrize(
    "text",
    ["", "soon", "5", "-5s", "5 s", "2026-05-01T12:30:00", "2026-05-01", "99999999d", "1e3s", "٣s"],
)
def test_what_is_no_moment_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^deadline: ") as refused:
        parse_moment(text, "deadline")
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ([], None),
        (["abc"], "abc"),
        (['"abc"'], "abc"),
        ([r'"a\"b\\c"'], 'a"b\\c'),
        (["  spaced key  "], "spaced key"),
        (["x" * 255], "x" * 255),
    ],
)
def test_keys(values: list[str], key: str | None) -> None:
    assert parse_idempotency_key(values) == key


@pytest.mark.parametrize(
    "values", [[""], ['"'], ['""'], [r'"a\b"'], ['"a"b'], ["a", "a"], ["x" * 256], ["a\x7fb"]]
)
def test_wrong_keys_are_refused(values: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        parse_idempotency_key(values)
    assert refused.value.problem_code == "malformed_request"
