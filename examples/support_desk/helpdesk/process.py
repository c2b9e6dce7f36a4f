"""Starts a service, the help desk or another, as a process of its own, and finds it again.

The process outlives whoever started it, killed or not: the next start of the
example finds it by its ready file and goes on with it.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from .tracker import TrackerError

__all__ = [
    "RunningHelpDesk",
    "RunningService",
    "address_of",
    "ensure_running",
    "find_running",
    "start_or_find",
]

_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class RunningService:
    """A service that answers at `url`, served from `home` by process `pid`.

    `child` is that process where this one started it.
    """

    url: str
    home: Path
    pid: int
    child: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)

    def stop(self, *, patience: timedelta = timedelta(seconds=20)) -> None:
        """Ask the process to end and wait until it has. Safe to repeat.

        One that serves the home in its stead by now is left alone.

        Raises `TrackerError` if it is still there after `patience`.
        """
        ready = _read_ready(self.home)
        replaced = ready is not None and ready.pid != self.pid
        if not replaced and _is_served(self.home):
            self._end(time.monotonic() + patience.total_seconds())
        if self.child is not None:
            self.child.wait()

    def _end(self, deadline: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        while _is_served(self.home):
            if time.monotonic() > deadline:
                raise TrackerError(f"process {self.pid}, which serves {self.home}, does not end")
            time.sleep(_PAUSE_SECONDS)


RunningHelpDesk = RunningService


def ensure_running(home: Path, *, patience: timedelta = timedelta(seconds=60)) -> RunningService:
    """The help desk in `home`, as `start_or_find` says."""
    return start_or_find(home, __name__.rpartition(".")[0], patience=patience)


def start_or_find(
    home: Path, module: str, *, patience: timedelta = timedelta(seconds=60)
) -> RunningService:
    """The service in `home`: the one that runs, or one started now, by `python -m module serve`.

    Safe to repeat. `home` is created the first time. What the process prints
    goes to `<home>.log`. Raises `TrackerError`, with the end of that log, when
    it does not come up within `patience`.
    """
    home = home.absolute()
    if _is_served(home):
        return _await_ready(home, None, patience)
    _ready_file(home).unlink(missing_ok=True)
    child = _start(home, module)
    try:
        return _await_ready(home, child, patience)
    except BaseException:
        # Whoever gave up on it, or was interrupted, will not look after it.
        child.terminate()
        child.wait()
        raise


def find_running(home: Path) -> RunningService | None:
    """The service that is being served from `home` and answers, or None. Starts nothing."""
    home = home.absolute()
    ready = _read_ready(home) if _is_served(home) else None
    return None if ready is None else RunningService(url=ready.url, home=home, pid=ready.pid)


def address_of(home: Path) -> str | None:
    """Where the service in `home` listens, or did when it was last heard of; None if unknown.

    Cheap enough to ask before every request.
    """
    ready = _read_ready(home)
    return None if ready is None else ready.url


def _start(home: Path, module: str) -> subprocess.Popen[bytes]:
    home.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", module, "serve", "--home", str(home)]
    command += ["--ready-file", str(_ready_file(home))]
    root = Path(__file__).parents[__name__.count(".")]
    with _log_file(home).open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await_ready(
    home: Path, child: subprocess.Popen[bytes] | None, patience: timedelta
) -> RunningService:
    deadline = time.monotonic() + patience.total_seconds()
    while (ready := _read_ready(home)) is None:
        # A process that ended because another serves the home leaves that one to wait for.
        ended = child is not None and child.poll() is not None
        if (ended and not _is_served(home)) or time.monotonic() > deadline:
            raise TrackerError(f"the service in {home} did not start:\n{_log_end(home)}")
        time.sleep(_PAUSE_SECONDS)
    return RunningService(url=ready.url, home=home, pid=ready.pid, child=child)


class _Ready(NamedTuple):
    """What a server says of itself once it answers."""

    url: str
    pid: int


def _read_ready(home: Path) -> _Ready | None:
    try:
        ready = json.loads(_ready_file(home).read_text())
    except FileNotFoundError:
        return None
    return _Ready(ready["url"], ready["pid"])


def _is_served(home: Path) -> bool:
    # The server holds this lock for as long as it lives, however it ends.
    lock = home.with_name(home.name + ".lock")
    if not lock.exists():
        return False
    with lock.open() as probed:
        try:
            fcntl.flock(probed, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _ready_file(home: Path) -> Path:
    return home.with_name(home.name + ".ready.json")


def _log_file(home: Path) -> Path:
    return home.with_name(home.name + ".log")


def _log_end(home: Path) -> str:
    return _log_file(home).read_text(errors="replace")[-2000:] if _log_file(home).exists() else ""
