"""Concurrency and time inside a run: asyncio's own forms and anyio's, durable over restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock import Run, StepFailedError
from tests.support.local import (
    MovableClock,
    app_in,
    crashing,
    entries_of,
    executing,
    kinds,
    state_of,
    until,
    until_state,
)

HOUR = timedelta(hours=1)
SECONDS = HOUR.total_seconds()


async def _asyncio_sleep(run: Run) -> str:
    return await asyncio.sleep(SECONDS, "slept")


async def _asyncio_timeout(run: Run) -> str:
    try:
        async with asyncio.timeout(SECONDS):
            await run.wait("never")
    except TimeoutError:
        return "slept"
    return ""


async def _run_timeout(run: Run) -> str:
    try:
        async with run.timeout(HOUR):
            await run.wait("never")
    except TimeoutError:
        return "slept"
    return ""


async def _wait_for(run: Run) -> str:
    try:
        await asyncio.wait_for(run.wait("never"), SECONDS)
    except TimeoutError:
        return "slept"
    return ""


async def _wait_with_timeout(run: Run) -> str:
    task = asyncio.ensure_future(run.wait("never"))
    done, _ = await asyncio.wait({task}, timeout=SECONDS)
    task.cancel()
    return "" if done else "slept"


async def _call_later(run: Run) -> str:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()
    loop.call_later(SECONDS, future.set_result, "slept")
    return await future


async def _anyio_sleep(run: Run) -> str:
    await anyio.sleep(SECONDS)
    return "slept"


async def _anyio_move_on(run: Run) -> str:
    with anyio.move_on_after(SECONDS) as scope:
        await run.wait("never")
    return "slept" if scope.cancelled_caught else ""


async def _anyio_fail_after(run: Run) -> str:
    try:
        with anyio.fail_after(SECONDS):
            await run.wait("never")
    except TimeoutError:
        return "slept"
    return ""


async def _run_sleep(run: Run) -> str:
    await run.sleep(HOUR)
    return "slept"


TIMERS: dict[str, Callable[[Run], Awaitable[str]]] = {
    "asyncio.sleep": _asyncio_sleep,
    "asyncio.timeout": _asyncio_timeout,
    "asyncio.wait_for": _wait_for,
    "asyncio.wait": _wait_with_timeout,
    "call_later": _call_later,
    "anyio.sleep": _anyio_sleep,
    "anyio.move_on_after": _anyio_move_on,
    "anyio.fail_after": _anyio_fail_after,
    "run.sleep": _run_sleep,
    "run.timeout": _run_timeout,
}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("form", TIMERS)
def test_timers_of_all_kinds_are_durable(tmp_path: Path, form: str, restart: bool) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()

    @app.agent("a")
    async def a(run: Run) -> str:
        return await TIMERS[form](run)

    async def main() -> str:
        async with crashing(app, clock=clock) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, "waiting")
            assert row.wake_at_us is not None
            assert 0 <= row.wake_at_us - row.created_at_us - SECONDS * 1e6 < 5e6
            if not restart:
                clock.move(HOUR + timedelta(seconds=5))
                return await handle.result()
        clock.move(HOUR / 2)
        async with crashing(app, clock=clock) as local:
            await (await local.start("idle")).result()
            assert state_of(local, handle.id).state == "waiting", "half of the time is not all"
        clock.move(HOUR)
        async with executing(app, clock=clock) as local:
            row = await until_state(local, handle.id, "completed")
            return local.result_of(row, app.agents["a"])

    @app.agent("idle")
    async def idle(run: Run) -> None: ...

    assert asyncio.run(main()) == "slept"


def test_a_timer_that_was_passed_in_its_time_leaves_nothing_behind(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    async def quick() -> int:
        return 1

    @app.agent("a")
    async def a(run: Run) -> int:
        total = 0
        for _ in range(20):
            async with asyncio.timeout(SECONDS):
                total += await run.step(quick)
        await run.wait("go")
        return total

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, "waiting")
            assert row.wake_at_us is None
            assert [w["kind"] for w in row.waits] == ["signal"]
        async with executing(app) as local:
            await local.client.signal(handle.id, "go")
            row = await until_state(local, handle.id, "completed", "parked")
            assert local.result_of(row, app.agents["a"]) == 20

    asyncio.run(main())


def test_what_finishes_first_is_first_on_replay(tmp_path: Path) -> None:
    """The steps finish in the other order at the second time; the code still sees the first one."""
    app = app_in(tmp_path)
    gates = {name: asyncio.Event() for name in "abc"}
    seen: list[list[str]] = []

    async def step(name: str) -> str:
        await gates[name].wait()
        return name

    @app.agent("a")
    async def a(run: Run) -> list[str]:
        order = [await done for done in asyncio.as_completed([run.step(step, n) for n in "abc"])]
        seen.append(order)
        await run.wait("go")
        return order

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            for name in "cab":
                gates[name].set()
                await until(
                    lambda name=name: any(
                        f'"{name}"'.encode() in (e.body or b"")
                        for e in entries_of(local, handle.id, "step_completed")
                    )
                )
            await until_state(local, handle.id, "waiting")
        async with executing(app) as local:
            await local.client.signal(handle.id, "go")
            row = await until_state(local, handle.id, "completed", "parked")
            assert local.result_of(row, app.agents["a"]) == ["c", "a", "b"]

    asyncio.run(main())
    assert seen == [["c", "a", "b"]] * 2


def test_an_error_in_a_group_cancels_its_neighbours(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("endless")

    async def fails() -> None:
        raise ConnectionError

    @app.agent("a")
    async def a(run: Run) -> list[str]:
        names: list[str] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(run.step(endless))
                group.create_task(run.wait("never"))
                group.create_task(run.step(fails))
        except* StepFailedError as errors:
            names = [type(error).__name__ for error in errors.exceptions]
        await run.wait("go")
        return names

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            assert kinds(local, handle.id).count("operation_cancelled") == 2
        async with executing(app) as local:
            await local.client.signal(handle.id, "go")
            row = await until_state(local, handle.id, "completed", "parked")
            assert local.result_of(row, app.agents["a"]) == ["StepFailedError"]

    asyncio.run(main())
    assert ended == ["endless"]


def test_anyio_groups_scopes_events_and_streams(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    async def fetch(n: int) -> int:
        return n * n

    @app.agent("a")
    async def a(run: Run) -> list[Any]:
        send, receive = anyio.create_memory_object_stream[int](10)
        ready = anyio.Event()

        async def produce(n: int) -> None:
            async with send.clone() as own:
                await own.send(await run.step(fetch, n))
            ready.set()

        async def late() -> None:
            await run.wait("never")

        async with anyio.create_task_group() as group:
            for n in range(3):
                group.start_soon(produce, n)
            group.start_soon(late)
            await ready.wait()
            await run.sleep(timedelta(milliseconds=5))
            group.cancel_scope.cancel()
        send.close()
        got = sorted([value async for value in receive])
        receive.close()
        with anyio.CancelScope(shield=True):
            await run.sleep(timedelta(milliseconds=1))
        await run.wait("go")
        return got

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
        async with executing(app) as local:
            await local.client.signal(handle.id, "go")
            row = await until_state(local, handle.id, "completed", "parked", "failed", "cancelled")
            assert local.result_of(row, app.agents["a"]) == [0, 1, 4]

    asyncio.run(main())


def test_a_race_answers_the_first_and_cancels_the_others(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    async def quick() -> str:
        return "quick"

    async def fails() -> str:
        raise ConnectionError

    @app.agent("a")
    async def a(run: Run) -> list[Any]:
        first = await run.race(run.sleep(HOUR), run.step(quick), run.wait("never"))
        try:
            await run.race(run.sleep(HOUR), run.step(fails))
        except StepFailedError as error:
            return [*first, type(error).__name__]
        return []

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            assert await handle.result() == [1, "quick", "StepFailedError"]
            assert kinds(local, handle.id).count("operation_cancelled") == 3

    asyncio.run(main())


def test_a_thousand_branches(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    async def fetch(n: int) -> int:
        return n

    @app.agent("a")
    async def a(run: Run) -> int:
        total = sum(await asyncio.gather(*[run.step(fetch, n) for n in range(1_000)]))
        await run.wait("go")
        return total

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
        async with executing(app) as local:
            await local.client.signal(handle.id, "go")
            row = await until_state(local, handle.id, "completed", "parked")
            assert local.result_of(row, app.agents["a"]) == 499_500

    asyncio.run(main())


def test_context_variables_belong_to_the_run(tmp_path: Path) -> None:
    from contextvars import ContextVar

    who: ContextVar[str] = ContextVar("who", default="nobody")
    app = app_in(tmp_path)

    async def read() -> str:
        return who.get()

    def read_in_thread() -> str:
        return who.get()

    @app.agent("a")
    async def a(run: Run, name: str) -> list[str]:
        who.set(name)
        return [who.get(), await run.step(read), await run.step(read_in_thread), who.get()]

    async def main() -> None:
        async with executing(app) as local:
            handles = [await local.start("a", name) for name in ("ann", "bob")]
            assert [await h.result() for h in handles] == [["ann"] * 4, ["bob"] * 4]
            assert who.get() == "nobody"

    asyncio.run(main())
