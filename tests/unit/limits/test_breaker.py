"""The circuit breaker: its states, its words, and its law over random histories."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from interlock.errors import InvalidInputError
from interlock.limits.breaker import BreakerOptions, CircuitBreaker, Pass

FAILURES, COOLDOWN = 3, 10.0


def breaker() -> CircuitBreaker:
    return CircuitBreaker(BreakerOptions(failures=FAILURES, cooldown_seconds=COOLDOWN))


def opened(at: float = 0) -> CircuitBreaker:
    made = breaker()
    for _ in range(FAILURES):
        made.failed(admitted(made, at), at)
    return made


def admitted(of: CircuitBreaker, at: float) -> Pass:
    found = of.admit(at)
    assert found is not None
    return found


def test_it_opens_after_failures_in_a_row() -> None:
    made = breaker()
    for _ in range(FAILURES - 1):
        made.failed(admitted(made, 0), 0)
    made.succeeded(admitted(made, 0))
    for number in range(FAILURES):
        assert made.state(0) == ("closed", number, 0)
        made.failed(admitted(made, 0), 0)
    assert made.admit(0) is None
    assert made.state(4) == ("open", FAILURES, 6)


def test_one_call_tries_it_after_the_cooldown() -> None:
    made = opened()
    assert made.admit(9.9) is None
    trial = admitted(made, 10)
    assert trial.trial
    assert made.state(12) == ("half open", FAILURES, 8)
    assert made.admit(12) is None
    made.succeeded(trial)
    assert made.state(12) == ("closed", 0, 0)
    assert not admitted(made, 12).trial


def test_a_failed_trial_costs_another_cooldown() -> None:
    made = opened()
    made.failed(admitted(made, 10), 13)
    assert made.state(13) == ("open", FAILURES + 1, 10)
    assert made.admit(22) is None
    assert admitted(made, 23).trial


def test_a_trial_of_which_nothing_is_heard_is_given_up() -> None:
    made = opened()
    lost = admitted(made, 10)
    assert made.admit(19) is None
    assert made.state(20) == ("open", FAILURES, 0)
    second = admitted(made, 20)
    made.failed(lost, 21)
    made.succeeded(lost)
    assert made.state(21).name == "half open"
    made.succeeded(second)
    assert made.state(21).name == "closed"


def test_an_abandoned_trial_lets_the_next_try_at_once() -> None:
    made = opened()
    made.abandoned(admitted(made, 10), 11)
    assert made.state(11) == ("open", FAILURES, 0)
    assert admitted(made, 11).trial
    assert made.admit(11) is None


def test_calls_that_were_under_way_when_it_opened_have_no_say() -> None:
    made = breaker()
    early = [admitted(made, 0) for _ in range(10)]
    for one in early[:FAILURES]:
        made.failed(one, 0)
    for one in early[FAILURES:]:
        made.failed(one, 5)
        made.succeeded(one)
        made.abandoned(one, 5)
    assert made.state(5) == ("open", FAILURES, 5)


def test_its_states_in_words() -> None:
    made = breaker()
    assert made.state(0).sentence("openai") == "openai answers."
    made.failed(admitted(made, 0), 0)
    assert made.state(0).sentence("openai") == "openai is called; the last 1 call in a row failed."
    made = opened()
    failed = "3 calls in a row failed"
    said = [made.state(at).sentence("openai") for at in (1, 10)]
    assert said[0] == f"openai is left alone: {failed}. One call tries it in 9 s."
    assert said[1] == f"openai is left alone: {failed}. One call tries it next."
    made.admit(10)
    assert made.state(10).sentence("openai") == f"openai is tried by one call: {failed}."


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"cooldown_seconds": 0.0}], ids=str)
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        BreakerOptions(**wrong)


class Histories(RuleBasedStateMachine):
    """Calls that end in any order, as late as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = breaker()
        self.now = 0.0
        self.under_way: list[Pass] = []
        self.trials: list[float] = []
        self.in_a_row = 0

    def is_open(self) -> bool:
        return self.breaker.state(self.now).name != "closed"

    def take(self, which: int) -> Pass:
        return self.under_way.pop(which % len(self.under_way))

    @rule(quarters=st.integers(1, 60))
    def wait(self, quarters: int) -> None:
        self.now += quarters / 4

    @rule()
    def call(self) -> None:
        was_open, wait = self.is_open(), self.breaker.state(self.now).wait_seconds
        found = self.breaker.admit(self.now)
        assert (found is None) == (was_open and wait > 0)
        if found is not None:
            assert found.trial == was_open
            self.under_way.append(found)
            self.trials += [self.now] * found.trial

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 99))
    def succeed(self, which: int) -> None:
        was_open, one = self.is_open(), self.take(which)
        self.breaker.succeeded(one)
        if was_open and not self.is_open():
            assert one.trial
            self.trials.clear()

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 99))
    def fail(self, which: int) -> None:
        before, one = self.breaker.state(self.now), self.take(which)
        self.breaker.failed(one, self.now)
        after = self.breaker.state(self.now)
        if before.name == "closed" and after.name != "closed":
            assert after == ("open", FAILURES, COOLDOWN)

    @invariant()
    def at_most_one_trial_in_a_cooldown(self) -> None:
        pairs = zip(self.trials, self.trials[1:], strict=False)
        assert all(later - earlier >= COOLDOWN for earlier, later in pairs)


TestHistories = Histories.TestCase
