"""Cancelling works at every state; `finally` blocks run, durable operations in them included."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock import ExecutorOptions, Retry, Run, RunFailedError, StartOptions
from interlock.errors import ConflictError, NotFoundError
from tests.support.local import (
    app_in,
    crashing,
    entries_of,
    executing,
    kinds,
    state_of,
    until,
    until_state,
)

LONG = timedelta(days=1)


async def _in_step(run: Run) -> Any:
    async def endless() -> None:
        await asyncio.Event().wait()

    return await run.step(endless, name="busy")


async def _in_a_pause(run: Run) -> Any:
    async def fails() -> None:
        raise ConnectionError

    retry = Retry(attempts=5, base=LONG, cap=LONG)
    return await run.step(fails, name="busy", retry=retry)


async def _on_a_signal(run: Run) -> Any:
    return await run.wait("never")


async def _on_a_timer(run: Run) -> Any:
    return await run.sleep(LONG)


async def _on_an_asyncio_timer(run: Run) -> Any:
    return await asyncio.sleep(LONG.total_seconds())


async def _on_a_person(run: Run) -> Any:
    return await run.escalate("Go on?")


async def _in_a_group(run: Run) -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(run.wait("never"))
        group.create_task(_in_step(run))
        group.create_task(run.sleep(LONG))


async def _in_a_gather(run: Run) -> Any:
    return await asyncio.gather(run.wait("never"), _in_step(run), run.sleep(LONG))


WAITS: dict[str, tuple[Callable[[Run], Awaitable[Any]], str]] = {
    "in a step": (_in_step, "running"),
    "in a pause between attempts": (_in_a_pause, "waiting"),
    "on a signal": (_on_a_signal, "waiting"),
    "on a timer": (_on_a_timer, "waiting"),
    "on a timer of asyncio": (_on_an_asyncio_timer, "waiting"),
    "on a person": (_on_a_person, "waiting"),
    "in a task group": (_in_a_group, "running"),
    "in a gather": (_in_a_gather, "running"),
}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("where", WAITS)
def test_cancelled_wherever_it_is(tmp_path: Path, where: str, restart: bool) -> None:
    waits, state = WAITS[where]
    app = app_in(tmp_path)
    cleaned: list[str] = []

    async def clean(what: str) -> str:
        cleaned.append(what)
        return what

    @app.agent("a")
    async def a(run: Run) -> None:
        try:
            await waits(run)
        finally:
            await run.step(clean, "once")
            await run.sleep(timedelta(milliseconds=5))
            await asyncio.gather(run.step(clean, "two"), run.step(clean, "three"))

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, state)
            await until(lambda: len(kinds(local, handle.id)) > 1)
            if not restart:
                await _cancelled(local, handle.id)
        if restart:
            async with app.client() as client:
                await client.cancel(handle.id, reason="changed my mind", by="ann")
            async with executing(app) as local:
                await _cancelled(local, handle.id, send=False)
        assert cleaned == ["once", "two", "three"]

    asyncio.run(main())


async def _cancelled(local: Any, run: str, *, send: bool = True) -> None:
    if send:
        await local.client.cancel(run, reason="changed my mind", by="ann")
    row = await until_state(local, run, "cancelled")
    assert row.reason == "changed my mind"
    (asked,) = entries_of(local, run, "cancel_requested")
    assert asked.event.header["by"] == "ann"
    assert local.store.inbox() == []
    with pytest.raises(ConflictError, match="is cancelled"):
        await local.client.cancel(run)


def test_in_the_queue(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    calls: list[int] = []

    @app.agent("a")
    async def a(run: Run) -> None:
        calls.append(1)

    async def main() -> None:
        async with executing(app) as local:
            later = StartOptions(start_after=LONG)
            handle = await local.start("a", options=later)
            await local.client.cancel(handle.id, reason="not needed")
            row = await handle.row()
            assert (row.state, row.reason) == ("cancelled", "not needed")
            assert calls == []

    asyncio.run(main())


def test_in_the_queue_of_a_full_executor(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        await _in_step(run)

    async def main() -> None:
        async with executing(app, options=ExecutorOptions(concurrency=1)) as local:
            holds = await local.start("a")
            await until_state(local, holds.id, "running")
            queued = await local.start("a")
            await local.client.cancel(queued.id)
            await until_state(local, queued.id, "cancelled", seconds=10)
            await local.client.cancel(holds.id)
            await until_state(local, holds.id, "cancelled")

    asyncio.run(main())


def test_parked(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "parked")
            await local.client.cancel(handle.id, reason="hopeless", by="ann")
            row = await until_state(local, handle.id, "cancelled")
            assert row.reason == "hopeless"

    asyncio.run(main())


def test_a_thread_is_left_behind(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    free, began = threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        free.wait(60)

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.step(slow)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until(began.is_set)
            await local.client.cancel(handle.id)
            await until_state(local, handle.id, "cancelled")
            free.set()

    asyncio.run(main())


def test_code_may_refuse_to_be_cancelled(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> str:
        try:
            await run.wait("never")
        except asyncio.CancelledError:
            return "finished instead"
        return ""

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            await local.client.cancel(handle.id)
            assert await handle.result() == "finished instead"

    asyncio.run(main())


def test_an_error_while_cleaning_up_fails_the_run(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        try:
            await run.wait("never")
        finally:
            raise OSError("cannot clean up")

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            await local.client.cancel(handle.id)
            with pytest.raises(RunFailedError, match="is failed: OSError: cannot clean up"):
                await handle.result()

    asyncio.run(main())


def test_a_crash_while_cleaning_up_is_continued(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    cleaned: list[int] = []
    reached = asyncio.Event()

    async def clean(n: int) -> None:
        cleaned.append(n)
        if n == 2 and not reached.is_set():
            reached.set()
            await asyncio.Event().wait()

    @app.agent("a")
    async def a(run: Run) -> None:
        try:
            await run.wait("never")
        finally:
            await run.step(clean, 1)
            await run.step(clean, 2)

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            await local.client.cancel(handle.id)
            await reached.wait()
        async with executing(app) as local:
            await until_state(local, handle.id, "cancelled")
            assert cleaned == [1, 2, 2]

    asyncio.run(main())


def test_a_repeated_cancellation_does_not_interrupt_the_cleaning_up(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    cleaning, free = asyncio.Event(), asyncio.Event()

    async def clean() -> str:
        cleaning.set()
        await free.wait()
        return "clean"

    @app.agent("a")
    async def a(run: Run) -> None:
        try:
            await run.wait("never")
        finally:
            run.outcome(await run.step(clean))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            for _ in range(2):
                await local.client.cancel(handle.id, message_id="click")
            await cleaning.wait()
            await local.client.cancel(handle.id, message_id="click")
            await local.client.cancel(handle.id, message_id="impatient click")
            free.set()
            row = await until_state(local, handle.id, "cancelled")
            assert row.outcome == "clean"

    asyncio.run(main())


def test_unknown_runs(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    async def main() -> None:
        async with executing(app) as local:
            with pytest.raises(NotFoundError, match="'run_x'"):
                await local.client.cancel("run_x")
            with pytest.raises(NotFoundError, match="'run_x'"):
                await local.client.retry("run_x")
            assert local.store.run("run_x") is None

    asyncio.run(main())


def test_only_parked_runs_are_retried(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.wait("go")

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            with pytest.raises(ConflictError, match="is waiting: retry needs a run that is parked"):
                await local.client.retry(handle.id)
            assert state_of(local, handle.id).state == "waiting"

    asyncio.run(main())
