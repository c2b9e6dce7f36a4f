"""The gate of one provider: whether it may be called now, and when a call's turn comes.

One gate per provider and process joins the breaker and the pace of calls. A call asks for a
`Ticket` before it is made and hands it back with what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock.limits.breaker import BreakerOptions, CircuitBreaker, Pass
from interlock.limits.rate import RateLimiter, RateLimits, Turn

__all__ = ["Gates", "ProviderGate", "ProviderLimits", "Ticket"]


@dataclass(frozen=True, kw_only=True)
class ProviderLimits:
    """How one provider is called: its pace, and when it is left alone."""

    rate: RateLimits = field(default_factory=RateLimits)
    breaker: BreakerOptions = field(default_factory=BreakerOptions)


@dataclass(frozen=True)
class Ticket:
    """A call's place with a provider: its pass and its turn."""

    admitted: Pass
    turn: Turn


class ProviderGate:
    """Not for several threads at once. Times are seconds of the executor's clock."""

    def __init__(self, provider: str, limits: ProviderLimits) -> None:
        self.provider = provider
        self.limits = limits
        self._limiter = RateLimiter(limits.rate)
        self._breaker = CircuitBreaker(limits.breaker)

    def enter(self, now_seconds: float, tokens: int) -> Ticket | str:
        """A ticket for a call of at most `tokens`; or a sentence that says why there is none."""
        admitted = self._breaker.admit(now_seconds)
        if admitted is None:
            return self._breaker.state(now_seconds).sentence(self.provider)
        return Ticket(admitted, self._limiter.reserve(now_seconds, 1, tokens))

    def wait_seconds(self, ticket: Ticket, now_seconds: float) -> float:
        """How long the call still has to wait for its turn; 0 when it may be made."""
        return self._limiter.wait_seconds(ticket.turn, now_seconds)

    def succeeded(self, ticket: Ticket, now_seconds: float, tokens: int) -> None:
        """The provider answered, and the call took so many tokens."""
        self._breaker.succeeded(ticket.admitted)
        self._limiter.correct(ticket.turn, now_seconds, tokens=tokens)

    def failed(
        self,
        ticket: Ticket,
        now_seconds: float,
        *,
        transient: bool,
        retry_after_seconds: float | None,
    ) -> None:
        """The provider did not answer; `transient` where that says something about it."""
        if retry_after_seconds is not None:
            self._limiter.hold_off(now_seconds, now_seconds + retry_after_seconds)
        if transient:
            self._breaker.failed(ticket.admitted, now_seconds)
        else:
            self._breaker.succeeded(ticket.admitted)

    def left(self, ticket: Ticket, now_seconds: float, *, sent: bool) -> None:
        """The call was given up: it says nothing about the provider."""
        self._breaker.abandoned(ticket.admitted, now_seconds)
        if not sent:
            self._limiter.correct(ticket.turn, now_seconds, tokens=0, requests=0)


class Gates:
    """The gates of all providers of one process. `limits` by the provider's name."""

    def __init__(self, limits: Mapping[str, ProviderLimits] | None = None) -> None:
        self._limits = dict(limits or {})
        self._gates: dict[str, ProviderGate] = {}

    def gate(self, provider: str) -> ProviderGate:
        """The provider's gate; one without limits of its own where nothing is declared."""
        gate = self._gates.get(provider)
        if gate is None:
            limits = self._limits.get(provider, ProviderLimits())
            gate = self._gates[provider] = ProviderGate(provider, limits)
        return gate
