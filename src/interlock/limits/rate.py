"""The pace of calls to one provider: so many requests and tokens a minute, first come first served.

One limiter per provider is shared by all runs of a process. Who wants to call reserves a turn and
is told how long to wait; turns are given in order of arrival, and nobody is overtaken. Time is
what the caller says it is (seconds of a clock that never goes back), and nothing here waits.

Law: over any stretch of T seconds, what the calls that start in it take is at most T times the rate
plus the burst, or plus the largest call where that is larger than the burst. It holds for what was
reserved, and after corrections downwards for what was really taken.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from interlock.errors import InvalidInputError

__all__ = ["RateLimiter", "RateLimits", "Turn"]

_MINUTE_SECONDS: Final = 60


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """What a provider takes in a minute; None sets no limit.

    `burst_seconds`: how many seconds' worth may go at once after a quiet time. In the worst minute
    that much goes over the rate: set the rates lower by it where a provider forgives nothing.
    Raises `InvalidInputError` for what is not above 0.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    burst_seconds: float = 6

    def __post_init__(self) -> None:
        given = (self.requests_per_minute, self.tokens_per_minute, self.burst_seconds)
        if any(value is not None and not value > 0 for value in given):
            raise InvalidInputError(f"a rate must be above 0; given is {self}.")


class Turn(NamedTuple):
    """A place in the line: when its call may start, on the limiter's own time, and what it takes.

    `wait_seconds` is how long that is from when it was reserved.
    """

    number: int
    starts_at: float
    requests: int
    tokens: int
    wait_seconds: float


class RateLimiter:
    """A line of calls to one provider. Not for several threads at once.

    Its own time stands still while a provider asks to be left alone (`hold_off`), so that those who
    wait then come one after the other, as before, and not all at the end of it.
    """

    def __init__(self, limits: RateLimits) -> None:
        self.limits = limits
        self._requests = _bucket(limits.requests_per_minute, limits.burst_seconds)
        self._tokens = _bucket(limits.tokens_per_minute, limits.burst_seconds)
        self._turns = 0
        self._last_start = float("-inf")
        self._stood_still_seconds = 0.0
        self._held_off_until = float("-inf")

    def reserve(self, now_seconds: float, requests: int = 1, tokens: int = 0) -> Turn:
        """Take the next turn, for a call of at most so many tokens.

        A call that is larger than the burst waits for a full one and is paid off afterwards. Ask
        `wait_seconds` again after waiting: the provider may have asked to be left alone meanwhile.
        Raises `InvalidInputError` for a negative number.
        """
        if requests < 0 or tokens < 0:
            raise InvalidInputError(f"a call takes 0 or more, not {requests} and {tokens} tokens.")
        earliest = max(self._own_time(now_seconds), self._last_start)
        taken = [*self._drawn_on(requests, tokens)]
        start = max([earliest, *(bucket.ready_at(earliest, amount) for bucket, amount in taken)])
        self._turns += 1
        self._last_start = start
        for bucket, amount in taken:
            bucket.take(self._turns, start, amount)
        turn = Turn(self._turns, start, requests, tokens, 0.0)
        return turn._replace(wait_seconds=self.wait_seconds(turn, now_seconds))

    def wait_seconds(self, turn: Turn, now_seconds: float) -> float:
        """How long a turn's call has to wait from now on; 0 when it may start."""
        ahead = max(0.0, turn.starts_at - self._own_time(now_seconds))
        return max(0.0, self._held_off_until - now_seconds) + ahead

    def correct(
        self, turn: Turn, now_seconds: float, *, tokens: int, requests: int | None = None
    ) -> None:
        """Say what a call really took, once. A call that was not made took no request and no token.

        What was reserved too much is given back to those who come next, as far as the line would
        have had room for it; what was taken too much is made up for by them.
        """
        made = turn.requests if requests is None else requests
        for bucket, amount in self._drawn_on(turn.requests - made, turn.tokens - tokens):
            bucket.give_back(turn.number, self._own_time(now_seconds), amount)

    def hold_off(self, now_seconds: float, until_seconds: float) -> None:
        """Let no call start before `until_seconds`: the provider said so (`Retry-After`).

        An earlier moment than one that was said before changes nothing.
        """
        began = max(now_seconds, self._held_off_until)
        if until_seconds > began:
            self._stood_still_seconds += until_seconds - began
            self._held_off_until = until_seconds

    def held_off_seconds(self, now_seconds: float) -> float:
        """How long the provider still wants to be left alone; 0 when it does not."""
        return max(0.0, self._held_off_until - now_seconds)

    def _drawn_on(self, requests: int, tokens: int) -> Iterator[tuple[_Bucket, int]]:
        for bucket, amount in ((self._requests, requests), (self._tokens, tokens)):
            if bucket is not None:
                yield bucket, amount

    def _own_time(self, now_seconds: float) -> float:
        return max(now_seconds, self._held_off_until) - self._stood_still_seconds


class _Bucket:
    """What may go at once, filling at a constant rate; below 0 it is owed.

    `_peaks` are the levels just before later turns took theirs, as `(turn, level)`, of which only
    those are kept that no later one reaches, so the highest comes first. How full the bucket was
    since a turn is the limit of a late return to it: what would have run over is lost.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._level = burst
        self._at: float | None = None
        self._peaks: list[tuple[int, float]] = []

    def ready_at(self, earliest: float, amount: float) -> float:
        missing = min(amount, self._burst) - self._filled(earliest)
        return earliest + missing / self._per_second if missing > 0 else earliest

    def take(self, turn: int, start: float, amount: float) -> None:
        level = self._filled(start)
        self._peaks = [*self._higher_than(level, self._peaks), (turn, level)]
        self._level = level - amount
        self._at = start

    def give_back(self, turn: int, now: float, amount: float) -> None:
        """As if the turn had taken less: every level since is higher, up to a full bucket."""
        if amount <= 0:
            self._level += amount
            return
        first = bisect_right(self._peaks, turn, key=lambda peak: peak[0])
        before, since = self._peaks[:first], self._peaks[first:]
        if since:
            amount = min(amount, self._burst - since[0][1])
            since = [(number, level + amount) for number, level in since]
            self._peaks = [*self._higher_than(since[0][1], before), *since]
        self._level += min(amount, self._burst - self._filled(now))

    @staticmethod
    def _higher_than(level: float, peaks: list[tuple[int, float]]) -> list[tuple[int, float]]:
        return peaks[: bisect_left(peaks, -level, key=lambda peak: -peak[1])]

    def _filled(self, at: float) -> float:
        if self._at is None or at <= self._at:
            return self._level
        return min(self._burst, self._level + (at - self._at) * self._per_second)


def _bucket(per_minute: int | None, burst_seconds: float) -> _Bucket | None:
    if per_minute is None:
        return None
    per_second = per_minute / _MINUTE_SECONDS
    return _Bucket(per_second, per_second * burst_seconds)
