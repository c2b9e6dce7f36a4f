"""Moments and durations in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.observe.moment import at, at_or_none, how_long, since, when

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("duration_us", "words"),
    [
        (0, "0 ms"),
        (-5, "0 ms"),
        (1_500, "2 ms"),
        (999_000, "999 ms"),
        (SECOND, "1 second"),
        (59 * SECOND, "59 seconds"),
        (61 * SECOND, "1 minute 1 second"),
        (3600 * SECOND, "1 hour"),
        (3605 * SECOND, "1 hour"),
        (3660 * SECOND, "1 hour 1 minute"),
        (90_000 * SECOND, "1 day 1 hour"),
        (86_400 * 400 * SECOND, "400 days"),
    ],
)
def test_durations(duration_us: int, words: str) -> None:
    assert how_long(duration_us) == words


@given(st.integers(0, 10**16))
def test_every_duration_has_words(duration_us: int) -> None:
    words = how_long(duration_us).split()
    assert len(words) in (2, 4)


def test_moments_are_exact_for_machines_and_short_for_people() -> None:
    moment_us = 1_777_638_600_123_456
    assert at(moment_us) == datetime(2026, 5, 1, 12, 30, 0, 123_456, tzinfo=UTC)
    assert at_or_none(None) is None
    assert when(moment_us) == "2026-05-01 12:30:00 UTC"
    assert since(moment_us, moment_us + 5 * SECOND).endswith("(5 seconds ago)")
    assert since(moment_us, moment_us - 5 * SECOND).endswith("(in 5 seconds)")
