"""Staging a group in one transaction: load what its guards ask for, judge, write."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from interlock.journal.guard import Commit, Result
from interlock.journal.judge import (
    Approval,
    Batch,
    Budget,
    Hold,
    Judge,
    Message,
    Needs,
    Snapshot,
    StreamHead,
    Task,
    needs_of,
)
from interlock.journal.projections import Fold
from interlock.journal.statements import statements

__all__ = ["apply_folds", "stage_group"]

Row = tuple[Any, ...]


def stage_group(
    connection: sqlite3.Connection,
    items: Sequence[Commit],
    *,
    now_us: int,
    random_bytes: Callable[[int], bytes],
) -> tuple[list[Result], Batch]:
    """Judge and write a group in the transaction that is open on `connection`."""
    snapshot = _Loading(connection).snapshot(needs_of(items))
    judge = Judge(snapshot, now_us=now_us, random_bytes=random_bytes)
    results = judge.group(items)
    _write(connection, judge.batch)
    return results, judge.batch


def _write(connection: sqlite3.Connection, batch: Batch) -> None:
    sql = statements("sqlite")
    for name, is_new in (("insert_stream", True), ("update_stream", False)):
        heads = [head for head in batch.heads if head.is_new is is_new]
        if heads:
            connection.executemany(sql[name], _head_rows(heads, is_new=is_new))
    if batch.events:
        connection.executemany(sql["insert_event"], batch.events)
    if batch.bodies:
        connection.executemany(sql["insert_body"], batch.bodies)
    apply_folds(connection, batch.folds)


def _head_rows(heads: Sequence[StreamHead], *, is_new: bool) -> Iterator[Row]:
    for head in heads:
        if is_new:
            yield head.seq, head.epoch, head.hash, head.id, head.name
        else:
            yield head.seq, head.epoch, head.hash, head.id


def apply_folds(connection: sqlite3.Connection, folds: Sequence[Fold]) -> None:
    """Run projection statements in order."""
    sql = statements("sqlite")
    for name, parameters in folds:
        connection.execute(sql[name], parameters)


class _Loading:
    """Loads a snapshot: one statement per kind of thing that the group's guards ask for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._sql = statements("sqlite")

    def snapshot(self, needs: Needs) -> Snapshot:
        position, at_us = self._one("last_event") or (0, 0)
        snapshot = Snapshot(position, at_us, self._last_stream(), self._heads(needs))
        if needs.unique:
            for scope, key, holder in self._many("load_unique", list(needs.unique)):
                snapshot.unique[scope, key] = holder
        if needs.runs:
            snapshot.runs.update(self._many("load_run_states", list(needs.runs)))
        self._load_mail(snapshot, needs)
        for task, run, state, by in self._many("load_tasks", list(needs.tasks)):
            snapshot.tasks[task] = Task(run, state, by)
        for account, limit, held, spent in self._many("load_budgets", list(needs.accounts)):
            snapshot.budgets[account] = Budget(limit, held, spent)
        for hold, account, amount, settled in self._many("load_holds", list(needs.holds)):
            snapshot.holds[hold] = Hold(account, amount, bool(settled))
        self._load_approvals(snapshot, needs)
        return snapshot

    def _load_mail(self, snapshot: Snapshot, needs: Needs) -> None:
        for message_id, run, taken in self._many("load_messages", list(needs.messages)):
            snapshot.messages[message_id] = Message(run, bool(taken))
        snapshot.unread.update((run, {}) for run in needs.unread)
        for run, message_id, position in self._many("load_unread", list(needs.unread.items())):
            snapshot.unread[run][message_id] = position

    def _load_approvals(self, snapshot: Snapshot, needs: Needs) -> None:
        for row in self._many("load_approvals", list(needs.approvals)):
            approval, call_hash, expires_at_us, consumed = row
            snapshot.approvals[approval] = Approval(call_hash, expires_at_us, bool(consumed))

    def _heads(self, needs: Needs) -> dict[str, StreamHead]:
        rows = self._many("load_heads", list(needs.streams))
        return {row[0]: StreamHead(*row) for row in rows}

    def _last_stream(self) -> int:
        row = self._one("last_stream")
        return (row[0] or 0) if row else 0

    def _one(self, statement: str) -> Row | None:
        return self._connection.execute(self._sql[statement]).fetchone()

    def _many(self, statement: str, wanted: Sequence[Any]) -> list[Row]:
        if not wanted:
            return []
        return self._connection.execute(self._sql[statement], (json.dumps(wanted),)).fetchall()
