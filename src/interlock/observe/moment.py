"""Moments and durations as people and machines read them.

The journal counts microseconds since 1970 (UTC). Machines get aware datetimes, people get UTC to
the second and a duration in its two largest units.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["at", "at_or_none", "how_long", "since", "when"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_US: Final = 1_000_000
_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def at(moment_us: int) -> datetime:
    """The moment as an aware datetime in UTC; exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=moment_us)


def at_or_none(moment_us: int | None) -> datetime | None:
    """As `at`, with None for no moment."""
    return None if moment_us is None else at(moment_us)


def when(moment_us: int) -> str:
    """`2026-05-01 12:30:00 UTC`: whole seconds, for sentences."""
    return f"{at(moment_us):%Y-%m-%d %H:%M:%S} UTC"


def since(moment_us: int, now_us: int) -> str:
    """`2026-05-01 12:30:00 UTC (5 minutes ago)`, or `(in 5 minutes)` for a moment to come."""
    distance = now_us - moment_us
    words = f"{how_long(distance)} ago" if distance >= 0 else f"in {how_long(-distance)}"
    return f"{when(moment_us)} ({words})"


def how_long(duration_us: int) -> str:
    """A duration in words: its two largest units, or milliseconds under one second."""
    if duration_us < _SECOND_US:
        return f"{max(0, duration_us) / 1000:.0f} ms"
    left = duration_us // _SECOND_US
    words: list[str] = []
    for name, seconds in _UNITS:
        count, rest = divmod(left, seconds)
        if count and len(words) < 2:
            words.append(f"{count} {name}{'' if count == 1 else 's'}")
            left = rest
        elif words:
            break
    return " ".join(words)
