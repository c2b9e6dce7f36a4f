"""Staging a group: load what its guards ask for, judge it, write its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from interlock.clock import Clock
from interlock.journal.guard import Commit, Result
from interlock.journal.judge import Batch, Judge
from interlock.journal.projections import Fold
from interlock.journal.snapshot import needs_of
from interlock.journal.sqlite.loading import Loading
from interlock.journal.statements import statements

__all__ = ["Writing", "apply_folds"]


class Writing:
    """Writes groups in the transaction that is open on a connection."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._loading = Loading(connection)

    def stage(self, items: Sequence[Commit]) -> tuple[list[Result], Batch]:
        """Judge a group and write its rows. After a failure, call `forget`."""
        snapshot = self._loading.snapshot(needs_of(items))
        judge = Judge(snapshot, now_us=self._clock.now_us(), random_bytes=self._clock.random_bytes)
        results = judge.group(items)
        self._write(judge.batch)
        self._loading.remember(judge.position, snapshot.last_stream)
        return results, judge.batch

    def forget(self) -> None:
        """Drop what is remembered between groups: a group was judged and not written."""
        self._loading.forget()

    def _write(self, batch: Batch) -> None:
        write, sql = self._connection.executemany, statements("sqlite")
        if batch.streams:
            write(sql["insert_stream"], batch.streams)
        if batch.events:
            write(sql["insert_event"], batch.events)
        if batch.bodies:
            write(sql["insert_body"], batch.bodies)
        if batch.folds:
            apply_folds(self._connection, batch.folds)


def apply_folds(connection: sqlite3.Connection, folds: Sequence[Fold]) -> None:
    """Run projection statements in order."""
    sql = statements("sqlite")
    for name, parameters in folds:
        connection.execute(sql[name], parameters)
