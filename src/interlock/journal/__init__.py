"""The journal: everything durable, as an append-only sequence of events.

`open_store` opens a database; `Journal` commits to it in groups and answers when it is on disk.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from interlock.clock import Clock, SystemClock
from interlock.journal.journal import Journal
from interlock.journal.location import database_path

if TYPE_CHECKING:
    from interlock.journal.store import Store

__all__ = ["Journal", "open_store"]

_LOCK_WAIT = timedelta(seconds=10)


def open_store(
    location: str,
    clock: Clock | None = None,
    *,
    synchronous: Literal["FULL", "OFF"] = "FULL",
    create: bool = True,
    lock_wait: timedelta = _LOCK_WAIT,
) -> Store:
    """Open the journal at a URL (`sqlite:///relative.db`, `sqlite:////absolute.db`) or plain path.

    Any number of processes may have it open. `create`: make the file when it is absent, instead of
    raising `NotFoundError`. `lock_wait`: how long a write waits for another process's lock before
    `StorageLockedError`; zero fails at once. `synchronous="OFF"` is for simulations: a power cut
    then loses acknowledged commits.

    Raises `InvalidInputError` for a location that is not understood or a database of another
    program, `StorageVersionError` for one of a newer version, `StorageCorruptError` for a damaged
    file, `StorageFailedError` for one that cannot be opened.
    """
    from interlock.journal.sqlite.store import SqliteStore

    return SqliteStore(
        database_path(location),
        clock=clock or SystemClock(),
        synchronous=synchronous,
        create=create,
        wait=lock_wait,
    )
