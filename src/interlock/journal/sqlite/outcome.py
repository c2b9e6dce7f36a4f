"""Finding out whether a commit took place whose COMMIT reported an error."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Any

from interlock.errors import StorageFailedError
from interlock.journal.event import event_hash
from interlock.journal.judge import Batch
from interlock.journal.sqlite.connection import open_reader
from interlock.journal.statements import statements

__all__ = ["was_written"]


def was_written(path: str, batch: Batch, wait: timedelta) -> bool:
    """Whether a fresh connection finds a group, by the hash of its last event.

    A transaction is written as a whole, and a hash covers the salt of the body and the whole stream
    before it, so no other event can be taken for this one. Raises `StorageFailedError` when the
    file cannot be read.
    """
    if not batch.events:
        return True
    position = batch.events[-1][0]
    try:
        row = _hashed_fields(path, position, wait)
    except sqlite3.Error as error:
        raise StorageFailedError(
            f"A commit to the journal {path!r} failed and the file cannot be read back ({error}); "
            "whether it was written is not known. Remedy: repair the disk and start again: the "
            "journal recovers by itself.",
            path=path,
        ) from error
    return row is not None and event_hash(*row) == batch.last_hash


def _hashed_fields(path: str, position: int, wait: timedelta) -> Any:
    fresh = open_reader(path, wait=wait)
    try:
        return fresh.execute(statements("sqlite")["event_at"], {"position": position}).fetchone()
    finally:
        fresh.close()
