"""An executor that ends leaves threads behind; what acts in them is not recovered meanwhile."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock import NOT_HAPPENED, EffectKey, Happened, Run
from interlock.clock import Acting
from interlock.errors import StorageLockedError
from interlock.journal.location import database_path
from interlock.journal.lock import ExecutorLock
from tests.support.local import app_in, effect_of, until, until_state

NO_GRACE = timedelta(0)


def test_a_write_that_is_left_in_its_thread_is_not_recovered_before_it_has_ended(
    tmp_path: Path,
) -> None:
    """In the same process: nothing but the thread's own end says that it will not act any more."""
    app = app_in(tmp_path)
    free, booked = threading.Event(), list[int]()

    def find(amount: int) -> Any:
        return Happened("booked") if booked else NOT_HAPPENED

    def book(amount: int, *, key: EffectKey) -> str:
        free.wait(60)
        booked.append(amount)
        return "booked"

    tool = app.tool(
        effect="write", recovery="lookup", lookup=find, timeout=timedelta(milliseconds=20)
    )(book)

    @app.agent("a")
    async def a(run: Run) -> str:
        return await run.call(tool, 5)

    async def leave() -> str:
        async with app.executor(grace=NO_GRACE) as local:
            handle = await local.start("a")
            await effect_of(local, handle.id, "unknown")
            return handle.id

    async def too_early() -> None:
        with pytest.raises(StorageLockedError, match="left a tool's call in its thread"):
            async with app.executor():
                raise AssertionError("it must not begin")

    def is_free() -> bool:
        lock = ExecutorLock(database_path(app.store))
        try:
            lock.acquire()
        except StorageLockedError:
            return False
        lock.release()
        return True

    async def recovered(run: str) -> None:
        free.set()
        await until(is_free)
        async with app.executor() as local:
            await until_state(local, run, "completed")

    run = asyncio.run(leave())
    asyncio.run(too_early())
    asyncio.run(recovered(run))
    assert booked == [5]


def test_a_step_that_is_left_in_its_thread_keeps_nobody_out(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    free, began = threading.Event(), threading.Event()

    def slow() -> int:
        began.set()
        free.wait(60)
        return 1

    @app.agent("a")
    async def a(run: Run) -> int:
        return await run.step(slow)

    async def leave() -> str:
        async with app.executor(grace=NO_GRACE) as local:
            handle = await local.start("a")
            await until(began.is_set)
            return handle.id

    async def again(run: str) -> None:
        async with app.executor() as local:
            free.set()
            row = (await local.executor.when_ended(run)).row
            assert row.state == "completed"

    asyncio.run(again(asyncio.run(leave())))


def test_what_waits_for_the_last_call_is_told_once() -> None:
    acting, told = Acting(), list[str]()
    first, second = acting.during(lambda: 1), acting.during(lambda: 2)
    acting.when_none(lambda: told.append("none"))
    assert (first(), told) == (1, [])
    assert (second(), told) == (2, ["none"])
    acting.when_none(lambda: told.append("at once"))
    assert told == ["none", "at once"]
