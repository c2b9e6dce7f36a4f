"""A circuit breaker per provider: after failures in a row it is left alone, then tried by one call.

    closed ── `failures` transient failures in a row ──▶ open
    open ── `cooldown_seconds` later, one call is let through ──▶ half open
    half open ── the trial succeeds ──▶ closed;  it fails ──▶ open, for another cooldown

What counts as a transient failure (a timeout, a 5xx, a refused connection) is the caller's to say;
an answer that the provider gives on purpose is none. Time is what the caller says it is (seconds of
a clock that never goes back), and nothing here waits.

Law: from its opening until a trial succeeds, at most one call is let through in each cooldown, not
counting trials that were abandoned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from interlock.errors import InvalidInputError

__all__ = ["BreakerOptions", "BreakerState", "CircuitBreaker", "Pass"]


@dataclass(frozen=True, kw_only=True)
class BreakerOptions:
    """`failures` in a row that open it, 1 or more; `cooldown_seconds` until a trial, above 0."""

    failures: int = 5
    cooldown_seconds: float = 30

    def __post_init__(self) -> None:
        if self.failures < 1 or not self.cooldown_seconds > 0:
            raise InvalidInputError(f"a breaker needs 1 failure and a cooldown above 0: {self}.")


class Pass(NamedTuple):
    """The permission for one call. A verdict on a pass of an earlier `generation` is ignored."""

    generation: int
    trial: bool


class BreakerState(NamedTuple):
    """How a breaker stands; `wait_seconds` is how long until a call may be let through."""

    name: Literal["closed", "open", "half open"]
    failures: int
    wait_seconds: float

    def sentence(self, provider: str) -> str:
        """The state for a person."""
        failed = f"{self.failures} call{'s' if self.failures != 1 else ''} in a row failed"
        match self.name:
            case "closed" if self.failures == 0:
                return f"{provider} answers."
            case "closed":
                return f"{provider} is called; the last {failed}."
            case "open":
                after = f"in {self.wait_seconds:.0f} s" if self.wait_seconds > 0 else "next"
                return f"{provider} is left alone: {failed}. One call tries it {after}."
            case "half open":
                return f"{provider} is tried by one call: {failed}."


class CircuitBreaker:
    """Whether a provider may be called. Shared by all runs of a process; not for several threads.

    Who gets a `Pass` must bring it back with one of `succeeded`, `failed` and `abandoned`. A trial
    of which nothing is heard for a cooldown is given up, and another call may try.
    """

    def __init__(self, options: BreakerOptions | None = None) -> None:
        self.options = options or BreakerOptions()
        self._failures = 0
        self._generation = 0
        # Until when nobody is let through; None while it is closed.
        self._closed_off_until: float | None = None
        self._on_trial = False

    def admit(self, now_seconds: float) -> Pass | None:
        """Let a call through, or None while the provider is to be left alone."""
        if self._closed_off_until is None:
            return Pass(self._generation, trial=False)
        if now_seconds < self._closed_off_until:
            return None
        self._leave_alone(now_seconds)
        self._on_trial = True
        return Pass(self._generation, trial=True)

    def succeeded(self, admitted: Pass) -> None:
        """The provider answered."""
        if admitted.generation != self._generation:
            return
        self._failures = 0
        if admitted.trial:
            self._generation += 1
            self._closed_off_until = None
            self._on_trial = False

    def failed(self, admitted: Pass, now_seconds: float) -> None:
        """The call failed in a way that passes."""
        if admitted.generation != self._generation:
            return
        self._failures += 1
        if admitted.trial or self._failures >= self.options.failures:
            self._leave_alone(now_seconds)

    def abandoned(self, admitted: Pass, now_seconds: float) -> None:
        """The call says nothing about the provider: it was cancelled, or never made.

        After a trial that was abandoned the next call may try at once.
        """
        if admitted.trial and admitted.generation == self._generation:
            self._generation += 1
            self._on_trial = False
            self._closed_off_until = now_seconds

    def state(self, now_seconds: float) -> BreakerState:
        """How it stands, for the explanation and for who has to wait."""
        until = self._closed_off_until
        if until is None:
            return BreakerState("closed", self._failures, 0.0)
        wait = max(0.0, until - now_seconds)
        trying = self._on_trial and wait > 0
        return BreakerState("half open" if trying else "open", self._failures, wait)

    def _leave_alone(self, now_seconds: float) -> None:
        self._generation += 1
        self._on_trial = False
        self._closed_off_until = now_seconds + self.options.cooldown_seconds
