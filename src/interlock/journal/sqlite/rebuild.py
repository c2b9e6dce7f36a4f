"""Folding a whole journal afresh, to show that the stored projections are nothing but readings."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from typing import Any

from interlock.journal.projections import Place, folds
from interlock.journal.sqlite.connection import prepare_scratch
from interlock.journal.sqlite.failure import translated
from interlock.journal.sqlite.reading import SqliteReading
from interlock.journal.sqlite.writing import apply_folds
from interlock.journal.statements import statements

__all__ = ["PROJECTED_TABLES", "differences"]

PROJECTED_TABLES = (
    "runs",
    "effects",
    "inbox",
    "mail",
    "unique_keys",
    "budgets",
    "budget_holds",
    "approvals",
)
_PAGE = 5000
_SHOWN_PER_TABLE = 20


def differences(journal: SqliteReading, stored: sqlite3.Connection) -> Iterator[str]:
    """A sentence per difference between the stored projections and a fresh fold.

    The fold goes to a temporary database that SQLite keeps in a file, so memory stays bounded. The
    journal must not be written meanwhile: a read transaction keeps both sides at one moment.
    """
    sql = statements("sqlite")
    with translated(journal.path):
        scratch = prepare_scratch()
        stored.execute(sql["begin_read"])
    try:
        _fold_all(journal, scratch)
        for table in PROJECTED_TABLES:
            found = _table_differences(table, stored, scratch)
            yield from itertools.islice(found, _SHOWN_PER_TABLE)
            more = sum(1 for _ in found)
            if more:
                yield f"{table}: {more} more differences"
    finally:
        stored.execute(sql["rollback"])
        scratch.close()


def _fold_all(journal: SqliteReading, scratch: sqlite3.Connection) -> None:
    sql = statements("sqlite")
    position = 0
    while events := journal.scan(position, _PAGE):
        scratch.execute(sql["begin_write"])
        for event in events:
            place = Place(event.position, event.stream, event.seq, event.key, event.at_us)
            apply_folds(scratch, list(folds(event.kind, event.header, place)))
        scratch.execute(sql["commit"])
        position = events[-1].position


def _table_differences(
    table: str, stored: sqlite3.Connection, scratch: sqlite3.Connection
) -> Iterator[str]:
    query = statements("sqlite")[f"copy_{table}"]
    pairs = itertools.zip_longest(stored.execute(query), scratch.execute(query))
    for has, should in pairs:
        if has != should:
            yield f"{table}: stored {_shown(has)}, but its events say {_shown(should)}"


def _shown(row: tuple[Any, ...] | None) -> str:
    return "nothing" if row is None else repr(row)
