"""A run's recorded events of its present generation, as a session needs them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from interlock.errors import BodyErasedError
from interlock.journal.event import Entry

__all__ = ["History", "at_path", "person_in"]

# Events of a run's stream that no operation is the fold of.
_BOOKKEEPING: Final = frozenset(
    {
        "run_queued",
        "run_claimed",
        "run_suspended",
        "run_released",
        "run_retried",
        "run_continued",
        "run_parked",
        "state_changed",
        "task_withdrawn",
        "budget_reserved",
        "budget_settled",
    }
)


class History:
    """Events from the one that began the generation: `run_queued` or `run_continued`."""

    def __init__(self, run: str, entries: Sequence[Entry]) -> None:
        self._run = run
        self._entries = entries

    def input(self) -> bytes:
        """The recorded input. Raises `BodyErasedError`."""
        first = self._entries[0]
        if first.erased:
            raise BodyErasedError(
                f"run {self._run}: its input was erased and it cannot continue. Cancel it."
            )
        return first.body or b"null"

    def seed(self) -> str:
        """What the run's random choices derive from."""
        return str(self._entries[0].event.header.get("seed", ""))

    def began_us(self) -> int | None:
        """When the generation was first claimed: the time at which its code begins."""
        claims = (e.event.at_us for e in self._entries if e.event.kind == "run_claimed")
        return next(claims, None)

    def contract(self) -> str:
        """The hash of the contract that the last claim names; empty where it names none."""
        claims = (e.event for e in reversed(self._entries) if e.event.kind == "run_claimed")
        last = next(claims, None)
        return "" if last is None else str(last.header.get("contract", ""))

    def carried_state(self) -> bytes | None:
        """The state that `continue_as_new` handed to this generation, if any."""
        kinds = [entry.event.kind for entry in self._entries[:2]]
        return self._entries[1].body if kinds == ["run_continued", "state_changed"] else None

    def recorded_state(self) -> bytes | None:
        """The state as it was last recorded, if any."""
        bodies = [e.body for e in self._entries if e.event.kind == "state_changed"]
        return bodies[-1] if bodies else None

    def outcomes(self) -> Iterator[Entry]:
        """The events that the code is given again, in order. Raises `BodyErasedError`."""
        for entry in self._entries:
            event = entry.event
            if event.kind in _BOOKKEEPING:
                continue
            if entry.erased:
                raise BodyErasedError(
                    f"run {self._run}: the body of event {event.seq} ({event.kind}) was erased and "
                    "the run needs it to continue. Cancel the run, or start a new one."
                )
            yield entry


def at_path(given: Any, path: str) -> Any:
    """What a dotted path (`input.customer`) leads to in a run's input; None where to nothing."""
    value: Any = given
    for name in path.split(".")[1:]:
        value = cast("Any", value).get(name) if isinstance(value, Mapping) else None
    return value


def person_in(body: bytes, path: str | None) -> str:
    """The text or number that a path leads to in a run's recorded input, or nothing."""
    value = None if path is None else at_path(json.loads(body), path)
    return str(value) if isinstance(value, (str, int)) else ""
