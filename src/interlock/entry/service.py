"""What the API's handlers work on: one executor in this process, and whether it is stopping.

Everything is read on the event loop's thread, since the store takes no two calls at once.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from datetime import timedelta
from pathlib import Path

from interlock.app import LocalExecutor
from interlock.clock import Clock
from interlock.entry.problem import RequestError
from interlock.errors import StorageError
from interlock.journal.location import database_path
from interlock.journal.rows import RunRow
from interlock.journal.store import Store
from interlock.orchestrator.client import Client
from interlock.orchestrator.feed import Feed

__all__ = ["Service"]

_LEAST_FREE_BYTES = 10_000_000


class Service:
    """A running executor behind the API.

    It lives from `interlock serve`'s start to its end: `stop` (a signal, or a failure) is set
    first, then it drains, then `closed` tells those who wait that there will be no more.
    """

    def __init__(self, local: LocalExecutor, clock: Clock, grace: timedelta) -> None:
        self.local = local
        self.clock = clock
        self.stop = asyncio.Event()
        self.closed = asyncio.Event()
        self.draining = False
        self.grace = grace

    @property
    def client(self) -> Client:
        """Starts runs and writes to them."""
        return self.local.client

    @property
    def store(self) -> Store:
        """The journal, to be read."""
        return self.local.store

    @property
    def feed(self) -> Feed:
        """What the runs that execute here do right now."""
        return self.local.executor.feed

    def failure(self) -> StorageError | None:
        """Why the journal or the executor cannot go on, if so."""
        return self.local.journal.failure or self.local.executor.failure

    def stop_if_failed(self) -> None:
        """End the server when the journal or the executor cannot go on."""
        if self.failure() is not None:
            self.stop.set()

    def check_open(self) -> None:
        """Raises why nothing new is taken: `RequestError` while the server stops, or the failure
        of the journal.
        """
        failure = self.failure()
        if failure is not None:
            raise failure
        if self.draining:
            raise RequestError(
                "draining",
                "The server is stopping and takes nothing new. Try again when it is back; with an "
                "Idempotency-Key that is safe.",
                headers={"Retry-After": str(max(1, int(self.grace.total_seconds())))},
            )

    def not_ready(self) -> list[str]:
        """What keeps this server from being ready, in words; empty when it is."""
        executing = self.local.execution is not None and not self.local.execution.done()
        complaints = [
            ("it is stopping", self.draining),
            ("the executor does not run", not executing),
            ("the journal has failed", self.failure() is not None),
            ("the executor has lost its lock", self.local.executor.may_act_seconds() <= 0),
        ]
        return [words for words, holds in complaints if holds] + self._unwritable()

    def _unwritable(self) -> list[str]:
        path = Path(database_path(self.local.app.store)).absolute()
        if not os.access(path, os.W_OK):
            return ["the store is not writable"]
        if shutil.disk_usage(path.parent).free < _LEAST_FREE_BYTES:
            return ["the disk that holds the store is full"]
        return []

    async def when_ended(self, run: str, seconds: float) -> RunRow:
        """The run's row as soon as it is finished or parked, and after `seconds` at the latest."""
        if seconds <= 0:
            return self.client.run(run)
        ended = self.local.executor.when_ended(run)
        closed = asyncio.create_task(self.closed.wait())
        try:
            await asyncio.wait(
                {ended, closed}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            closed.cancel()
        if ended.done():
            return ended.result().row
        ended.cancel()
        return self.client.run(run)

    async def drain(self) -> None:
        """Take nothing new, let what is in flight end within the grace period. Repeatable."""
        self.draining = True
        self.local.executor.drain()
        execution = self.local.execution
        if execution is not None and self.failure() is None:
            await asyncio.wait({execution}, timeout=self.grace.total_seconds())
        self.closed.set()
