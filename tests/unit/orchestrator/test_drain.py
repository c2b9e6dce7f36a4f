"""How an executor lets go: drained, beyond its grace, stopped by its store, one at a time."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock import EffectKey, ExecutorOptions, Retry, Run
from interlock.errors import StorageError, StorageLockedError
from interlock.journal import open_store
from tests.support.local import (
    app_in,
    effect_of,
    executing,
    kinds,
    state_of,
    until,
    until_state,
)

MILLISECOND = timedelta(milliseconds=1)


@pytest.mark.parametrize("what", ["step", "thread", "effect", "read"])
def test_an_operation_in_flight_ends_and_the_run_is_let_go(  # noqa: C901 - four kinds of work
    tmp_path: Path, what: str
) -> None:
    app = app_in(tmp_path)
    began, free = threading.Event(), threading.Event()
    calls: list[str] = []

    async def work() -> str:
        calls.append("work")
        began.set()
        while not free.is_set():
            await asyncio.sleep(0.005)
        return "done"

    def work_in_thread() -> str:
        calls.append("work")
        began.set()
        free.wait(60)
        return "done"

    @app.tool(effect="write", recovery="never")
    async def write(*, key: EffectKey) -> str:
        return await work()

    @app.tool(effect="read")
    async def read() -> str:
        return await work()

    async def after() -> str:
        calls.append("after")
        return "after"

    @app.agent("a")
    async def a(run: Run) -> list[str]:
        match what:
            case "step":
                first = await run.step(work)
            case "thread":
                first = await run.step(work_in_thread)
            case "effect":
                first = await run.call(write)
            case _:
                first = await run.call(read)
        return [first, await run.step(after)]

    async def main() -> list[str]:
        async with executing(app, grace=timedelta(seconds=30)) as local:
            handle = await local.start("a")
            await until(began.is_set)
            local.executor.drain()
            queued = await local.start("a")
            free.set()
        assert calls == ["work"], "nothing new is begun"
        store = open_store(app.store)
        row = store.run(handle.id)
        recorded = [entry.event.kind for entry in store.read(handle.id)]
        waiting = store.run(queued.id)
        store.close()
        assert row is not None
        assert row.state == "queued"
        assert recorded[-1] == "run_released"
        assert recorded[-2] in ("step_completed", "effect_completed", "read_completed")
        assert waiting is not None
        assert waiting.state == "queued"
        async with executing(app) as local:
            row = await until_state(local, handle.id, "completed")
            result = local.result_of(row, app.agents["a"])
            assert calls[:2] == ["work", "after"] or calls.count("work") == 2
            await until_state(local, queued.id, "completed")
            return result

    assert asyncio.run(main()) == ["done", "after"]
    assert calls.count("work") == 2, "once a run"


def test_an_operation_longer_than_the_grace_is_left_to_recovery(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    calls: list[int] = []

    async def slow() -> int:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return len(calls)

    @app.agent("a")
    async def a(run: Run) -> int:
        return await run.step(slow)

    async def main() -> int:
        async with executing(app, grace=50 * MILLISECOND) as local:
            handle = await local.start("a")
            await until(lambda: calls)
        async with executing(app) as local:
            row = await until_state(local, handle.id, "completed")
            return local.result_of(row, app.agents["a"])

    assert asyncio.run(main()) == 2


def test_waiting_runs_are_left_as_they_are(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> Any:
        return await run.wait("go")

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            before = kinds(local, handle.id)
        async with executing(app) as local:
            assert kinds(local, handle.id) == before

    asyncio.run(main())


def test_a_run_with_a_short_wait_is_let_go(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> int:
        await run.sleep(timedelta(seconds=30))
        return 1

    async def main() -> None:
        options = ExecutorOptions(residency=timedelta(minutes=5))
        async with executing(app, options=options, grace=timedelta(seconds=60)) as local:
            handle = await local.start("a")
            await until(lambda: "run_claimed" in kinds(local, handle.id))
            local.executor.drain()
            row = await until_state(local, handle.id, "queued")
            assert row.worker == ""

    asyncio.run(main())


def test_a_step_between_attempts_is_let_go_and_keeps_its_count(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    calls: list[int] = []

    def fails() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError
        return len(calls)

    @app.agent("a")
    async def a(run: Run) -> int:
        pause = timedelta(milliseconds=200)
        return await run.step(fails, retry=Retry(attempts=3, base=pause, cap=pause))

    async def main() -> int:
        async with executing(app) as local:
            handle = await local.start("a")
            await until(lambda: calls)
        for attempt in range(2, 4):
            async with executing(app) as local:
                await until(lambda attempt=attempt: len(calls) >= attempt)
        async with executing(app) as local:
            row = await until_state(local, handle.id, "completed")
            return local.result_of(row, app.agents["a"])

    assert asyncio.run(main()) == 3


def test_cancelling_during_a_drain_is_done_by_the_next_executor(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    began, free = asyncio.Event(), asyncio.Event()

    @app.tool(effect="write", recovery="never")
    async def write() -> None:
        began.set()
        await free.wait()

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.call(write)
        await run.wait("go")

    async def main() -> None:
        async with executing(app, grace=timedelta(seconds=30)) as local:
            handle = await local.start("a")
            await began.wait()
            local.executor.drain()
            await local.client.cancel(handle.id)
            free.set()
        async with executing(app) as local:
            await until_state(local, handle.id, "cancelled")
            assert (await effect_of(local, handle.id)).state == "completed"

    asyncio.run(main())


def test_the_second_executor_on_a_store_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> int:
        return 1

    async def main() -> None:
        async with app.executor() as first:
            with pytest.raises(StorageLockedError, match="since"):
                async with app.executor():
                    raise AssertionError("two executors")
            assert await (await first.start("a")).result() == 1
        async with app.executor() as next_one:
            assert await (await next_one.start("a")).result() == 1

    asyncio.run(main())


def test_app_run_executes_one_run(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run, n: int) -> int:
        return n + 1

    assert app.run("a", 4) == 5


class _FullDisk:
    """Limits how large the database may grow, on the executor's own connection."""

    def __init__(self, local: Any) -> None:
        self._writer = local.store._writer  # noqa: SLF001 - the limit belongs to the connection

    def fill(self) -> None:
        (pages,) = self._writer.execute("PRAGMA page_count").fetchone()
        self._writer.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_stops_the_executor_and_the_next_start_continues(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    async def work(n: int) -> str:
        return "x" * 100_000

    @app.agent("a")
    async def a(run: Run) -> int:
        for n in range(20):
            await run.step(work, n)
        return 20

    @app.agent("waits")
    async def waits(run: Run) -> Any:
        return await run.wait("go")

    async def main() -> None:
        async with executing(app) as local:
            idle = await local.start("waits")
            await until_state(local, idle.id, "waiting")
            handle = await local.start("waits")
        with pytest.raises(StorageError, match="full"):  # noqa: PT012 - it comes at the block's end
            async with executing(app) as local:
                _FullDisk(local).fill()
                handle = await local.start("a")
                with pytest.raises(StorageError, match="full"):
                    await handle.result()
                with pytest.raises(StorageError, match="full"):
                    await local.start("a")
        async with executing(app) as local:
            await local.client.signal(idle.id, "go", 3)
            row = await until_state(local, handle.id, "completed")
            assert local.result_of(row, app.agents["a"]) == 20
            row = await until_state(local, idle.id, "completed")
            assert row.state == "completed"
            assert list(local.store.verify()) == []

    asyncio.run(main())


def test_a_store_that_fails_stops_the_executor_while_nobody_waits(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    async def work() -> str:
        return "x" * 400_000

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.wait("go")
        while True:
            await run.step(work)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
        with pytest.raises(StorageError):  # noqa: PT012 - it comes at the block's end
            async with executing(app) as local:
                _FullDisk(local).fill()
                await local.client.signal(handle.id, "go")
                await until(lambda: local.executor.failure)
        async with executing(app) as local:
            assert state_of(local, handle.id).state in ("running", "waiting")
            await local.client.cancel(handle.id)
            await until_state(local, handle.id, "cancelled")

    asyncio.run(main())
