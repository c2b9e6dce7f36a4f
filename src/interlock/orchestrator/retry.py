"""When a failed attempt is made again, and after how long."""

from __future__ import annotations

import email.utils
import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from interlock.errors import DeclarationError

__all__ = ["NO_RETRY", "Retry", "retry_after_seconds"]

_LONGEST_SECONDS: Final = 365 * 86_400.0


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often a step is attempted, and the pause between attempts.

    The pause before attempt n+1 is drawn from 0 to `min(cap, base * factor ** (n - 1))`:
    exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015). An error that carries `Retry-After` (seconds or an HTTP date, RFC
    9110 section 10.2.3) is given at least that pause.

    `attempts` counts all attempts, the first included, at least 1; they are counted across
    restarts. `retry_on` are the exceptions worth another attempt; `give_up_on` wins over it.
    """

    attempts: int = 3
    base: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    cap: timedelta = timedelta(minutes=1)
    retry_on: tuple[type[Exception], ...] = (Exception,)
    give_up_on: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise DeclarationError(
                f"Retry(attempts={self.attempts}): at least 1 attempt is needed."
            )
        if self.base < timedelta(0) or self.cap < timedelta(0):
            raise DeclarationError("Retry: base and cap cannot be negative.")
        if not self.factor >= 1:  # Not a number is refused too.
            raise DeclarationError(f"Retry(factor={self.factor}): a backoff needs at least 1.")

    def wants(self, error: Exception, attempt: int) -> bool:
        """Whether attempt number `attempt` (from 1), which ended in `error`, is followed by one."""
        if attempt >= self.attempts or isinstance(error, self.give_up_on):
            return False
        return isinstance(error, self.retry_on)

    def pause(self, attempt: int, draw: float, error: Exception, now: datetime) -> timedelta:
        """The pause after attempt number `attempt`. `draw` is uniform in [0, 1)."""
        # A float overflows long after any cap is reached.
        ceiling = self.cap.total_seconds()
        with suppress(OverflowError):
            ceiling = min(ceiling, self.base.total_seconds() * self.factor ** (attempt - 1))
        asked = retry_after_seconds(error, now)
        return timedelta(seconds=max(ceiling * draw, asked or 0.0))


NO_RETRY = Retry(attempts=1)


def retry_after_seconds(error: Exception, now: datetime) -> float | None:
    """How long the other side asked to wait, or None.

    Read from the error's `retry_after` (seconds or timedelta) or its `response`'s `Retry-After`.
    """
    asked: Any = getattr(error, "retry_after", None)
    if asked is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
        asked = headers.get("Retry-After") if headers is not None else None
    if asked is None:
        return None
    if isinstance(asked, timedelta):
        return _bounded(asked.total_seconds())
    try:
        return _bounded(float(asked))
    except (TypeError, ValueError, OverflowError):
        return _until_http_date(str(asked), now)


def _bounded(seconds: float) -> float | None:
    """What is asked within a year; nonsense is as if nothing was asked."""
    return min(max(0.0, seconds), _LONGEST_SECONDS) if math.isfinite(seconds) else None


def _until_http_date(text: str, now: datetime) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _bounded((moment - now).total_seconds())
