"""Moments as callers write them: a date and time with its zone, or a time from now."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from interlock.errors import InvalidInputError

__all__ = ["parse_moment"]

_FROM_NOW: Final = re.compile(r"^(?P<count>[0-9]{1,9}(?:\.[0-9]{1,6})?)(?P<unit>ms|s|m|h|d)$")
_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LONGEST: Final = timedelta(days=36_500)


def parse_moment(text: str, what: str) -> datetime | timedelta:
    """Read `2026-05-01T12:30:00Z` (ISO 8601 with a zone), or `90s`, `15m`, `2h`, `3d` from now.

    `what` names the value in errors. Raises `InvalidInputError`.
    """
    found = _FROM_NOW.match(text.strip())
    if found is not None:
        duration = float(found["count"]) * _UNITS[found["unit"]] if _fits(found) else _LONGEST
        if duration >= _LONGEST:
            raise InvalidInputError(f"{what}: {text!r} is more than a hundred years away.")
        return duration
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInputError(
            f"{what}: {text!r} is no moment. Give a date and time with its zone, such as "
            "2026-05-01T12:30:00Z, or a time from now, such as 90s, 15m, 2h or 3d."
        )
    return moment


def _fits(found: re.Match[str]) -> bool:
    return float(found["count"]) * _UNITS[found["unit"]].total_seconds() < _LONGEST.total_seconds()
