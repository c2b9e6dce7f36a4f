"""The only place that touches time, randomness and threads.

Everything else takes a `Clock`, so that a simulation can own all three. A real clock gives wall
time for people, and boot time (which counts while the machine sleeps) for leases.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

__all__ = [
    "Acting",
    "Clock",
    "Dice",
    "InlineThreads",
    "Mutex",
    "SystemClock",
    "ThreadPool",
    "Threads",
    "in_main_thread",
    "pause",
    "spawn_thread",
    "thread_behind",
    "thread_id",
    "thread_name",
]

T = TypeVar("T")

Mutex = threading.Lock
# Repeatable randomness for simulations; never for secrets.
Dice = random.Random


class Clock(Protocol):
    """Time and randomness as one injected thing."""

    def now_us(self) -> int:
        """Wall time in microseconds since 1970 (UTC)."""
        ...

    def boot_seconds(self) -> float:
        """Seconds of a clock that never goes back and counts suspended time."""
        ...

    def random_bytes(self, size: int) -> bytes:
        """`size` unpredictable bytes (predictable in a simulation)."""
        ...


_POOL_BYTES = 4096


class SystemClock:
    """The machine's clock and its random source. Safe to share between threads."""

    def __init__(self) -> None:
        self._pool = b""
        self._mutex = threading.Lock()

    def now_us(self) -> int:
        """Wall time in microseconds since 1970 (UTC)."""
        return time.time_ns() // 1000

    def boot_seconds(self) -> float:
        """Seconds since boot, suspended time included (`CLOCK_BOOTTIME` where there is one)."""
        clock_id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime(clock_id)

    def random_bytes(self, size: int) -> bytes:
        """`size` bytes of the operating system's random source, fetched in larger pieces."""
        with self._mutex:
            if len(self._pool) < size:
                self._pool = os.urandom(max(size, _POOL_BYTES))
            taken, self._pool = self._pool[:size], self._pool[size:]
            return taken


def spawn_thread(target: Callable[[], None], *, name: str) -> threading.Thread:
    """Start a daemon thread: it never keeps a process alive that wants to stop."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def in_main_thread() -> bool:
    """Whether the caller runs on the process's main thread (where signals arrive)."""
    return threading.current_thread() is threading.main_thread()


thread_id = threading.get_ident


def pause(seconds: float) -> None:
    """Block the calling thread. Only for waiting on another process's lock."""
    time.sleep(seconds)


def thread_name() -> str:
    """The name of the calling thread, for error messages."""
    return threading.current_thread().name


def thread_behind(function: Callable[..., Any]) -> str:
    """The name of the thread whose method a callback is; empty where it is none."""
    owner = getattr(function, "__self__", None)
    return owner.name if isinstance(owner, threading.Thread) else ""


class Threads(Protocol):
    """Where synchronous functions run."""

    def run(self, loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run `function` and answer on `loop`. Cancelling the future does not stop a thread."""
        ...

    def close(self) -> None:
        """Take no more work. Threads that still run are left to the process's end."""
        ...


class ThreadPool:
    """Real threads, at most `workers` at once; more work waits its turn.

    They are daemons: a function that never returns does not keep the process alive.
    """

    def __init__(self, workers: int = 32) -> None:
        self._workers = workers
        self._threads = 0
        self._idle = 0
        self._mutex = threading.Lock()
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def run(self, loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run `function` in a thread with the caller's context variables."""
        answer: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            result, error = _outcome(lambda: context.run(function))
            # The loop may be closed by now: then nobody waits for the answer.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_deliver, answer, result, error)

        with self._mutex:
            if self._idle == 0 and self._threads < self._workers:
                self._threads += 1
                spawn_thread(self._serve, name=f"interlock-step-{self._threads}")
            else:
                self._idle = max(0, self._idle - 1)
        self._work.put(work)
        return answer

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            with self._mutex:
                self._idle += 1
        self._work.put(None)  # For the next thread.

    def close(self) -> None:
        """Take no more work; does not wait for what runs."""
        self._work.put(None)


class Acting:
    """Which calls act on the outside in threads that nothing can stop. Used from any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._calls = 0
        self._then: Callable[[], None] | None = None

    def during(self, function: Callable[[], T]) -> Callable[[], T]:
        """The function, which counts from now on until it has ended. To be called once."""
        with self._mutex:
            self._calls += 1

        def counted() -> T:
            try:
                return function()
            finally:
                self._ended()

        return counted

    def _ended(self) -> None:
        with self._mutex:
            self._calls -= 1
            then = self._then if self._calls == 0 else None
        if then is not None:
            then()

    def when_none(self, then: Callable[[], None]) -> None:
        """Call `then` when no call acts any more: now, or from the thread of the last one."""
        with self._mutex:
            self._then = then
            busy = self._calls > 0
        if not busy:
            then()


def _outcome(function: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return function(), None
    except StopIteration as error:  # A future cannot carry it.
        return None, RuntimeError(f"StopIteration: {error}")
    except BaseException as error:  # noqa: BLE001 - it is the answer
        return None, error


def _deliver(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)


class InlineThreads:
    """No threads at all: the function runs at once. For simulations on virtual time."""

    def run(self, loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run `function` now and answer a finished future."""
        answer: asyncio.Future[T] = loop.create_future()
        _deliver(answer, *_outcome(function))
        return answer

    def close(self) -> None:
        """Nothing to release."""
