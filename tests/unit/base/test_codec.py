"""Values are recorded so that a replay reads the same ones."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from interlock.base.codec import MAX_NESTING, MAX_PAYLOAD_BYTES, canonical, codec_for
from interlock.base.failure import failure_of, read_failure
from interlock.base.identifier import derived_id, new_id
from interlock.clock import SystemClock
from interlock.errors import InvalidInputError, NotRecordableError, PayloadTooLargeError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


class Order(BaseModel):
    at: datetime
    lines: list[int]


@given(JSON)
def test_arguments_are_written_canonically(value: Any) -> None:
    assert canonical(value, "x") == rfc8785.dumps(value)


@given(st.lists(JSON, max_size=5))
def test_argument_lists_are_written_canonically(values: list[Any]) -> None:
    assert canonical(values, "x") == rfc8785.dumps(values)


@given(JSON)
def test_what_is_recorded_is_read_back(value: Any) -> None:
    codec = codec_for(Any)
    assert codec.decode(codec.encode(value, "x"), "x") == value


@given(st.datetimes(timezones=st.just(UTC)), st.lists(st.integers()))
def test_models_are_read_back(at: datetime, lines: list[int]) -> None:
    codec, order = codec_for(Order), Order(at=at, lines=lines)
    assert codec.read_back(order, codec.encode(order, "x"), "x") == order


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: object()}, 2**60])
def test_arguments_that_have_no_canonical_form_are_refused_by_name(value: Any) -> None:
    with pytest.raises(NotRecordableError, match="step 'pay'"):
        canonical([value], "step 'pay'")


def test_a_set_is_written_alike_by_every_process() -> None:
    program = (
        "from interlock.base.codec import canonical\n"
        "from interlock.errors import InterlockError\n"
        "try:\n"
        "    print(canonical([{'a', 'b', 'c', 'd', 'e'}], 'x').decode())\n"
        "except InterlockError as error:\n"
        "    print(error.code)\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in range(1, 5)
    }
    assert len(said) == 1, said


def test_the_limit_names_operation_and_remedy() -> None:
    codec = codec_for(str)
    assert len(codec.encode("x" * (MAX_PAYLOAD_BYTES - 2), "the page")) == MAX_PAYLOAD_BYTES
    with pytest.raises(PayloadTooLargeError, match=r"the page: 1,000,001 bytes.*reference"):
        codec.encode("x" * (MAX_PAYLOAD_BYTES - 1), "the page")


def test_every_wrong_field_is_named_without_its_value() -> None:
    secret = "4111 1111 1111 1111"
    with pytest.raises(InvalidInputError) as caught:
        codec_for(Order).decode(json.dumps({"at": secret, "lines": [secret]}).encode(), "the order")
    assert {p["field"] for p in caught.value.fields["problems"]} == {"at", "lines.0"}
    assert secret not in str(caught.value)


def test_arguments_that_are_bottomless_are_refused_by_name() -> None:
    itself: list[Any] = []
    itself.append(itself)
    deep: Any = 1
    for _ in range(MAX_NESTING):
        deep = {"a": deep}
    assert codec_for(Any).decode(canonical(deep, "x"), "x") == deep
    for value in (itself, [deep]):
        with pytest.raises(NotRecordableError, match=r"step 'pay'.*150 deep"):
            canonical(value, "step 'pay'")


@given(st.text())
def test_failures_are_read_back(message: str) -> None:
    failure = failure_of(KeyError(message))
    again = read_failure(failure.encode())
    assert again.types == failure.types
    assert again.types[:2] == ("builtins.KeyError", "builtins.LookupError")
    assert again.message == failure.message


def test_a_long_message_is_cut_and_says_so() -> None:
    failure = failure_of(ValueError("x" * 1_000_000))
    assert len(failure.encode()) < 50_000
    assert "1,000,000 characters" in failure.message


def test_identifiers_sort_by_time_and_derive_alike() -> None:
    clock = SystemClock()
    made = [new_id("run", clock) for _ in range(1000)]
    assert len(set(made)) == 1000
    assert [i[:14] for i in made] == sorted(i[:14] for i in made)
    assert derived_id("effect", "a", 1, "b") == derived_id("effect", "a", 1, "b")
    parts = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ("a", "b", "c")]
    assert len({derived_id("effect", *p) for p in parts}) == len(parts)
