"""Virtual time: a clock, an event loop and threads on which nothing waits and nothing is random.

The loop runs callbacks as asyncio's own does, but where that would wait for a socket or a moment it
moves the clock to the next moment at once. Whatever lives outside of the simulated process (other
systems, people) shares the clock through `Surroundings` and outlives the loop. The same seed gives
the same run, callback by callback.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar, cast

from interlock.clock import Dice

__all__ = [
    "NothingLeftError",
    "SimulatedDeath",
    "Surroundings",
    "VirtualClock",
    "VirtualLoop",
    "VirtualThreads",
]

T = TypeVar("T")
_EPOCH_US: Final = 1_767_225_600_000_000  # 2026-01-01: any moment that people read as a date.
_TURNS_AT_MOST: Final = 20_000


class SimulatedDeath(BaseException):
    """Ends a simulated process at once: no handler, no `finally` of its code runs after it."""


class NothingLeftError(Exception):
    """The loop waits and no moment is left that could end the wait, or it never waits."""


class VirtualClock:
    """A clock that moves only when it is told to, and seeded randomness."""

    def __init__(self, seed: str) -> None:
        self._passed_us = 0
        self._dice = Dice(seed)

    def now_us(self) -> int:
        """Virtual wall time in microseconds since 1970 (UTC)."""
        return _EPOCH_US + self._passed_us

    def boot_seconds(self) -> float:
        """Virtual seconds since the clock was made."""
        return self._passed_us / 1e6

    def random_bytes(self, size: int) -> bytes:
        """`size` bytes that the seed determines."""
        return self._dice.randbytes(size)

    def move_to(self, now_us: int) -> None:
        """Let time pass until `now_us`; an earlier moment changes nothing."""
        self._passed_us = max(self._passed_us, now_us - _EPOCH_US)


class Surroundings:
    """What happens outside of the simulated process, in order of time. It outlives its loops."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._pending: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, delay_us: int, happen: Callable[[], None]) -> None:
        """Have something happen `delay_us` from now, whatever becomes of the process."""
        self._count += 1
        moment = self._clock.now_us() + max(0, delay_us)
        heapq.heappush(self._pending, (moment, self._count, happen))

    def next_us(self) -> int | None:
        """When the next thing happens, or None."""
        return self._pending[0][0] if self._pending else None

    def pass_until(self, limit_us: int) -> None:
        """Move the clock to `limit_us`, or to what happens before it, and let that happen."""
        next_us = self.next_us()
        self._clock.move_to(limit_us if next_us is None else min(limit_us, next_us))
        while self._pending and self._pending[0][0] <= self._clock.now_us():
            heapq.heappop(self._pending)[2]()

    def pass_time(self, duration_us: int) -> None:
        """Let a span of time pass with all that happens in it, while no process runs."""
        end_us = self._clock.now_us() + duration_us
        while self._clock.now_us() < end_us:
            self.pass_until(end_us)


class _Jump:
    """In the place of a selector: where a loop would wait, time passes instead."""

    def __init__(self, clock: VirtualClock, surroundings: Surroundings) -> None:
        self._clock = clock
        self._surroundings = surroundings
        self._turns = 0

    def select(self, timeout: float | None) -> list[Any]:
        self._turns = self._turns + 1 if timeout == 0 else 0
        if self._turns > _TURNS_AT_MOST:
            raise NothingLeftError("the process is busy without end and no time passes")
        if timeout is None:
            next_us = self._surroundings.next_us()
            if next_us is None:
                raise NothingLeftError("the process waits for something that never comes")
            self._surroundings.pass_until(next_us)
        elif timeout > 0:
            # Rounded up, because a timer must not be found a fraction of a microsecond early.
            pause_us = max(1, math.ceil(timeout * 1e6))
            self._surroundings.pass_until(self._clock.now_us() + pause_us)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """The host loop of one simulated process, on virtual time."""

    def __init__(self, clock: VirtualClock, surroundings: Surroundings) -> None:
        super().__init__()
        self._virtual_clock = clock
        self._selector = _Jump(clock, surroundings)
        self._clock_resolution = 1e-6
        # Where asyncio keeps the callbacks of the next turn.
        self._ready: deque[asyncio.Handle]
        self.problems: list[str] = []

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual_clock.boot_seconds()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A death ends the loop at once; whatever else a callback raised is kept in `problems`."""
        error = context.get("exception")
        if isinstance(error, SimulatedDeath):
            raise error
        if not self.is_closed():
            self.problems.append(f"{context.get('message')}: {error!r}")

    def bury(self) -> None:
        """Forget everything that is left, as the end of a process does."""
        for handle in self._ready:
            task: Any = getattr(handle, "_callback", None)
            task = getattr(task, "__self__", None)
            if isinstance(task, asyncio.Task):
                _forget_unbegun(cast("asyncio.Task[Any]", task))
        self.close()
        # A run that was torn down from outside leaves its host's loop as the running one.
        asyncio._set_running_loop(None)

    def _check_closed(self) -> None:
        """What is left of a dead process may still ask for something; nobody does it."""

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """There are no threads that would have to wake the loop."""


def _forget_unbegun(task: asyncio.Task[Any]) -> None:
    """Close a coroutine that will never run: Python warns of those."""
    with suppress(RuntimeError):  # It has begun, and wants to wait in a `finally` block.
        task.get_coro().close()


class VirtualThreads:
    """Threads on virtual time: a function takes effect at once and answers after `delay_us()`."""

    def __init__(self, delay_us: Callable[[], int]) -> None:
        self._delay_us = delay_us
        self._closed = False

    def run(self, loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run `function`; cancelling the answer does not undo it."""
        answer: asyncio.Future[T] = loop.create_future()
        try:
            give = partial(self._give, answer.set_result, answer, function())
        except Exception as error:  # noqa: BLE001 - the future carries it to the caller
            give = partial(self._give, answer.set_exception, answer, error)
        loop.call_later(self._delay_us() / 1e6, give)
        return answer

    def _give(self, give: Callable[[Any], None], answer: asyncio.Future[Any], what: Any) -> None:
        if not self._closed and not answer.done():
            give(what)

    def close(self) -> None:
        """Start nothing more."""
        self._closed = True
