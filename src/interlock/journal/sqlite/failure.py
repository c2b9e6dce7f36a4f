"""What SQLite reports, as errors that name the file, the reason and the remedy."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from types import MappingProxyType

from interlock.errors import (
    StorageCorruptError,
    StorageError,
    StorageFailedError,
    StorageFullError,
    StorageLockedError,
)

__all__ = ["is_busy", "storage_error", "translated"]

_PRIMARY_CODE = 0xFF
_NO_CODE = -1

_CORRUPT = "stop all processes that use it, restore a backup, and run `interlock verify` on it"
_FAILED = "check the disk and the file system, then start again: the journal recovers by itself"
_RIGHTS = "check the path, the owner and the permissions of the file and its folder"

_KINDS = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: (StorageFullError, "no space is left", "free space, then start again"),
        sqlite3.SQLITE_BUSY: (
            StorageLockedError,
            "another process holds its lock",
            "find who has the file open (a database shell, a backup) and end its transaction",
        ),
        sqlite3.SQLITE_LOCKED: (
            StorageLockedError,
            "another connection holds a table of it",
            "try again when the other has finished",
        ),
        sqlite3.SQLITE_CORRUPT: (StorageCorruptError, "the file is damaged", _CORRUPT),
        sqlite3.SQLITE_NOTADB: (
            StorageCorruptError,
            "the file is not a database",
            "give the path of an Interlock journal, or of a file that does not exist yet",
        ),
        sqlite3.SQLITE_CONSTRAINT: (
            StorageCorruptError,
            "its tables contradict each other",
            _CORRUPT,
        ),
        sqlite3.SQLITE_IOERR: (StorageFailedError, "the disk reported an error", _FAILED),
        sqlite3.SQLITE_CANTOPEN: (StorageFailedError, "the file cannot be opened", _RIGHTS),
        sqlite3.SQLITE_READONLY: (StorageFailedError, "the file cannot be written", _RIGHTS),
        sqlite3.SQLITE_PERM: (StorageFailedError, "access to the file is not allowed", _RIGHTS),
        sqlite3.SQLITE_AUTH: (StorageFailedError, "access to the file is not allowed", _RIGHTS),
    }
)
_SCHEMA = (StorageCorruptError, "its schema is damaged", _CORRUPT)
_UNREADABLE = (StorageCorruptError, "it holds text that cannot be read", _CORRUPT)
_OTHER = (StorageFailedError, "the database failed", _FAILED)


def storage_error(error: sqlite3.Error, path: str) -> StorageError:
    """The error to raise for what SQLite reported about the database at `path`."""
    code = getattr(error, "sqlite_errorcode", _NO_CODE)
    kind, reason, remedy = _KINDS.get(code & _PRIMARY_CODE, _kind_by_text(str(error)))
    return kind(
        f"The journal {path!r} cannot be used: {reason} ({error}). Nothing acknowledged is lost. "
        f"Remedy: {remedy}.",
        path=path,
        sqlite=getattr(error, "sqlite_errorname", ""),
    )


def _kind_by_text(text: str) -> tuple[type[StorageError], str, str]:
    if text.startswith(("no such table", "no such column", "no such index")):
        return _SCHEMA
    return _UNREADABLE if text.startswith("Could not decode") else _OTHER


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process holds the lock."""
    return getattr(error, "sqlite_errorcode", _NO_CODE) & _PRIMARY_CODE == sqlite3.SQLITE_BUSY


@contextmanager
def translated(path: str) -> Generator[None]:
    """Raise what SQLite reports inside as the `StorageError` that it means."""
    try:
        yield
    except sqlite3.Error as error:
        raise storage_error(error, path) from error
