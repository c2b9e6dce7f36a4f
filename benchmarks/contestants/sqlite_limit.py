"""The limit: the events of a ten-step run in bare group commits on SQLite, without an engine."""

from __future__ import annotations

import argparse
import itertools
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.contestants.entry import Durability, arguments, run
from benchmarks.group_commit import GroupCommitJournal
from benchmarks.load import STEP_RESULT, STEPS_PER_RUN


class SqliteLimit:
    """Writes started, ten steps and finished, each on disk before the next."""

    def __init__(self, journal: GroupCommitJournal) -> None:
        self._journal = journal
        self._numbers = itertools.count()

    @property
    def version(self) -> str:
        return sqlite3.sqlite_version

    async def run_once(self) -> None:
        name = f"run{next(self._numbers)}"
        await self._journal.append((name, 0, "started", "{}", time.time()))
        for index in range(STEPS_PER_RUN):
            body = json.dumps(STEP_RESULT)
            await self._journal.append((name, index + 1, "step", body, time.time()))
        await self._journal.append((name, STEPS_PER_RUN + 1, "finished", "{}", time.time()))

    async def durability(self) -> Durability:
        journal_mode = self._journal.pragma("journal_mode")
        synchronous = self._journal.pragma("synchronous")
        return Durability(
            setting=f"{journal_mode}, synchronous={synchronous}", synced=synchronous == 2
        )


@asynccontextmanager
async def open_limit(options: argparse.Namespace) -> AsyncIterator[SqliteLimit]:
    """The limit on a new file in the directory."""
    journal = GroupCommitJournal(options.directory / "limit.db")
    yield SqliteLimit(journal)
    await journal.close()


if __name__ == "__main__":
    run(open_limit, arguments(__doc__ or "").parse_args())
