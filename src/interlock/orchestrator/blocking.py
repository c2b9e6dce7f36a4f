"""Calls that would block every run, or be made again on a replay, refused where a run makes them.

Python tells of a call before it is made (audit events, PEP 578). A socket or a process in a run's
code raises `ForbiddenInRunError` instead of taking place; from Python 3.12 a thread does too, and
from 3.13 a sleep, of which older ones tell nothing. Nothing is patched, and what is called outside
of a run's code is not looked at: neither steps and tools, nor another thread, nor what a log's
handler does when the code writes to it.
"""

from __future__ import annotations

import inspect
import sys
import sysconfig
from asyncio import events
from types import FrameType, MappingProxyType
from typing import Any, Final

from interlock.orchestrator.loop import RunLoop, is_users, refuse

__all__ = ["refuse_blocking_calls"]

_THREADS: Final = ("_thread.start_new_thread", "_thread.start_joinable_thread")
_BLOCKING: Final = MappingProxyType(
    {
        "time.sleep": "time.sleep",
        "socket.connect": "a socket, connect",
        "socket.bind": "a socket, bind",
        "socket.getaddrinfo": "a socket, getaddrinfo",
        "socket.gethostbyname": "a socket, gethostbyname",
        "subprocess.Popen": "a process, subprocess.Popen",
        "os.system": "a process, os.system",
        "os.fork": "a process, os.fork",
        "os.posix_spawn": "a process, os.posix_spawn",
        **dict.fromkeys(_THREADS, "a thread, threading.Thread.start"),
    }
)
_ASKED: Final = "interlock.refuses_blocking_calls"
_LIBRARIES: Final = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib"))
_STANDARD: Final = sysconfig.get_path("stdlib")


def refuse_blocking_calls() -> None:
    """Begin to watch, for as long as the process lives. Repeatable: it is done once."""
    watching: list[bool] = []
    sys.audit(_ASKED, watching)
    if not watching:
        sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    what = _BLOCKING.get(event)
    if what is None:
        if event == _ASKED:
            arguments[0].append(True)
        return
    loop = events._get_running_loop()
    if isinstance(loop, RunLoop) and loop.runs_here() and _is_the_codes(event):
        refuse(what)


def _is_the_codes(event: str) -> bool:
    """Whether it is the run's code that calls, and not what its log does with a line of it.

    A thread that a library keeps for itself (a telemetry's) changes nothing in the run: only those
    that the code itself starts are refused.
    """
    frame = inspect.currentframe()
    frame = frame.f_back.f_back if frame is not None and frame.f_back is not None else None
    if event in _THREADS:
        while frame is not None and _is_standard(frame):
            frame = frame.f_back
        return frame is not None and is_users(frame)
    while frame is not None and not RunLoop.is_pumping(frame):
        if frame.f_globals.get("__name__", "").partition(".")[0] == "logging":
            return False
        frame = frame.f_back
    return True


def _is_standard(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return path.startswith(_STANDARD) and not path.startswith(_LIBRARIES)
