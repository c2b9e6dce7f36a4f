"""A store that dies with its process at chosen commits, and plans that choose them.

A plan sees every group before it is written and says at which moment the process dies: `before`
anything reached the disk, `during` (staged and rolled back), `after` (durable and answered), or
`unacknowledged` (durable, and nobody ever heard).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final, Literal, Protocol

from interlock.journal.guard import Append, Commit, Committed, Result
from interlock.journal.sqlite.store import SqliteStore
from interlock.testing.virtual_clock import SimulatedDeath, VirtualClock

__all__ = [
    "MOMENTS",
    "CrashPlan",
    "EveryBoundary",
    "Moment",
    "NoCrash",
    "OneCrash",
    "SimulatedStore",
]

Moment = Literal["before", "during", "after", "unacknowledged"]
MOMENTS: Final[tuple[Moment, ...]] = ("before", "during", "after", "unacknowledged")
# The sixth claim without progress parks a run as poison, rightly: a plan must stop short of that.
_CLAIMS_WITHOUT_PROGRESS: Final = 4
_REPEATS: Final = 2
_ENDS: Final = frozenset({"run_completed", "run_failed", "run_cancelled", "run_parked"})


class CrashPlan(Protocol):
    """Decides at which commits the process dies."""

    def choose(self, items: Sequence[Commit]) -> Moment | None:
        """When to die at this group, or None."""
        ...

    def durable(self, items: Sequence[Commit], results: Sequence[Result]) -> None:
        """This group is on disk."""
        ...


class SimulatedStore(SqliteStore):
    """The real store on a real file, with a plan. `watch` is told the last durable position."""

    def __init__(
        self, path: str, clock: VirtualClock, watch: Callable[[int], None], plan: CrashPlan
    ) -> None:
        super().__init__(
            path, clock=clock, synchronous="OFF", create=True, wait=timedelta(seconds=1)
        )
        self._watch = watch
        self._plan = plan
        self._alive = True
        self.interrupted: Sequence[Commit] = ()

    def survive(self) -> None:
        """Be the store of the next process on the same file: what was not committed is gone."""
        self.discard()
        self.interrupted = ()
        self._alive = True

    def commit(self, items: Sequence[Commit]) -> list[Result]:
        """Write a group, or die as planned."""
        if not self._alive:
            raise SimulatedDeath
        moment = self._plan.choose(items)
        if moment == "before":
            self._die(items)
        results = self.stage(items)
        if moment == "during":
            self._die(items)
        self.sync()
        self._watch(_last_position(items, results))
        self._plan.durable(items, results)
        if moment == "unacknowledged":
            self._die(())
        if moment == "after":
            self._alive = False
            asyncio.get_running_loop().call_soon(self._die, ())
        return results

    def _die(self, items: Sequence[Commit]) -> None:
        self._alive = False
        self.interrupted = items
        raise SimulatedDeath


def _last_position(items: Sequence[Commit], results: Sequence[Result]) -> int:
    last = 0
    for item, result in zip(items, results, strict=True):
        if isinstance(result, Committed):
            for append, (position, _) in zip(item.appends, result.places, strict=True):
                last = max(last, position + len(append.drafts) - 1)
    return last


class NoCrash:
    """The undisturbed life."""

    def choose(self, items: Sequence[Commit]) -> Moment | None:
        """Never."""

    def durable(self, items: Sequence[Commit], results: Sequence[Result]) -> None:
        """Nothing to remember."""


class OneCrash:
    """Dies once, at the `number`-th group (from 1)."""

    def __init__(self, number: int, moment: Moment) -> None:
        self._left = number
        self._moment: Moment = moment

    def choose(self, items: Sequence[Commit]) -> Moment | None:
        """At the chosen group."""
        self._left -= 1
        return self._moment if self._left == 0 else None

    def durable(self, items: Sequence[Commit], results: Sequence[Result]) -> None:
        """Nothing to remember."""


_Place = tuple[str, str, str, int]


class EveryBoundary:
    """Dies once at every commit of a program that was not interrupted before.

    A commit is recognised by what it says and how often that was said before, since after a restart
    the interrupted one comes again.
    """

    def __init__(self, moment: Moment) -> None:
        self._moment: Moment = moment
        self._said: Counter[tuple[str, str, str]] = Counter()
        self._interrupted: set[_Place] = set()
        self._fruitless: Counter[str] = Counter()

    def choose(self, items: Sequence[Commit]) -> Moment | None:
        """At the first group with anything new in it, unless a run would count as poison."""
        if any(count >= _CLAIMS_WITHOUT_PROGRESS for count in self._fruitless.values()):
            return None
        places = set(self._places(items)) - self._interrupted
        self._interrupted |= places
        return self._moment if places else None

    def _places(self, items: Sequence[Commit]) -> Iterator[_Place]:
        for append in _appends(items):
            draft = append.drafts[0]
            said = (append.stream, draft.kind, draft.key)
            yield (*said, min(self._said[said], _REPEATS))

    def durable(self, items: Sequence[Commit], results: Sequence[Result]) -> None:
        """Count what was said, and the claims of runs that get no further."""
        for item, result in zip(items, results, strict=True):
            if isinstance(result, Committed):
                for append in item.appends:
                    self._count(append)

    def _count(self, append: Append) -> None:
        first, last = append.drafts[0], append.drafts[-1]
        self._said[append.stream, first.kind, first.key] += 1
        if append.raise_epoch and len(append.drafts) == 1:
            self._fruitless[append.stream] += 1
        elif append.drafts[0].kind in _ENDS or last.kind in _ENDS:
            self._fruitless.pop(append.stream, None)
        else:
            self._fruitless[append.stream] = 0


def _appends(items: Sequence[Commit]) -> Iterator[Append]:
    for item in items:
        yield from item.appends
