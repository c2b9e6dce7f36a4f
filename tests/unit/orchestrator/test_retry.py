"""The law of the pauses: exponential backoff with full jitter and a cap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import Retry
from interlock.errors import DeclarationError
from interlock.orchestrator.retry import retry_after_seconds

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DURATIONS = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30))
DRAWS = st.floats(min_value=0, max_value=1, exclude_max=True)
ONE_MICROSECOND = timedelta(microseconds=1)


@given(
    base=DURATIONS,
    cap=DURATIONS,
    factor=st.floats(min_value=1, max_value=1e12),
    attempt=st.integers(min_value=1, max_value=10_000),
    draw=DRAWS,
)
def test_a_pause_is_drawn_below_the_exponential_ceiling(
    base: timedelta, cap: timedelta, factor: float, attempt: int, draw: float
) -> None:
    retry = Retry(attempts=attempt + 1, base=base, cap=cap, factor=factor)
    pause = retry.pause(attempt, draw, ValueError(), NOW)
    try:
        exponential = base.total_seconds() * factor ** (attempt - 1)
    except OverflowError:
        exponential = cap.total_seconds() if base else 0.0
    ceiling = min(cap.total_seconds(), exponential)
    assert timedelta(0) <= pause <= timedelta(seconds=ceiling) + ONE_MICROSECOND
    assert pause.total_seconds() == pytest.approx(ceiling * draw, abs=1e-6)


@given(attempt=st.integers(min_value=1, max_value=50), draw=DRAWS)
def test_the_ceiling_never_falls_from_attempt_to_attempt(attempt: int, draw: float) -> None:
    retry = Retry(base=timedelta(seconds=1), cap=timedelta(hours=1))
    assert retry.pause(attempt, draw, ValueError(), NOW) <= retry.pause(
        attempt + 1, draw, ValueError(), NOW
    )


@given(asked=st.integers(min_value=0, max_value=10**6), draw=DRAWS)
def test_a_pause_is_never_shorter_than_what_was_asked_for(asked: int, draw: float) -> None:
    class BusyError(Exception):
        retry_after = asked

    pause = Retry(cap=timedelta(seconds=5)).pause(1, draw, BusyError(), NOW)
    assert pause >= timedelta(seconds=asked)


class Response:
    def __init__(self, value: Any) -> None:
        self.headers = {"Retry-After": value}


class HttpError(Exception):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.response = Response(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("-5", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        ("Sunday, 01-Mar-26 12:01:00 GMT", 60),
        ("soon", None),
        ("", None),
    ],
)
def test_what_a_retry_after_header_says(value: str, seconds: float | None) -> None:
    assert retry_after_seconds(HttpError(value), NOW) == seconds


@given(st.text(max_size=40))
def test_no_header_breaks_the_reading(value: str) -> None:
    asked = retry_after_seconds(HttpError(value), NOW)
    assert asked is None or asked >= 0
    assert Retry().pause(1, 0.5, HttpError(value), NOW) >= timedelta(0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"base": timedelta(seconds=-1)},
        {"cap": timedelta(seconds=-1)},
        {"factor": 0.5},
        {"factor": float("nan")},
    ],
)
def test_impossible_declarations_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match=next(iter(wrong))):
        Retry(**wrong)
