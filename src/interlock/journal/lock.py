"""The right to execute the runs of a SQLite file: an operating-system lock on a file beside it.

The lock is the kernel's and ends with the process, however it ends. The file's content only says
who holds it. Processes that merely read or send mail need no lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, cast

from interlock.clock import Clock, SystemClock
from interlock.errors import StorageLockedError

__all__ = ["ExecutorLock", "lock_holder"]


class ExecutorLock:
    """An exclusive lock on `<database>.executor`. Not inherited by child processes."""

    def __init__(self, database: str, clock: Clock | None = None) -> None:
        self._database = database
        self._path = f"{database}.executor"
        self._clock = clock or SystemClock()
        self._descriptor: int | None = None
        forget = weakref.WeakMethod(self._forget_in_child)
        os.register_at_fork(after_in_child=lambda: _call(forget))

    def acquire(self) -> None:
        """Take the lock, or raise `StorageLockedError` that says who holds it. Repeatable."""
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._describe(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            raise self._refusal() from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        if not self.held():
            self.release()
            raise StorageLockedError(
                f"The lock file {self._path!r} was replaced while it was being taken. Start again."
            )

    def held(self) -> bool:
        """Whether the file at the path is still the one that this object has locked."""
        if self._descriptor is None:
            return False
        try:
            there = os.stat(self._path)  # noqa: PTH116 - as fstat, and called before every effect
        except FileNotFoundError:
            return False
        ours = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Give the lock back. Repeatable. The file stays: removing it would let two hold it."""
        if self._descriptor is not None:
            # Explicitly, since a program that is being started has a copy until it really starts.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None

    def _forget_in_child(self) -> None:
        """A forked child has a copy of the lock, which would outlive this process in it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _describe(self, descriptor: int) -> None:
        since = datetime.fromtimestamp(self._clock.now_us() / 1e6, UTC)
        program = Path(sys.argv[0] or "python").name
        text = json.dumps(
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "program": program,
                "since": since.isoformat(timespec="seconds"),
            }
        )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)

    def _refusal(self) -> StorageLockedError:
        holder = lock_holder(self._database)
        if holder.get("pid") == os.getpid() and holder.get("host") == socket.gethostname():
            return StorageLockedError(
                f"The runs of {self._database!r} are executed by this very process since "
                f"{holder['since']}: by another executor, or one that has ended and left a tool's "
                "call in its thread, which may still act. Wait for it, or end the process.",
                **holder,
            )
        who = (
            f"process {holder['pid']} ({holder['program']}) on {holder['host']} since "
            f"{holder['since']}"
            if holder
            else "another process"
        )
        return StorageLockedError(
            f"The runs of {self._database!r} are executed by {who}. One executor at a time may "
            "work on a SQLite file: stop that one, or use this store through it. Starting runs, "
            "signals and decisions work without stopping it.",
            **holder,
        )


def _call(method: weakref.WeakMethod[Callable[[], None]]) -> None:
    alive = method()
    if alive is not None:
        alive()


def lock_holder(database: str) -> dict[str, Any]:
    """Who last took the lock of a database, as it described itself; empty when unknown."""
    with contextlib.suppress(OSError, ValueError):
        text: Any = json.loads(Path(f"{database}.executor").read_text(encoding="utf-8"))
        described = cast("dict[str, Any]", text if isinstance(text, dict) else {})
        if {"pid", "host", "program", "since"} <= described.keys():
            return described
    return {}
