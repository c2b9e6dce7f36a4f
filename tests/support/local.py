"""A real executor on a real SQLite file, with the few things that a test must own.

The clock can be moved, the lease taken away, and a commit held back while it is on its way to disk.
Nothing of the product is replaced: all three are what an executor is given when it is built.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, cast

from interlock import App, ExecutorOptions, LocalExecutor
from interlock.clock import Clock, SystemClock, ThreadPool
from interlock.journal import open_store
from interlock.journal.event import Entry
from interlock.journal.guard import Commit, Result
from interlock.journal.journal import Mode
from interlock.journal.rows import EffectRow, InboxRow, RunRow
from interlock.journal.store import Store

__all__ = [
    "FixedLease",
    "HeldStore",
    "MovableClock",
    "app_in",
    "effect_of",
    "executing",
    "kinds",
    "open_task",
    "state_of",
    "until",
    "until_state",
]

PATIENCE_SECONDS = 30.0
SHORT_GRACE = timedelta(seconds=3)


class MovableClock(SystemClock):
    """The system's clock, ahead by as much as the test has moved it."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead_us = 0

    def move(self, by: timedelta) -> None:
        """Let time pass at once."""
        self._ahead_us += by // timedelta(microseconds=1)

    def now_us(self) -> int:
        return super().now_us() + self._ahead_us

    def boot_seconds(self) -> float:
        return super().boot_seconds() + self._ahead_us / 1e6


class FixedLease:
    """The right to act, for as long as the test says."""

    def __init__(self, seconds: float = 3600.0) -> None:
        self.seconds = seconds

    def remaining_seconds(self) -> float:
        return self.seconds


class HeldStore:
    """A store whose commits can be held on their way to disk, and let go again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._free = threading.Event()
        self._free.set()
        self._pass = 0
        self.holding = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def hold(self, *, after: int = 0) -> None:
        """Let `after` more groups pass, then hold the next one and those after it."""
        self.holding.clear()
        self._pass = after
        self._free.clear()

    def release(self) -> None:
        """Let what is held go to disk."""
        self._free.set()

    def sync(self) -> None:
        if not self._free.is_set():
            if self._pass > 0:
                self._pass -= 1
            else:
                self.holding.set()
                self._free.wait(60)
        self._store.sync()

    def commit(self, items: Sequence[Commit]) -> list[Result]:
        results = self._store.stage(items)
        self.sync()
        return results


def app_in(folder: Path, *, version: str = "1") -> App:
    """An app whose journal is in `folder`. Declare the same agents again to `deploy` them."""
    return App("test", store=f"sqlite:///{folder / 'journal.db'}", version=version)


@asynccontextmanager
async def executing(
    app: App,
    *,
    clock: Clock | None = None,
    options: ExecutorOptions | None = None,
    lease: FixedLease | None = None,
    grace: timedelta = SHORT_GRACE,
    held: Callable[[HeldStore], None] | None = None,
    synchronous: Literal["FULL", "OFF"] = "FULL",
) -> AsyncGenerator[LocalExecutor]:
    """Execute the app's runs until the block ends. A second block continues what the first left."""
    used = clock or SystemClock()
    store = open_store(app.store, used, synchronous=synchronous)
    try:
        given = store
        if held is not None:
            wrapped = HeldStore(store)
            held(wrapped)
            given = cast("Store", wrapped)
        # What is held must not hold the loop: commits then go to disk in a thread.
        mode: Mode = "split" if held is None else "thread"
        local = LocalExecutor(
            app, given, used, ThreadPool(), lease or FixedLease(), options, mode=mode
        )
        async with local.running(grace):
            yield local
    finally:
        store.close()


@asynccontextmanager
async def crashing(app: App, **how: Any) -> AsyncGenerator[LocalExecutor]:
    """As `executing`, but at the end of the block the executor forgets everything at once."""
    async with executing(app, **how) as local:
        try:
            yield local
        finally:
            local.executor.stop()


async def until(
    condition: Callable[[], Any], what: str = "", *, seconds: float = PATIENCE_SECONDS
) -> Any:
    """Wait until the condition holds and answer its value."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not (value := condition()):
                await asyncio.sleep(0.004)
            return value
    raise AssertionError(f"did not happen in {seconds:g} s: {what or condition}")


def state_of(local: LocalExecutor, run: str) -> RunRow:
    """The run's row, which exists."""
    row = local.store.run(run)
    assert row is not None, run
    return row


async def until_state(
    local: LocalExecutor, run: str, *states: str, seconds: float = PATIENCE_SECONDS
) -> RunRow:
    """Wait until the run is in one of these states and answer its row."""
    await until(
        lambda: state_of(local, run).state in states,
        f"run in {states}, it is {state_of(local, run)}",
        seconds=seconds,
    )
    return state_of(local, run)


async def open_task(local: LocalExecutor, run: str = "") -> InboxRow:
    """Wait for an open inbox task (of this run) and answer it."""
    return await until(
        lambda: next((t for t in local.store.inbox() if not run or t.run == run), None),
        f"an open inbox task of {run or 'any run'}",
    )


async def effect_of(local: LocalExecutor, run: str, *states: str) -> EffectRow:
    """Wait until the run's only effect is in one of these states and answer it."""

    def found() -> EffectRow | None:
        rows = local.store.effects(run=run)
        return rows[0] if len(rows) == 1 and (not states or rows[0].state in states) else None

    return await until(found, f"one effect of {run} in {states}: {local.store.effects(run=run)}")


def kinds(local: LocalExecutor, run: str) -> list[str]:
    """The kinds of the run's events, in order."""
    return [entry.event.kind for entry in local.store.read(run)]


def entries_of(local: LocalExecutor, run: str, kind: str) -> list[Entry]:
    """The run's events of one kind, with their bodies."""
    return [entry for entry in local.store.read(run) if entry.event.kind == kind]
