"""The storage port: what a database must do to hold the journal.

A store is synchronous and is driven by one writer (`journal.Journal`), in a thread or inline.
`stage` judges and writes a whole group in one transaction, `sync` makes it durable; only then are
its results true. A refused item writes nothing and never fails its neighbours. Every implementation
passes `tests/conformance`; nothing above this port knows which one it has.

Projections (`runs`, `effects`, `inbox`, `mail`, `unique_keys`, `budgets`, `approvals`) are written
in the same transaction and always equal a fold of the journal (`rebuild` proves it).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from interlock.journal.event import Entry, Event
from interlock.journal.guard import Commit, Result
from interlock.journal.record import HeadsAt, Record
from interlock.journal.rows import (
    BudgetRow,
    EffectRow,
    EffectState,
    Head,
    InboxRow,
    InboxState,
    Mail,
    QueueGroup,
    RunFilter,
    RunRow,
    RunState,
)

__all__ = ["Store"]


class Store(Protocol):
    """A database that holds one journal.

    Calls must not overlap, except that one thread may read while another is in `stage` or `sync`:
    readers see a group once it is durable.
    """

    def stage(self, items: Sequence[Commit], *, patient: bool = True) -> list[Result]:
        """Judge and write a group in one transaction, not yet durable.

        Waits for another process's lock as long as the store was told to, or not at all when not
        `patient` (`StorageLockedError`). Expects items that `check_commit` let pass; what it
        cannot take after all raises the same errors. Raises `StorageError` when nothing of the
        group was written.
        """
        ...

    def sync(self) -> None:
        """Make the staged group durable. Nothing to do when none is staged.

        Raises `StorageError` when nothing of the group was written, and `StorageFailedError` when
        its outcome could not be established by reading back.
        """
        ...

    def discard(self) -> None:
        """Forget the staged group: nothing of it is written. Nothing to do when none is staged."""
        ...

    def commit(self, items: Sequence[Commit]) -> list[Result]:
        """`check_commit` on each, then `stage` and `sync`; nothing is written when one raises."""
        ...

    def head(self, stream: str) -> Head | None:
        """The end of a stream, or None when it has no event."""
        ...

    def read(self, stream: str, after_seq: int = 0, limit: int | None = None) -> list[Entry]:
        """Events of a stream with their bodies, in order."""
        ...

    def scan(self, after_position: int = 0, limit: int = 1000) -> list[Event]:
        """Events of all streams by position, without bodies."""
        ...

    def entry(self, position: int) -> Entry | None:
        """One event with its body."""
        ...

    def records(self, after_position: int = 0, limit: int = 1000) -> list[Record]:
        """Events of all streams by position exactly as stored, with salts and bodies."""
        ...

    def heads_since(self, after_position: int) -> HeadsAt:
        """The streams that have events after a position, all as of one moment."""
        ...

    def run(self, run: str) -> RunRow | None:
        """A run, or None."""
        ...

    def runs(self, where: RunFilter) -> list[RunRow]:
        """Runs, newest first."""
        ...

    def run_counts(self) -> dict[str, int]:
        """How many runs are in each state."""
        ...

    def running(self) -> list[str]:
        """Ids of runs that the journal has as running, oldest first."""
        ...

    def open_children(self, run: str) -> list[RunRow]:
        """Children of a run that are not finished."""
        ...

    def due(
        self,
        now_us: int,
        limit: int,
        without_agents: Sequence[str] = (),
        states: Sequence[RunState] = ("queued", "waiting", "parked"),
    ) -> list[RunRow]:
        """Runs that nobody executes and whose `wake_at_us` has come, earliest first."""
        ...

    def queue_groups(self, now_us: int) -> list[QueueGroup]:
        """The groups that have a queued run which may start now, highest priority first."""
        ...

    def queued(self, group: QueueGroup, now_us: int, limit: int) -> list[RunRow]:
        """The group's runs that may start now, first come first."""
        ...

    def next_wake_us(self, now_us: int) -> int | None:
        """The earliest later moment at which `due` or `queued` will have more."""
        ...

    def mail(self, run: str, after_position: int = 0) -> list[Mail]:
        """A run's untaken mail, in order."""
        ...

    def mail_since(self, position: int, limit: int = 1000) -> list[Mail]:
        """Untaken mail of all runs after a position, in order."""
        ...

    def inbox(
        self,
        states: tuple[InboxState, ...] = ("open",),
        limit: int = 100,
        *,
        tenant: str = "",
        after: str = "",
    ) -> list[InboxRow]:
        """Inbox tasks behind the task `after`, oldest first; with `tenant` only its runs'."""
        ...

    def open_tasks(self, run: str) -> list[InboxRow]:
        """A run's open inbox tasks, oldest first."""
        ...

    def inbox_task(self, task: str) -> InboxRow | None:
        """One inbox task, or None."""
        ...

    def effects(
        self,
        states: tuple[EffectState, ...] = (),
        run: str = "",
        limit: int = 100,
        *,
        tenant: str = "",
        before: str = "",
    ) -> list[EffectRow]:
        """Effects older than the effect `before`, newest first; with `tenant` only its runs'."""
        ...

    def effect(self, effect_key: str) -> EffectRow | None:
        """One effect, or None."""
        ...

    def budgets(self, prefix: str = "", limit: int = 100) -> list[BudgetRow]:
        """Accounts whose names begin with `prefix`, in the order of their names' code points."""
        ...

    def budget(self, account: str) -> BudgetRow | None:
        """One account, or None when it was never set."""
        ...

    def unique_holder(self, scope: str, key: str) -> str | None:
        """The stream that claimed (scope, key), or None."""
        ...

    def changes(self) -> int:
        """A number that differs after another process has committed. Cheap enough to poll."""
        ...

    def erase(self, positions: Sequence[int], *, by: str, reason: str) -> None:
        """Erase bodies for good and record that in the stream `tenant/default`. Repeatable."""
        ...

    def page_check(self) -> Iterator[str]:
        """The database's own check of its pages and indexes; yields a sentence per problem."""
        ...

    def verify(self) -> Iterator[str]:
        """Check gaps, chains and commitments; yields a sentence per problem, nothing when sound."""
        ...

    def rebuild(self) -> Iterator[str]:
        """Fold the journal afresh and compare; yields a sentence per difference."""
        ...

    def close(self) -> None:
        """Release the database. Repeatable."""
        ...
