"""Child runs: their result, their failure, and what becomes of them when the parent ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock import ChildFailedError, Run, StartOptions
from interlock.errors import InterlockError, InvalidInputError, NotFoundError
from interlock.journal.rows import RunFilter, RunRow
from tests.support.local import (
    MovableClock,
    app_in,
    crashing,
    executing,
    kinds,
    state_of,
    until,
    until_state,
)

DAY = timedelta(days=1)


def children_of(local: Any, run: str) -> list[RunRow]:
    return local.store.runs(RunFilter(parent=run))


def test_a_result_may_be_awaited_twice_one_after_the_other(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run, n: int) -> int:
        await run.sleep(timedelta(milliseconds=1))
        return n * 2

    @app.agent("a")
    async def a(run: Run) -> list[int]:
        started = await run.start("child", 4)
        return [await started.result(), await started.result()]

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            assert await handle.result() == [8, 8]

    asyncio.run(main())


def test_a_result_may_be_awaited_by_two_at_once(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run) -> int:
        return await run.wait("n", type=int)

    @app.agent("a")
    async def a(run: Run) -> list[int]:
        started = await run.start("child")
        return list(await asyncio.gather(started.result(), started.result()))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            (one,) = children_of(local, handle.id)
            await local.client.signal(one.id, "n", 3)
            row = await until_state(local, handle.id, "completed", "failed", seconds=10)
            assert local.result_of(row, app.agents["a"]) == [3, 3]

    asyncio.run(main())


def test_a_failing_child_is_an_error_of_its_result(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    class NoStockError(Exception):
        pass

    @app.agent("child")
    async def child(run: Run) -> None:
        raise NoStockError("sold out")

    @app.agent("a")
    async def a(run: Run) -> list[Any]:
        started = await run.start("child")
        told: list[Any] = []
        for _ in range(2):
            try:
                await started.result()
            except ChildFailedError as error:
                told.append([error.was(NoStockError), "sold out" in error.message])
        return told

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            assert await handle.result() == [[True, True]] * 2
            (one,) = children_of(local, handle.id)
            assert one.state == "failed"

    asyncio.run(main())


def test_a_child_that_is_cancelled_is_an_error_of_its_result(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run) -> None:
        await run.wait("never")

    @app.agent("a")
    async def a(run: Run) -> str:
        started = await run.start("child")
        try:
            await started.result()
        except ChildFailedError as error:
            return error.message
        return ""

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            (one,) = children_of(local, handle.id)
            await local.client.cancel(one.id, reason="not needed")
            assert "cancelled" in (await handle.result())
            assert "not needed" in (await handle.result())

    asyncio.run(main())


def test_wrong_children_are_refused_before_they_exist(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run, n: int) -> int:
        return n

    @app.agent("a")
    async def a(run: Run) -> list[str]:
        told: list[str] = []
        for name, given in (("nobody", 1), ("child", "many")):
            try:
                await run.start(name, given)
            except (NotFoundError, InvalidInputError) as error:
                told.append(error.code)
        return told

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            assert await handle.result() == ["not_found", "invalid_input"]
            assert children_of(local, handle.id) == []

    asyncio.run(main())


@pytest.mark.parametrize("ends", ["returns", "raises", "is cancelled"])
def test_close_policy_cancel(tmp_path: Path, ends: str) -> None:
    app = app_in(tmp_path)
    cleaned: list[str] = []

    async def clean(run: str) -> None:
        cleaned.append(run)

    @app.agent("child")
    async def child(run: Run) -> None:
        try:
            await run.wait("never")
        finally:
            await run.step(clean, run.id)

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.start("child")
        await run.wait("go")
        if ends == "raises":
            raise ValueError("no")

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            (one,) = children_of(local, handle.id)
            await until_state(local, one.id, "waiting")
            if ends == "is cancelled":
                await local.client.cancel(handle.id)
            else:
                await local.client.signal(handle.id, "go")
            await until_state(local, one.id, "cancelled")
            assert cleaned == [one.id]
            assert state_of(local, one.id).reason == "parent ended"

    asyncio.run(main())


def test_close_policy_wait(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run) -> None:
        await run.wait("go")

    @app.agent("a")
    async def a(run: Run) -> int:
        await run.start("child", close="wait")
        await run.start("child", close="wait")
        return 5

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, "waiting")
            assert "child runs" in row.waits[0]["what"]
            one, two = children_of(local, handle.id)
            await until_state(local, one.id, "waiting")
            await local.client.signal(one.id, "go")
            await until_state(local, one.id, "completed")
        async with executing(app) as local:
            assert state_of(local, handle.id).state in ("waiting", "running")
            await local.client.signal(two.id, "go")
            row = await until_state(local, handle.id, "completed")
            assert local.result_of(row, app.agents["a"]) == 5
            assert state_of(local, two.id).updated_at_us <= row.updated_at_us

    asyncio.run(main())


def test_close_policy_abandon(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run) -> int:
        return await run.wait("n", type=int)

    @app.agent("a")
    async def a(run: Run) -> str:
        return (await run.start("child", close="abandon")).id

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            child_id = await handle.result()
            await until_state(local, child_id, "waiting")
            await local.client.signal(child_id, "n", 9)
            row = await until_state(local, child_id, "completed")
            assert local.result_of(row, app.agents["child"]) == 9

    asyncio.run(main())


def test_cancelling_a_parent_that_waits_for_its_child(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run) -> None:
        await run.wait("never")

    @app.agent("a")
    async def a(run: Run) -> None:
        await (await run.start("child")).result()

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            await local.client.cancel(handle.id, by="ann")
            await until_state(local, handle.id, "cancelled")
            (one,) = children_of(local, handle.id)
            await until_state(local, one.id, "cancelled")

    asyncio.run(main())


def test_cancelling_a_parked_parent_cancels_its_children(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run) -> None:
        await run.wait("never")

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.start("child")
        await run.wait("go")
        await asyncio.Event().wait()

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            await local.client.signal(handle.id, "go")
            await until_state(local, handle.id, "parked")
            await local.client.cancel(handle.id)
            await until_state(local, handle.id, "cancelled")
            (one,) = children_of(local, handle.id)
            await until_state(local, one.id, "cancelled", seconds=10)

    asyncio.run(main())


@pytest.mark.parametrize("policy", ["wait", "cancel"])
def test_close_policies_hold_over_generations(tmp_path: Path, policy: Any) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run) -> None:
        await run.wait("go")

    @app.agent("a")
    async def a(run: Run, turn: int) -> int:
        if turn == 0:
            await run.start("child", close=policy)
            await run.continue_as_new(1)
        return turn

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a", 0)
            await until(lambda: children_of(local, handle.id))
            (one,) = children_of(local, handle.id)
            if policy == "wait":
                await until_state(local, one.id, "waiting")
                await until_state(local, handle.id, "waiting", "completed")
                assert state_of(local, handle.id).state == "waiting"
                await local.client.signal(one.id, "go")
                await until_state(local, handle.id, "completed")
            else:
                await until_state(local, one.id, "cancelled")
                await until_state(local, handle.id, "completed")

    asyncio.run(main())


def test_cancelling_a_parent_whose_code_has_ended_cancels_what_it_waits_for(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run) -> None:
        await run.wait("go")

    @app.agent("a")
    async def a(run: Run) -> str:
        await run.start("child", close="wait")
        return "done"

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until(lambda: children_of(local, handle.id))
            (one,) = children_of(local, handle.id)
            await until_state(local, handle.id, "waiting")
            await local.client.cancel(handle.id)
            await until_state(local, one.id, "cancelled")
            await until_state(local, handle.id, "completed")

    asyncio.run(main())


def test_a_child_belongs_to_its_parents_tenant(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run) -> str:
        return run.tenant

    @app.agent("a")
    async def a(run: Run) -> list[str]:
        plain = await run.start("child")
        urgent = await run.start("child", options=StartOptions(priority=5))
        return [await plain.result(), await urgent.result()]

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a", options=StartOptions(tenant="acme"))
            assert await handle.result() == ["acme", "acme"]

    asyncio.run(main())


def test_a_child_with_an_idempotency_key_is_started_or_refused(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run) -> int:
        return 1

    @app.agent("a")
    async def a(run: Run) -> Any:
        try:
            started = await run.start("child", options=StartOptions(idempotency_key="k"))
        except InterlockError as error:
            return error.code
        return await started.result()

    async def main() -> None:
        async with executing(app) as local:
            handle = await asyncio.wait_for(local.start("a"), 10)
            row = await until_state(local, handle.id, "completed", "failed", "parked", seconds=10)
            assert row.state == "completed"

    asyncio.run(main())


def test_a_child_whose_input_differs_on_replay_parks_the_parent(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    given = [1]

    @app.agent("child")
    async def child(run: Run, n: int) -> int:
        return n

    @app.agent("a")
    async def a(run: Run) -> int:
        started = await run.start("child", given[0])
        await run.wait("go")
        return await started.result()

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
        given[0] = 2
        async with executing(app) as local:
            await local.client.signal(handle.id, "go")
            row = await until_state(local, handle.id, "parked", "completed")
            assert row.state == "parked"

    asyncio.run(main())


def test_a_thousand_days_pass_for_a_waiting_parent(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()

    @app.agent("child")
    async def child(run: Run) -> str:
        await run.sleep(500 * DAY)
        return "late"

    @app.agent("a")
    async def a(run: Run) -> str:
        started = await run.start("child")
        return (await run.race(started.result(), run.sleep(1000 * DAY)))[1] or "never"

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            (one,) = children_of(local, handle.id)
            await until_state(local, one.id, "waiting")
            clock.move(501 * DAY)
            row = await until_state(local, handle.id, "completed")
            assert local.result_of(row, app.agents["a"]) == "late"
            assert "timer_fired" not in kinds(local, handle.id)

    asyncio.run(main())
