# pyright: basic, reportMissingImports=false
"""DBOS Transact: a workflow of ten steps, on SQLite or PostgreSQL.

Its SQLite file is a rollback journal (``journal_mode=delete``) as shipped. SQLite keeps the mode
in the file, so ``--journal-mode wal`` prepares a file in WAL mode: DBOS at its best on SQLite.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import sqlalchemy
from dbos import DBOS
from dbos._dbos import _get_dbos_instance

from benchmarks.contestants.entry import Durability, arguments, run
from benchmarks.load import STEP_RESULT, STEPS_PER_RUN

_SQLITE_SYNCED = {2, 3}  # FULL, EXTRA: https://www.sqlite.org/pragma.html#pragma_synchronous


@DBOS.step()
async def one_step(_index: int) -> str:
    return STEP_RESULT


@DBOS.workflow()
async def ten_steps(number: int) -> int:
    for index in range(STEPS_PER_RUN):
        await one_step(index)
    return number


class DbosSteps:
    """Ten-step workflows in this process."""

    version = importlib.metadata.version("dbos")

    def __init__(self) -> None:
        self._numbers = itertools.count()

    async def run_once(self) -> None:
        await ten_steps(next(self._numbers))

    async def durability(self) -> Durability:
        return durability_of_dbos()


def durability_of_dbos() -> Durability:
    """What holds for the connections of the DBOS that is launched."""
    # Only DBOS's own connection shows what holds for it, and there is no public way to it.
    engine = _get_dbos_instance()._sys_db.engine  # noqa: SLF001
    with engine.connect() as connection:
        read = _read_sqlite if engine.dialect.name == "sqlite" else _read_postgres
        return read(connection)


def _read_sqlite(connection: sqlalchemy.Connection) -> Durability:
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()
    return Durability(
        setting=f"{mode}, synchronous={synchronous}", synced=synchronous in _SQLITE_SYNCED
    )


def _read_postgres(connection: sqlalchemy.Connection) -> Durability:
    fsync = connection.exec_driver_sql("SHOW fsync").scalar()
    commit = connection.exec_driver_sql("SHOW synchronous_commit").scalar()
    return Durability(
        setting=f"fsync={fsync}, synchronous_commit={commit}",
        synced=(fsync, commit) == ("on", "on"),
    )


def _database_url(options: argparse.Namespace) -> str:
    if options.database_url:
        return options.database_url
    path = options.directory / "dbos.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA journal_mode={options.journal_mode}")
    return f"sqlite:///{path}"


@contextmanager
def launched(options: argparse.Namespace) -> Iterator[None]:
    """DBOS launched on a new system database."""
    config = {"name": "bench", "system_database_url": _database_url(options), "log_level": "ERROR"}
    DBOS(config={**config, "run_admin_server": False})  # type: ignore[typeddict-item]
    DBOS.launch()
    yield
    DBOS.destroy()


@asynccontextmanager
async def open_dbos(options: argparse.Namespace) -> AsyncIterator[DbosSteps]:
    """DBOS launched, with its workflow."""
    with launched(options):
        yield DbosSteps()


def dbos_options(description: str) -> argparse.Namespace:
    """The arguments of a contestant on DBOS."""
    parser = arguments(description)
    parser.add_argument("--journal-mode", choices=["delete", "wal"], default="delete")
    parser.add_argument(
        "--database-url", help="a PostgreSQL URL; without it, SQLite in the directory"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run(open_dbos, dbos_options(__doc__ or ""))
