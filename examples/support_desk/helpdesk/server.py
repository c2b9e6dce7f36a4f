"""Serves a tracker over HTTP, on the loopback interface only, one request at a time.

Requests are handled in the order in which they arrive, by one thread. Roundup
is bound by Python and by one SQLite file, so more threads do not make it
faster; and the order gives a promise that recovery builds on: a search that
arrives after a write sees whether the write was made.

SIGTERM and SIGINT let the request in hand finish. What was answered is on disk.
"""

import fcntl
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from .tracker import TrackerError, create_tracker

__all__ = ["announce", "serve", "sole_server", "stop"]

_HOST = "127.0.0.1"
_LOCK_ATTEMPTS = 20
_LOCK_PAUSE_SECONDS = 0.05


def serve(home: Path, port: int, ready_file: Path | None) -> None:
    """Serve the tracker in `home`, creating it first if need be, until SIGTERM.

    `port` 0 takes any free one. Once requests are answered, the URL is printed
    and `ready_file`, if given, appears whole, as JSON: `{"url", "home", "pid"}`.
    Raises `TrackerError` when `home` cannot be used or is being served already,
    and `OSError` when the port is taken.
    """
    with sole_server(home):
        create_tracker(home)
        server = _bind(home, port)
        signal.signal(signal.SIGTERM, stop)
        announce("The help desk", _url(server), home, ready_file)
        server.run()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def stop(_number: int, _frame: FrameType | None) -> None:
    """End the service, as a handler of SIGTERM."""
    # Waitress ends its loop on SystemExit and waits for the request in hand.
    sys.exit(0)


@contextmanager
def sole_server(home: Path) -> Generator[None]:
    """Hold a home's lock, which says that it is served. Raises `TrackerError` if another does."""
    home.parent.mkdir(parents=True, exist_ok=True)
    lock = home.with_name(home.name + ".lock")
    with lock.open("w") as held:
        if not _take(held):
            raise TrackerError(
                f"another process serves {home}; stop it first, or give another --home"
            )
        yield


def _take(lock: IO[str]) -> bool:
    # More than once, since whoever asks if the home is served holds the lock for an instant.
    for _ in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_SECONDS)
        else:
            return True
    return False


def _bind(home: Path, port: int) -> Any:
    handler = importlib.import_module("roundup.cgi.wsgi_handler")
    waitress = importlib.import_module("waitress")
    application = handler.RequestDispatcher(str(home))
    server = waitress.create_server(application, host=_HOST, port=port, threads=1)
    # Roundup compares the Origin of a write with its own address.
    application.tracker.config["TRACKER_WEB"] = f"{_url(server)}/"
    return server


def _url(server: Any) -> str:
    return f"http://{_HOST}:{server.effective_port}"


def announce(what: str, url: str, home: Path, ready_file: Path | None) -> None:
    """Say where a service is, and write its ready file, whole, where one is wanted."""
    print(f"{what} is at {url}", flush=True)
    if ready_file is None:
        return
    ready = {"url": url, "home": str(home), "pid": os.getpid()}
    unfinished = ready_file.with_name(ready_file.name + ".part")
    unfinished.write_text(json.dumps(ready))
    unfinished.replace(ready_file)
