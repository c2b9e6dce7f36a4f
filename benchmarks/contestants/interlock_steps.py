"""Interlock: an agent of ten steps on SQLite."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks._interlock_agents import InterlockEngine, build_app
from benchmarks.contestants.entry import Durability, arguments, run
from benchmarks.engine import Gate, Surroundings
from interlock import ExecutorOptions, LocalExecutor
from interlock.journal.sqlite.store import SqliteStore

_SQLITE_SYNCED = {2, 3}  # FULL, EXTRA: https://www.sqlite.org/pragma.html#pragma_synchronous


class InterlockSteps:
    """Ten-step runs in this process."""

    def __init__(self, executor: LocalExecutor) -> None:
        self._engine = InterlockEngine(executor)
        self._executor = executor

    @property
    def version(self) -> str:
        """The package's version."""
        return importlib.metadata.version("interlock")

    async def run_once(self) -> None:
        """One run, from its start to its result."""
        await self._engine.run_to_end("ten_steps", "bench")

    async def durability(self) -> Durability:
        """What holds for the store's own writing connection."""
        return durability_of(self._executor)


def durability_of(executor: LocalExecutor) -> Durability:
    """What holds for the writing connection of the executor's store."""
    store = executor.store
    if not isinstance(store, SqliteStore):
        raise TypeError(f"{type(store).__name__} is no SQLite store")
    connection = store._writer  # noqa: SLF001 - only the writing connection tells
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    setting = f"{mode}, synchronous={synchronous}"
    return Durability(setting=setting, synced=synchronous in _SQLITE_SYNCED)


@asynccontextmanager
async def open_interlock(options: argparse.Namespace) -> AsyncIterator[InterlockSteps]:
    """Interlock on a new file in the directory."""
    app = build_app(options.directory, Surroundings(gate=Gate(path=None)))
    async with app.executor(ExecutorOptions(concurrency=options.concurrency)) as executor:
        yield InterlockSteps(executor)


if __name__ == "__main__":
    run(open_interlock, arguments(__doc__ or "").parse_args())
