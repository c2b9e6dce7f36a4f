"""Loading what a group is judged against: one statement per kind of thing that it asks for."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from interlock.journal.event import event_hash
from interlock.journal.snapshot import (
    Approval,
    Budget,
    Hold,
    Message,
    Needs,
    Snapshot,
    StreamHead,
    Task,
)
from interlock.journal.statements import statements

__all__ = ["Loading"]

Row = tuple[Any, ...]
_MOST_HEADS = 20_000
_UNKNOWN = -1


class Loading:
    """Loads snapshots, and remembers the ends of streams between groups.

    What is remembered holds as long as the journal's last position is the one seen last: whoever
    commits, in this process or another, moves it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._sql = statements("sqlite")
        self._heads: dict[str, StreamHead] = {}
        self._last_position = _UNKNOWN
        self._last_stream = 0

    def forget(self) -> None:
        """Drop what is remembered: a group was judged and not written."""
        self._last_position = _UNKNOWN

    def remember(self, position: int, last_stream: int) -> None:
        """A group was written up to `position`; the heads it was judged on moved along."""
        self._last_position = position
        self._last_stream = last_stream

    def snapshot(self, needs: Needs) -> Snapshot:
        """The stored state that a group needs, within the transaction that is open."""
        position, at_us = self._connection.execute(self._sql["last_event"]).fetchone() or (0, 0)
        if position != self._last_position or len(self._heads) > _MOST_HEADS:
            self._heads = {}
            self._last_position = position
            self._last_stream = self._connection.execute(self._sql["last_stream"]).fetchone()[0]
        self._load_heads([name for name in needs.streams if name not in self._heads])
        snapshot = Snapshot(position, at_us, self._last_stream, self._heads)
        if needs.guarded:
            self._load_guarded(snapshot, needs)
        return snapshot

    def _load_heads(self, names: Sequence[str]) -> None:
        for stream, *hashed in self._many("load_last_events", names):
            name, seq, epoch = hashed[2:5]
            self._heads[name] = StreamHead(name, stream, seq, epoch, event_hash(*hashed))

    def _load_guarded(self, snapshot: Snapshot, needs: Needs) -> None:
        for scope, key, holder in self._many("load_unique", list(needs.unique)):
            snapshot.unique[scope, key] = holder
        for run, state in self._many("load_run_states", list(needs.runs)):
            snapshot.runs[run] = state
        for task, run, state, by in self._many("load_tasks", list(needs.tasks)):
            snapshot.tasks[task] = Task(run, state, by)
        for approval, call_hash, expires_at_us, consumed in self._many(
            "load_approvals", list(needs.approvals)
        ):
            snapshot.approvals[approval] = Approval(call_hash, expires_at_us, bool(consumed))
        self._load_mail(snapshot, needs)
        self._load_budgets(snapshot, needs)

    def _load_mail(self, snapshot: Snapshot, needs: Needs) -> None:
        for message_id, run, taken in self._many("load_messages", list(needs.messages)):
            snapshot.messages[message_id] = Message(run, bool(taken))
        snapshot.unread.update((run, {}) for run in needs.unread)
        for run, message_id, position in self._many("load_unread", list(needs.unread.items())):
            snapshot.unread[run][message_id] = position

    def _load_budgets(self, snapshot: Snapshot, needs: Needs) -> None:
        for account, limit, held, spent in self._many("load_budgets", list(needs.accounts)):
            snapshot.budgets[account] = Budget(limit, held, spent)
        for hold, account, amount, settled in self._many("load_holds", list(needs.holds)):
            snapshot.holds[hold] = Hold(account, amount, bool(settled))

    def _many(self, statement: str, wanted: Sequence[Any]) -> list[Row]:
        if not wanted:
            return []
        return self._connection.execute(self._sql[statement], (json.dumps(wanted),)).fetchall()
