"""The bare group-commit journal on SQLite: as fast as an embedded journal of these events can be.

One writer thread takes every waiting row, writes all in one transaction with ``journal_mode=WAL``
and ``synchronous=FULL``, and only then answers each. It has no guards, no hash chain and no
projections: it is the limit that the product is measured against, not a journal to use.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from pathlib import Path
from typing import TypeAlias

__all__ = ["GroupCommitJournal", "Row"]

Row: TypeAlias = tuple[str, int, str, str, float]
"""run, seq, kind, body, at (seconds since 1970)."""

_Waiting: TypeAlias = tuple[Row, "asyncio.Future[None]"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    position INTEGER PRIMARY KEY, run TEXT, seq INTEGER, kind TEXT, body TEXT, at REAL,
    UNIQUE (run, seq)
)
"""
_INSERT = "INSERT INTO event (run, seq, kind, body, at) VALUES (?, ?, ?, ?, ?)"


class GroupCommitJournal:
    """Rows appended from one event loop, committed in groups by one thread."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(_SCHEMA)
        self._thread = threading.Thread(target=self._write, name="group-commit", daemon=True)
        self._thread.start()

    def append(self, row: Row) -> asyncio.Future[None]:
        """Queue a row; the future is done when the row is on disk."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.put((row, future))
        return future

    def pragma(self, name: str) -> object:
        """The value of a pragma on the writing connection, while nothing is being appended."""
        return self._connection.execute(f"PRAGMA {name}").fetchone()[0]

    def rows(self) -> list[Row]:
        """Every row in order; call it while nothing is being appended."""
        return self._connection.execute(
            "SELECT run, seq, kind, body, at FROM event ORDER BY position"
        ).fetchall()

    async def close(self) -> None:
        """Write what waits, end the thread, close the file."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def _write(self) -> None:
        open_for_more = True
        while open_for_more:
            batch, open_for_more = self._next_batch()
            if batch:
                self._commit(batch)

    def _next_batch(self) -> tuple[list[_Waiting], bool]:
        batch: list[_Waiting] = []
        item = self._waiting.get()
        while item is not None:
            batch.append(item)
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[_Waiting]) -> None:
        futures = [future for _, future in batch]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_INSERT, [row for row, _ in batch])
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._loop.call_soon_threadsafe(_fail, futures, error)
        else:
            self._loop.call_soon_threadsafe(_succeed, futures)


def _succeed(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _fail(futures: list[asyncio.Future[None]], error: sqlite3.Error) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
