"""A parked run is not for ever: its deadline cancels it, and so does whoever asks for it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from interlock import App, ExecutorOptions, LocalExecutor, Run, StartOptions
from interlock.errors import ChildFailedError
from interlock.observe.sentence import sentence
from tests.support.local import (
    HeldStore,
    MovableClock,
    app_in,
    executing,
    kinds,
    state_of,
    until,
    until_state,
)

HOUR = timedelta(hours=1)
BY_THEN = StartOptions(deadline=HOUR)


def stuck_in(path: Path) -> App:
    """An app whose agent `stuck` parks, one that starts it, and one that waits."""
    app = app_in(path)

    @app.agent("stuck")
    async def stuck(run: Run, child: bool) -> None:
        if child:
            await run.start("waits")
        await asyncio.Event().wait()

    @app.agent("parent")
    async def parent(run: Run) -> str:
        child = await run.start("stuck", False, options=BY_THEN)
        try:
            await child.result()
        except ChildFailedError as error:
            return error.message
        return ""

    @app.agent("waits")
    async def waits(run: Run) -> None:
        await run.wait("go")

    return app


def told(local: LocalExecutor, run: str, clock: MovableClock) -> str:
    """The run in one sentence."""
    return sentence(local.store, state_of(local, run), clock.now_us())


def test_a_parked_run_does_not_outlive_its_deadline(tmp_path: Path) -> None:
    app, clock = stuck_in(tmp_path), MovableClock()

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("stuck", True, BY_THEN)
            row = await until_state(local, handle.id, "parked")
            assert row.wake_at_us == row.deadline_at_us
            assert "if it is not finished by" in told(local, handle.id, clock)
            (child,) = local.store.open_children(handle.id)
            clock.move(HOUR)
            row = await until_state(local, handle.id, "cancelled")
            assert row.reason == "deadline"
            await until_state(local, child.id, "cancelled")

    asyncio.run(main())


def test_the_deadline_of_a_parked_child_is_told_to_its_parent(tmp_path: Path) -> None:
    app, clock = stuck_in(tmp_path), MovableClock()

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("parent")
            await until_state(local, handle.id, "waiting")
            (child,) = local.store.open_children(handle.id)
            await until_state(local, child.id, "parked")
            clock.move(HOUR)
            assert "is cancelled: deadline" in await handle.result()

    asyncio.run(main())


def test_a_parked_run_whose_deadline_passes_while_no_process_runs(tmp_path: Path) -> None:
    app, clock = stuck_in(tmp_path), MovableClock()

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("stuck", False, BY_THEN)
            await until_state(local, handle.id, "parked")
        clock.move(HOUR)
        async with executing(app, clock=clock) as local:
            row = await until_state(local, handle.id, "cancelled")
            assert row.reason == "deadline"

    asyncio.run(main())


def test_a_process_that_ends_while_a_parked_run_is_cancelled(tmp_path: Path) -> None:
    """The end is on its way to disk and nobody hears of it: the next process finds one end."""
    app, clock, stores = stuck_in(tmp_path), MovableClock(), list[HeldStore]()

    async def main() -> None:
        async with executing(app, clock=clock, held=stores.append) as local:
            handle = await local.start("parent")
            await until_state(local, handle.id, "waiting")
            (child,) = local.store.open_children(handle.id)
            await until_state(local, child.id, "parked")
            stores[0].hold()
            clock.move(HOUR)
            await until(stores[0].holding.is_set)
            local.executor.stop()
            stores[0].release()
        async with executing(app, clock=clock) as local:
            await until_state(local, handle.id, "completed")
            assert kinds(local, child.id).count("run_cancelled") == 1

    asyncio.run(main())


def test_a_run_that_is_retried_after_its_deadline_is_cancelled(tmp_path: Path) -> None:
    """Who is earlier wins; both are told, and the run does not stay."""
    app, clock = stuck_in(tmp_path), MovableClock()

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("stuck", False, BY_THEN)
            await until_state(local, handle.id, "parked")
        clock.move(HOUR)
        async with app.client() as client:
            await client.retry(handle.id)
        async with executing(app, clock=clock) as local:
            row = await until_state(local, handle.id, "cancelled")
            assert row.reason == "deadline"
            assert "run_retried" in kinds(local, handle.id)

    asyncio.run(main())


def test_a_cancellation_that_comes_while_the_run_is_being_parked_is_not_lost(
    tmp_path: Path,
) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        async def cancel_in_the_next_group() -> None:
            loop = asyncio.get_running_loop()
            loop.call_soon(lambda: loop.create_task(clients[0].client.cancel(run.id)))

        await run.step(cancel_in_the_next_group)
        await asyncio.Event().wait()

    clients: list[LocalExecutor] = []

    async def main() -> None:
        async with app.executor(mode="inline") as local:
            clients.append(local)
            handle = await local.start("a")
            await until_state(local, handle.id, "cancelled", seconds=10)

    asyncio.run(main())


@pytest.mark.parametrize("state", ["queued", "waiting", "parked"])
@pytest.mark.parametrize("door", ["cancel", "deadline"])
def test_a_run_of_an_agent_that_is_not_declared_can_be_ended(
    tmp_path: Path, state: str, door: str
) -> None:
    app, clock = stuck_in(tmp_path), MovableClock()

    async def main() -> None:
        nothing = ExecutorOptions(concurrency=0) if state == "queued" else None
        async with executing(app, clock=clock, options=nothing) as local:
            handle = await local.start("waits", options=BY_THEN)
            await until_state(local, handle.id, "queued" if state == "queued" else "waiting")
        if state == "parked":
            async with executing(app_in(tmp_path), clock=clock) as local:
                await local.client.signal(handle.id, "go")
                await until_state(local, handle.id, "parked")
        if door == "cancel":
            async with app.client() as client:
                await client.cancel(handle.id)
        else:
            clock.move(HOUR)
        async with executing(app_in(tmp_path), clock=clock) as local:
            row = await until_state(local, handle.id, "cancelled", seconds=10)
            assert row.reason == ("cancelled" if door == "cancel" else "deadline")

    asyncio.run(main())


def test_a_run_that_waits_for_its_children_does_not_outlive_its_deadline(tmp_path: Path) -> None:
    """Its code has ended; close policy `wait` keeps it."""
    app, clock = stuck_in(tmp_path), MovableClock()

    @app.agent("keeps")
    async def keeps(run: Run) -> int:
        await run.start("waits", close="wait")
        return 1

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("keeps", options=BY_THEN)
            row = await until_state(local, handle.id, "waiting")
            assert row.wake_at_us == row.deadline_at_us
            (child,) = local.store.open_children(handle.id)
            clock.move(HOUR)
            await until_state(local, child.id, "cancelled")
            await until_state(local, handle.id, "completed", "cancelled")

    asyncio.run(main())
