"""Opening a journal in a SQLite file: the right file, the right format, the right settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

from interlock.clock import Clock
from interlock.errors import InvalidInputError, NotFoundError, StorageVersionError
from interlock.journal.sqlite.failure import is_busy
from interlock.journal.statements import migrations, statements

__all__ = ["Synchronous", "open_reader", "open_writer", "prepare_scratch", "set_wait"]

Synchronous = Literal["FULL", "OFF"]

_APPLICATION_ID = 1229734731
_WAL_ATTEMPTS = 20
_CACHED_STATEMENTS = 256


def open_writer(
    path: str, *, clock: Clock, synchronous: Synchronous, create: bool, wait: timedelta
) -> sqlite3.Connection:
    """The connection that writes, on a database of the current format.

    Creates the file when it is absent and `create` is set, and runs the migrations that it lacks;
    several processes may do so at once. Raises `NotFoundError`, `InvalidInputError` (a database
    that is not ours) and `StorageVersionError` (newer than this code); SQLite's own errors pass.
    """
    if not create and not Path(path).exists():
        raise NotFoundError(
            f"There is no journal at {path!r}. Give the path of an existing one, or start an "
            "executor, which creates it.",
            path=path,
        )
    connection = _connect(path)
    try:
        set_wait(connection, wait)
        _require_ours(connection, path)
        _use_wal(connection)
        _configure(connection, synchronous)
        _migrate(connection, path, clock)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: str, *, wait: timedelta) -> sqlite3.Connection:
    """A connection that only reads, and sees each commit once it is durable."""
    connection = _connect(path)
    sql = statements("sqlite")
    set_wait(connection, wait)
    connection.execute(sql["cache_size"])
    connection.execute(sql["reader_only"])
    return connection


def prepare_scratch() -> sqlite3.Connection:
    """An empty temporary database of the current format, gone when it is closed."""
    connection = _connect("")
    connection.execute(statements("sqlite")["synchronous_off"])
    for migration in migrations("sqlite"):
        for statement in _split(migration.script):
            connection.execute(statement)
    return connection


def set_wait(connection: sqlite3.Connection, wait: timedelta) -> None:
    """How long a statement waits for another process's lock; zero fails at once."""
    milliseconds = int(wait.total_seconds() * 1000)
    connection.execute(statements("sqlite")["busy_wait"].format(milliseconds=milliseconds))


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )


def _require_ours(connection: sqlite3.Connection, path: str) -> None:
    """Refuse a database of another program before anything is written to it."""
    sql = statements("sqlite")
    if connection.execute(sql["application_id"]).fetchone()[0] == _APPLICATION_ID:
        return
    tables = [name for (name,) in connection.execute(sql["table_names"])]
    if tables and "meta" not in tables:
        raise InvalidInputError(
            f"{path!r} is a database of another program (tables: {', '.join(tables[:5])}). "
            "Give the path of an Interlock journal, or of a file that does not exist yet.",
            path=path,
        )


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging.

    SQLite does not wait for the lock that the switch needs when several processes switch a new file
    at once; waiting for a write transaction instead, and looking again, does.
    """
    sql = statements("sqlite")
    for attempt in range(_WAL_ATTEMPTS):
        if connection.execute(sql["journal_mode"]).fetchone()[0] == "wal":
            return
        try:
            connection.execute(sql["use_wal"]).fetchone()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or attempt == _WAL_ATTEMPTS - 1:
                raise
            connection.execute(sql["begin_write"])
            connection.execute(sql["rollback"])


def _configure(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
    sql = statements("sqlite")
    connection.execute(sql["synchronous_full" if synchronous == "FULL" else "synchronous_off"])
    connection.execute(sql["cache_size"])
    connection.execute(sql["checkpoint_pages"])
    connection.execute(sql["secure_delete"])


def _migrate(connection: sqlite3.Connection, path: str, clock: Clock) -> None:
    known = migrations("sqlite")
    if _format_version(connection, path) == len(known):
        return
    sql = statements("sqlite")
    connection.execute(sql["begin_write"])
    try:
        version = _format_version(connection, path)
        for migration in known[version:]:
            for statement in _split(migration.script):
                connection.execute(statement)
        if version == 0:
            connection.execute(sql["mark_application"])
            created = {"name": "created_at_us", "value": str(clock.now_us())}
            connection.execute(sql["set_meta"], created)
        connection.execute(sql["set_meta"], {"name": "format", "value": str(len(known))})
        connection.execute(sql["commit"])
    finally:
        if connection.in_transaction:
            connection.execute(sql["rollback"])


def _format_version(connection: sqlite3.Connection, path: str) -> int:
    """The format of the database, 0 when it is empty. Raises when it is newer than this code."""
    sql = statements("sqlite")
    tables = [name for (name,) in connection.execute(sql["table_names"])]
    if "meta" not in tables:
        return 0
    row = connection.execute(sql["format_version"]).fetchone()
    version = int(row[0]) if row else 0
    known = len(migrations("sqlite"))
    if version > known:
        raise StorageVersionError(
            f"The journal {path!r} has format {version}, but this version of Interlock knows "
            f"formats up to {known}. Install the version that wrote it, or a later one.",
            path=path,
            format=version,
            known=known,
        )
    return version


def _split(script: str) -> Iterator[str]:
    """The statements of a script, one at a time, so that all run in one transaction."""
    pending: list[str] = []
    for line in script.splitlines():
        pending.append(line)
        statement = "\n".join(pending)
        if sqlite3.complete_statement(statement):
            yield statement
            pending.clear()
