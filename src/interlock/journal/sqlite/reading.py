"""Everything a store answers, from a connection of its own: a reader never waits for a commit."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from interlock.errors import StorageCorruptError
from interlock.journal.event import NO_BODY, Entry, Event, Header, event_hash
from interlock.journal.record import ChangedHead, HeadsAt, Record
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
from interlock.journal.sqlite.connection import open_reader
from interlock.journal.sqlite.failure import translated
from interlock.journal.statements import statements

__all__ = ["SqliteReading"]

Row = tuple[Any, ...]
_ALL = -1
_NEWEST = 2**62
_WAITS_COLUMN = RunRow._fields.index("waits")
_INPUT_COLUMN = RunRow._fields.index("input_position")


class SqliteReading:
    """The reading half of the store on SQLite."""

    def __init__(self, path: str, *, wait: timedelta) -> None:
        self.path = path
        self._sql = statements("sqlite")
        self._reader = open_reader(path, wait=wait)

    def _rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        with translated(self.path):
            return self._reader.execute(self._sql[statement], parameters or {}).fetchall()

    def _row(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Row | None:
        with translated(self.path):
            return self._reader.execute(self._sql[statement], parameters or {}).fetchone()

    def _decode(self, text: str, position: int) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise StorageCorruptError(
                f"The journal {self.path!r} is damaged: what is stored for position "
                f"{position} is not JSON. Remedy: restore a backup and run `interlock verify`.",
                path=self.path,
                position=position,
            ) from error

    def head(self, stream: str) -> Head | None:
        """The end of a stream, or None when it has no event."""
        row = self._row("head", {"stream": stream})
        return Head(seq=row[3], epoch=row[4], hash=event_hash(*row)) if row else None

    def read(self, stream: str, after_seq: int = 0, limit: int | None = None) -> list[Entry]:
        """Events of a stream with their bodies, in order."""
        most = _ALL if limit is None else limit
        wanted = {"stream": stream, "after_seq": after_seq, "limit": most}
        return [self._entry(row) for row in self._rows("read", wanted)]

    def _entry(self, row: Row) -> Entry:
        body = row[-1]
        event = self._event(row[:-1])
        return Entry(event, body, erased=body is None and event.commitment != NO_BODY)

    def _event(self, row: Row) -> Event:
        text = row[8]
        header: Header = {} if text == "{}" else self._decode(text, row[2])
        return Event._make((*row[:8], header, *row[9:]))

    def scan(self, after_position: int = 0, limit: int = 1000) -> list[Event]:
        """Events of all streams by position, without bodies."""
        wanted = {"after_position": after_position, "limit": limit}
        return [self._event(row) for row in self._rows("scan", wanted)]

    def entry(self, position: int) -> Entry | None:
        """One event with its body."""
        row = self._row("entry", {"position": position})
        return self._entry(row) if row else None

    def records(self, after_position: int = 0, limit: int = 1000) -> list[Record]:
        """Events of all streams by position as they are stored, with salts and bodies."""
        wanted = {"after_position": after_position, "limit": limit}
        return [Record(*row) for row in self._rows("records", wanted)]

    def heads_since(self, after_position: int) -> HeadsAt:
        """The streams that have events after a position, all as of one moment."""
        with translated(self.path), self._one_moment():
            position = self._reader.execute(self._sql["last_position"]).fetchone()[0]
            rows = self._reader.execute(
                self._sql["changed_heads"], {"after_position": after_position}
            ).fetchall()
        return HeadsAt(position, [ChangedHead(row[2], row[3], event_hash(*row)) for row in rows])

    def _one_moment(self) -> _ReadTransaction:
        return _ReadTransaction(self._reader)

    def run(self, run: str) -> RunRow | None:
        """A run, or None."""
        row = self._row("run", {"run": run})
        return self._run(row) if row else None

    def _run(self, row: Row) -> RunRow:
        fields = list(row[: len(RunRow._fields)])
        waits = fields[_WAITS_COLUMN]
        fields[_WAITS_COLUMN] = [] if waits == "[]" else self._decode(waits, fields[_INPUT_COLUMN])
        return RunRow(*fields)

    def runs(self, where: RunFilter) -> list[RunRow]:
        """Runs, newest first."""
        wanted: dict[str, Any] = {
            "agent": where.agent,
            "tenant": where.tenant,
            "parent": where.parent,
            "before": where.before,
            "states": json.dumps(where.states),
            "newest": _NEWEST,
            "limit": where.limit,
        }
        if where.parent:
            rows = self._rows("runs_of_parent", wanted)
        elif where.states:
            rows = self._by_state("runs_in_state", where.states, wanted, newest_first=True)
        else:
            rows = self._rows("runs", wanted)
        return [self._run(row) for row in rows]

    def _by_state(
        self,
        statement: str,
        states: Sequence[str],
        wanted: Mapping[str, Any],
        *,
        newest_first: bool,
        position: Callable[[Row], Any] = lambda row: row[-1],
    ) -> list[Row]:
        """One page over several states: each comes in order from its own part of the index."""
        pages = [
            self._rows(statement, {**wanted, "state": state}) for state in dict.fromkeys(states)
        ]
        merged = heapq.merge(*pages, key=position, reverse=newest_first)
        return [row for row, _ in zip(merged, range(wanted["limit"]), strict=False)]

    def run_counts(self) -> dict[str, int]:
        """How many runs are in each state."""
        return dict(self._rows("run_counts"))

    def running(self) -> list[str]:
        """Ids of runs that the journal has as running, oldest first."""
        return [run for (run,) in self._rows("running")]

    def open_children(self, run: str) -> list[RunRow]:
        """Children of a run that are not finished, oldest first."""
        return [self._run(row) for row in self._rows("open_children", {"parent": run})]

    def due(
        self,
        now_us: int,
        limit: int,
        without_agents: Sequence[str] = (),
        states: Sequence[RunState] = ("queued", "waiting", "parked"),
    ) -> list[RunRow]:
        """Runs that nobody executes and whose `wake_at_us` has come, earliest first."""
        wanted = {
            "now_us": now_us,
            "limit": limit,
            "without_agents": json.dumps(list(without_agents)),
            "states": json.dumps(list(states)),
        }
        return [self._run(row) for row in self._rows("due", wanted)]

    def queue_groups(self, now_us: int) -> list[QueueGroup]:
        """The groups that have a queued run which may start now, highest priority first."""
        return [QueueGroup(*row) for row in self._rows("queue_groups", {"now_us": now_us})]

    def queued(self, group: QueueGroup, now_us: int, limit: int) -> list[RunRow]:
        """The group's runs that may start now, first come first."""
        wanted = {**group._asdict(), "now_us": now_us, "limit": limit}
        return [self._run(row) for row in self._rows("queued", wanted)]

    def next_wake_us(self, now_us: int) -> int | None:
        """The earliest later moment at which `due` or `queued` will have more."""
        row = self._row("next_wake", {"now_us": now_us})
        return row[0] if row else None

    def mail(self, run: str, after_position: int = 0) -> list[Mail]:
        """A run's untaken mail, in order."""
        wanted = {"run": run, "after_position": after_position}
        return [self._mail(row) for row in self._rows("mail", wanted)]

    def mail_since(self, position: int, limit: int = 1000) -> list[Mail]:
        """Untaken mail of all runs after a position, in order."""
        wanted = {"after_position": position, "limit": limit}
        return [self._mail(row) for row in self._rows("mail_since", wanted)]

    def _mail(self, row: Row) -> Mail:
        position, message_id, run, kind, name, header, body, at_us = row
        decoded = self._decode(header, position)
        return Mail(position, message_id, run, kind, name, decoded, body, at_us)

    def inbox(
        self,
        states: tuple[InboxState, ...] = ("open",),
        limit: int = 100,
        *,
        tenant: str = "",
        after: str = "",
    ) -> list[InboxRow]:
        """Inbox tasks behind the task `after`, oldest first; with `tenant` only its runs'."""
        by_position = InboxRow._fields.index("position")
        rows = self._by_state(
            "inbox_in_state",
            states,
            {"limit": limit, "tenant": tenant, "after": after},
            newest_first=False,
            position=lambda row: row[by_position],
        )
        return [InboxRow(*row) for row in rows]

    def open_tasks(self, run: str) -> list[InboxRow]:
        """A run's open inbox tasks, oldest first."""
        return [InboxRow(*row) for row in self._rows("open_tasks", {"run": run})]

    def inbox_task(self, task: str) -> InboxRow | None:
        """One inbox task, or None."""
        row = self._row("inbox_task", {"task": task})
        return InboxRow(*row) if row else None

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
        by_position = EffectRow._fields.index("position")
        wanted: dict[str, Any] = {
            "run": run,
            "states": json.dumps(states),
            "limit": limit,
            "tenant": tenant,
            "before": before,
            "newest": _NEWEST,
        }
        if run:
            rows = self._rows("effects_of_run", wanted)
        elif states:
            rows = self._by_state(
                "effects_in_state",
                states,
                wanted,
                newest_first=True,
                position=lambda row: row[by_position],
            )
        else:
            rows = self._rows("effects", wanted)
        return [EffectRow(*row) for row in rows]

    def effect(self, effect_key: str) -> EffectRow | None:
        """One effect, or None."""
        row = self._row("effect", {"effect_key": effect_key})
        return EffectRow(*row) if row else None

    def budgets(self, prefix: str = "", limit: int = 100) -> list[BudgetRow]:
        """Accounts whose names begin with `prefix`, in the order of their names' code points."""
        rows = self._rows("budgets", {"prefix": prefix, "limit": limit})
        return [BudgetRow(*row) for row in rows]

    def budget(self, account: str) -> BudgetRow | None:
        """One account, or None when it was never set."""
        row = self._row("budget", {"account": account})
        return BudgetRow(*row) if row else None

    def unique_holder(self, scope: str, key: str) -> str | None:
        """The stream that claimed (scope, key), or None."""
        row = self._row("unique_holder", {"scope": scope, "key": key})
        return row[0] if row else None

    def page_check(self) -> Iterator[str]:
        """The database's own check of its pages and indexes; a sentence per problem."""
        for (position,) in self._rows("bodies_without_event"):
            yield f"position {position}: there is a body, but no event"
        for (finding,) in self._rows("page_check"):
            if finding != "ok":
                yield f"the database file {self.path!r} is damaged: {finding}"


class _ReadTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._sql = statements("sqlite")

    def __enter__(self) -> None:
        self._connection.execute(self._sql["begin_read"])

    def __exit__(self, *exc: object) -> None:
        self._connection.execute(self._sql["rollback"])
