"""The storage port on SQLite: one file, one writer at a time, readers that never wait.

The writing connection stages and commits; all answers come from a second connection, which sees a
group only when it is durable. `synchronous=FULL` in WAL mode: a commit returns when the log is on
disk. When COMMIT itself reports an error, a fresh connection looks whether the group is there.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import timedelta

from interlock.clock import Clock, Mutex, pause
from interlock.errors import NotFoundError, StorageFailedError
from interlock.journal.check import check_commit
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit, Result
from interlock.journal.judge import Batch
from interlock.journal.sqlite.connection import (
    Synchronous,
    open_writer,
    set_wait,
)
from interlock.journal.sqlite.failure import is_busy, storage_error, translated
from interlock.journal.sqlite.outcome import was_written
from interlock.journal.sqlite.reading import SqliteReading
from interlock.journal.sqlite.rebuild import differences
from interlock.journal.sqlite.writing import Writing
from interlock.journal.verify import verify_all

__all__ = ["ERASURES", "SqliteStore"]

ERASURES = "tenant/default"
_ERASURES_PER_EVENT = 1000
_AT_ONCE = timedelta(0)
_LOOK_AGAIN = timedelta(milliseconds=1)


class SqliteStore(SqliteReading):
    """A journal in a SQLite file. Calls must not overlap, except reads with `stage` and `sync`."""

    def __init__(
        self,
        path: str,
        *,
        clock: Clock,
        synchronous: Synchronous,
        create: bool,
        wait: timedelta,
    ) -> None:
        self._wait = wait
        self._staged: Batch | None = None
        # The writer's connection is one thread's at a time: a statement's error is read off the
        # connection, so with another one beside it a BEGIN that failed can look as if it began.
        self._writer_free = Mutex()
        self._in_use = False
        self._closed = False
        with translated(path):
            self._writer = open_writer(
                path, clock=clock, synchronous=synchronous, create=create, wait=wait
            )
            super().__init__(path, wait=wait)
        set_wait(self._writer, _AT_ONCE)
        self._writing = Writing(self._writer, clock)
        self._seen = self._data_version()

    def stage(self, items: Sequence[Commit], *, patient: bool = True) -> list[Result]:
        """Judge and write a group in one transaction, not yet durable.

        Waits for another process's lock as long as the store was told to, or not at all when not
        `patient`. Raises `StorageError` when nothing of the group was written, and what is wrong
        with an item that no store can take.
        """
        self._require_idle()
        self._take_writer()
        try:
            self._begin(patient=patient)
            results, self._staged = self._writing.stage(items)
        except BaseException as error:
            self.discard()
            if isinstance(error, Exception):
                _raise_what_is_wrong(items)
            if isinstance(error, sqlite3.Error):
                raise storage_error(error, self.path) from error
            raise
        return results

    def _begin(self, *, patient: bool) -> None:
        # SQLite's own waiting asks at ever longer intervals and can starve beside a process that
        # writes all the time; this asks every millisecond.
        tries = max(1, self._wait // _LOOK_AGAIN) if patient else 1
        for left in reversed(range(tries)):
            try:
                self._writer.execute(self._sql["begin_write"])
                break
            except sqlite3.OperationalError as error:
                if left == 0 or not is_busy(error):
                    raise
            pause(_LOOK_AGAIN.total_seconds())
        self._seen = self._data_version()

    def _require_idle(self) -> None:
        if self._staged is not None:
            raise RuntimeError("a staged group must be synced or discarded before the next")

    def sync(self) -> None:
        """Make the staged group durable; nothing to do when none is staged.

        Raises `StorageError` when nothing of the group was written, and `StorageFailedError` when
        the disk failed: then only the next start tells what is on it.
        """
        batch = self._staged
        if batch is None:
            return
        try:
            self._writer.execute(self._sql["commit"])
        except sqlite3.Error as error:
            self._establish(batch, error)
        finally:
            self._staged = None
            self._let_go_of_writer()

    def _establish(self, batch: Batch, error: sqlite3.Error) -> None:
        """Find out what became of a COMMIT that reported an error; return when it took place."""
        self._writing.forget()
        if self._writer.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute(self._sql["rollback"])
        told = storage_error(error, self.path)
        if isinstance(told, StorageFailedError):
            raise told from error
        if not was_written(self.path, batch, self._wait):
            raise told from error

    def commit(self, items: Sequence[Commit]) -> list[Result]:
        """Check, `stage` and `sync`."""
        for item in items:
            check_commit(item)
        results = self.stage(items)
        self.sync()
        return results

    def discard(self) -> None:
        """Forget the staged group, if there is one. Nothing of it is written."""
        self._staged = None
        self._writing.forget()
        if not self._closed and self._writer.in_transaction:
            with translated(self.path):
                self._writer.execute(self._sql["rollback"])
        self._let_go_of_writer()

    def _take_writer(self) -> None:
        self._writer_free.acquire()
        self._in_use = True

    def _let_go_of_writer(self) -> None:
        if self._in_use:
            self._in_use = False
            self._writer_free.release()

    def changes(self) -> int:
        """A number that differs after another process has committed. Cheap enough to poll.

        Never waits for a commit that is under way: then it is what that commit found.
        """
        if self._writer_free.acquire(blocking=False):
            try:
                self._seen = self._data_version()
            finally:
                self._writer_free.release()
        return self._seen

    def _data_version(self) -> int:
        with translated(self.path):
            return self._writer.execute(self._sql["data_version"]).fetchone()[0]

    def erase(self, positions: Sequence[int], *, by: str, reason: str) -> None:
        """Erase bodies for good and record that in the stream `tenant/default`. Repeatable.

        The bytes are overwritten in the file and in its write-ahead log. Positions whose body is
        gone already are skipped. Raises `NotFoundError` for a position that has no event.
        """
        self._require_idle()
        with translated(self.path):
            self._take_writer()
            try:
                self._begin(patient=True)
                self._erase(sorted(set(positions)), by, reason)
                self._writer.execute(self._sql["commit"])
            except BaseException:
                self.discard()
                raise
            self._let_go_of_writer()
            self._writer.execute(self._sql["empty_wal"]).fetchone()

    def _erase(self, positions: Sequence[int], by: str, reason: str) -> None:
        wanted = (json.dumps(positions),)
        unknown = self._writer.execute(self._sql["positions_without_event"], wanted).fetchall()
        if unknown:
            raise NotFoundError(
                f"There is no event at position {unknown[0][0]} in the journal {self.path!r}; "
                "nothing was erased. List positions with `interlock show`.",
                positions=[position for (position,) in unknown],
            )
        found = [p for (p,) in self._writer.execute(self._sql["positions_with_body"], wanted)]
        self._writer.executemany(self._sql["delete_body"], [(position,) for position in found])
        drafts = [
            Draft("bodies_erased", header={"positions": part, "by": by, "reason": reason})
            for part in _parts(found)
        ]
        if drafts:
            self._writing.stage([Commit([Append(ERASURES, drafts)])])

    def verify(self) -> Iterator[str]:
        """Check pages, gaps, chains and commitments; yields a sentence per problem."""
        return verify_all(self)

    def rebuild(self) -> Iterator[str]:
        """Fold the journal afresh and compare; yields a sentence per difference."""
        return differences(self, self._reader)

    def close(self) -> None:
        """Release the database; a staged group is forgotten. Repeatable."""
        if self._closed:
            return
        self._staged = None
        self._closed = True
        self._reader.close()
        self._writer.close()


def _raise_what_is_wrong(items: Sequence[Commit]) -> None:
    for item in items:
        check_commit(item)


def _parts(positions: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(positions), _ERASURES_PER_EVENT):
        yield positions[start : start + _ERASURES_PER_EVENT]
