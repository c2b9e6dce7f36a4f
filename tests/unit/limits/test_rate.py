"""The pace of calls: the law over random histories, and what each promise means."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import InvalidInputError
from interlock.limits.rate import RateLimiter, RateLimits, Turn

SLACK = 1e-6
PER_MINUTE = 600
PER_SECOND = PER_MINUTE / 60
BURST_SECONDS = 5.0
BURST = PER_SECOND * BURST_SECONDS


def limiter(tokens: int | None = PER_MINUTE, requests: int | None = None) -> RateLimiter:
    limits = RateLimits(
        requests_per_minute=requests, tokens_per_minute=tokens, burst_seconds=BURST_SECONDS
    )
    return RateLimiter(limits)


def test_the_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    line = limiter()
    assert [line.reserve(0, tokens=25).wait_seconds for _ in range(4)] == [0, 0, 2.5, 5]


def test_requests_and_tokens_both_have_to_have_room() -> None:
    line = limiter(tokens=600, requests=60)
    waits = [line.reserve(0, tokens=tokens).wait_seconds for tokens in (1, 1, 1, 1, 1, 1, 100, 1)]
    assert waits == pytest.approx([0, 0, 0, 0, 0, 1, 2, 7.1])


def test_without_limits_nobody_waits_but_for_the_provider() -> None:
    line = limiter(tokens=None)
    assert {line.reserve(0, tokens=10**9).wait_seconds for _ in range(100)} == {0}
    line.hold_off(0, 7)
    turn = line.reserve(1, tokens=5)
    assert turn.wait_seconds == 6
    line.correct(turn, 2, tokens=0)


def test_a_call_larger_than_the_burst_is_paid_off_by_those_after_it() -> None:
    line = limiter()
    assert line.reserve(0, tokens=1).wait_seconds == 0
    assert line.reserve(0, tokens=250).wait_seconds == pytest.approx(0.1)
    assert line.reserve(0, tokens=10).wait_seconds == pytest.approx(0.1 + 20 + 1)


def test_what_was_not_taken_is_given_to_the_next() -> None:
    line = limiter()
    first = line.reserve(0, tokens=50)
    line.correct(first, 1, tokens=10)
    assert line.reserve(1, tokens=50).wait_seconds == 0
    assert line.reserve(1, tokens=10).wait_seconds == 1


def test_what_was_taken_too_much_is_made_up_for() -> None:
    line = limiter()
    first = line.reserve(0, tokens=10)
    line.correct(first, 0, tokens=60)
    assert line.reserve(0, tokens=10).wait_seconds == 2


def test_a_late_return_is_lost_where_the_bucket_was_full_meanwhile() -> None:
    line = limiter()
    early = line.reserve(0, tokens=50)
    assert line.reserve(5, tokens=50).wait_seconds == 0
    line.correct(early, 5, tokens=0)
    assert line.reserve(5, tokens=50).wait_seconds == 5


def test_a_turn_that_is_given_up_costs_nothing() -> None:
    line = limiter(tokens=600, requests=60)
    turns = [line.reserve(0, tokens=20) for _ in range(2)]
    for turn in turns:
        line.correct(turn, 0, tokens=0, requests=0)
    assert [line.reserve(0, tokens=10).wait_seconds for _ in range(5)] == [0] * 5


def test_a_provider_that_is_left_alone_is_not_stormed_afterwards() -> None:
    line = limiter()
    turns = [line.reserve(0, tokens=50) for _ in range(3)]
    assert [turn.wait_seconds for turn in turns] == [0, 5, 10]
    line.hold_off(2, 32)
    line.hold_off(3, 20)
    assert line.held_off_seconds(3) == 29
    assert [line.wait_seconds(turn, 3) for turn in turns] == [29, 32, 37]
    assert line.reserve(3, tokens=50).wait_seconds == 42
    assert [line.wait_seconds(turn, 35) for turn in turns] == [0, 0, 5]
    line.hold_off(35, 36)
    assert line.wait_seconds(turns[2], 35) == 6
    assert line.held_off_seconds(40) == 0


@pytest.mark.parametrize(
    "wrong",
    [{"requests_per_minute": 0}, {"tokens_per_minute": -1}, {"burst_seconds": 0.0}],
    ids=str,
)
def test_a_rate_is_above_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        RateLimits(**wrong)
    with pytest.raises(InvalidInputError):
        limiter().reserve(0, tokens=-1)


class History:
    """Calls as a limiter lets them start, and what they took in the end."""

    def __init__(self, line: RateLimiter) -> None:
        self.line = line
        self.now = 0.0
        self.turns: list[Turn] = []
        self.taken: list[int] = []
        self.open: list[int] = []

    def step(self, kind: str, amount: int, pause: int) -> None:
        self.now += pause / 4
        if kind == "reserve":
            self.open.append(len(self.turns))
            self.turns.append(self.line.reserve(self.now, tokens=amount))
            self.taken.append(amount)
        elif kind == "hold off":
            self.line.hold_off(self.now, self.now + amount / 10)
        elif self.open:
            index = self.open.pop(amount % len(self.open))
            self.taken[index] = min(amount, self.taken[index])
            self.line.correct(self.turns[index], self.now, tokens=self.taken[index])

    def assert_law(self) -> None:
        starts = [turn.starts_at for turn in self.turns]
        assert starts == sorted(starts)
        for first in range(len(starts)):
            total, largest = 0, 0
            for last in range(first, len(starts)):
                total += self.taken[last]
                largest = max(largest, self.taken[last])
                seconds = starts[last] - starts[first]
                assert total <= PER_SECOND * seconds + max(BURST, largest) + SLACK


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "correct", "hold off"]),
        st.integers(0, 80),
        st.sampled_from([0, 0, 1, 4, 20]),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_never_more_than_the_rate_beyond_the_burst(steps: list[tuple[str, int, int]]) -> None:
    history = History(limiter())
    for kind, amount, pause in steps:
        history.step(kind, amount, pause)
    history.assert_law()


class Exact:
    """The bucket in hindsight: every level computed afresh from what was really taken."""

    def __init__(self, turns: list[Turn], taken: list[int]) -> None:
        self.level, self.at = Fraction(BURST), Fraction(0)
        for turn, amount in zip(turns, taken, strict=True):
            self.fill(Fraction(turn.starts_at))
            self.level -= amount

    def fill(self, at: Fraction) -> None:
        if at > self.at:
            self.level = min(Fraction(BURST), self.level + (at - self.at) * Fraction(PER_SECOND))
            self.at = at


@given(steps=STEPS)
def test_a_correction_is_worth_what_it_would_have_been_from_the_start(
    steps: list[tuple[str, int, int]],
) -> None:
    history = History(limiter())
    for kind, amount, pause in steps:
        if kind != "hold off":
            history.step(kind, amount, pause)
    exact = Exact(history.turns, history.taken)
    start = Fraction(max([history.now, *(turn.starts_at for turn in history.turns)]))
    exact.fill(start)
    wait = max(Fraction(0), (50 - exact.level) / Fraction(PER_SECOND))
    probe = history.line.reserve(history.now, tokens=50)
    assert probe.starts_at == pytest.approx(float(start + wait), abs=SLACK)


@given(steps=STEPS, holds=st.lists(st.integers(1, 100), max_size=3))
def test_a_turn_never_starts_before_the_provider_allows(
    steps: list[tuple[str, int, int]], holds: list[int]
) -> None:
    history = History(limiter())
    for kind, amount, pause in steps:
        history.step(kind, amount, pause)
    until = history.now
    for seconds in holds:
        history.line.hold_off(history.now, history.now + seconds)
        until = max(until, history.now + seconds)
    probe = history.line.reserve(history.now, tokens=1)
    for turn in (*history.turns, probe):
        wait = history.line.wait_seconds(turn, history.now)
        assert history.now + wait >= until - SLACK
        assert history.line.wait_seconds(turn, history.now + wait) <= SLACK
