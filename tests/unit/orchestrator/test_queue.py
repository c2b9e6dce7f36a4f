"""The queue: how many execute at once, who is next, not before when, and until when."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock import App, ExecutorOptions, LocalExecutor, Run, RunFailedError, StartOptions
from interlock.errors import InvalidInputError
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

HOUR = timedelta(hours=1)


class Workshop:
    """An agent whose runs hold their place in a step until the test lets one go."""

    def __init__(self, app: App, name: str = "work", concurrency: int | None = None) -> None:
        self.begun: list[str] = []
        self.inside: set[str] = set()
        self.most = 0
        self._gates: dict[str, asyncio.Event] = {}

        async def hold(label: str) -> None:
            self.begun.append(label)
            self.inside.add(label)
            self.most = max(self.most, len(self.inside))
            await self._gate(label).wait()
            self.inside.remove(label)

        @app.agent(name, concurrency=concurrency)
        async def work(run: Run, label: str) -> str:
            await run.step(hold, label)
            return label

    def _gate(self, label: str) -> asyncio.Event:
        return self._gates.setdefault(label, asyncio.Event())

    def let_go(self, label: str) -> None:
        """Let this run's step end."""
        self._gate(label).set()

    async def drained(self, count: int, places: int = 1) -> None:
        """Let `count` runs go one at a time, in the order in which they began.

        Each goes when all `places` are taken again, so that it frees exactly one.
        """
        for index in range(count):
            begun = min(count, index + places)
            await until(lambda begun=begun: len(self.begun) >= begun, f"{begun} begun")
            self.let_go(self.begun[index])


async def start(local: LocalExecutor, label: str, agent: str = "work", **options: Any) -> Any:
    return await local.start(agent, label, StartOptions(**options))


def test_no_more_runs_execute_than_the_executor_allows(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    shop = Workshop(app)

    async def main() -> None:
        async with executing(app, options=ExecutorOptions(concurrency=3)) as local:
            handles = [await start(local, f"r{i}") for i in range(9)]
            await shop.drained(9, places=3)
            assert [await h.result() for h in handles] == [f"r{i}" for i in range(9)]
            assert shop.most == 3
            assert shop.begun == [f"r{i}" for i in range(9)], "first come, first served"

    asyncio.run(main())


def test_an_agents_limit_leaves_the_others_alone(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    few, many = Workshop(app, "few", concurrency=2), Workshop(app, "many")

    async def main() -> None:
        async with executing(app, options=ExecutorOptions(concurrency=10)) as local:
            for i in range(5):
                await start(local, f"f{i}", "few")
            for i in range(5):
                await start(local, f"m{i}", "many")
            await until(lambda: len(many.inside) == 5)
            assert len(few.inside) == 2
            await few.drained(5, places=2)
            await many.drained(5, places=5)
            assert few.most == 2

    asyncio.run(main())


def test_waiting_runs_occupy_no_place(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("waits", concurrency=1)
    async def waits(run: Run) -> Any:
        return await run.wait("go")

    async def main() -> None:
        async with executing(app, options=ExecutorOptions(concurrency=1)) as local:
            handles = [await local.start("waits") for _ in range(10)]
            for handle in handles:
                await until_state(local, handle.id, "waiting")
            for index, handle in enumerate(handles):
                await local.client.signal(handle.id, "go", index)
            assert [await h.result() for h in handles] == list(range(10))

    asyncio.run(main())


def test_higher_priority_first(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    shop = Workshop(app)

    async def main() -> None:
        async with executing(app, options=ExecutorOptions(concurrency=1)) as local:
            await start(local, "first")
            await until(lambda: shop.begun)
            for label, priority in (("low", -5), ("plain", 0), ("high", 7), ("highest", 1000)):
                await start(local, label, priority=priority)
            await shop.drained(5)
            assert shop.begun == ["first", "highest", "high", "plain", "low"]

    asyncio.run(main())


def test_a_tenant_with_many_runs_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    shop = Workshop(app)

    async def main() -> None:
        async with executing(app, options=ExecutorOptions(concurrency=4)) as local:
            for i in range(12):
                await start(local, f"big{i}", tenant="big")
            for tenant in ("small", "tiny"):
                for i in range(3):
                    await start(local, f"{tenant}{i}", tenant=tenant)
            await shop.drained(18, places=4)
            next_eight = Counter(label.rstrip("0123456789") for label in shop.begun[4:12])
            # Four places for three tenants: each gets its share of the places that become free.
            assert next_eight["small"] >= 2, shop.begun
            assert next_eight["tiny"] >= 2, shop.begun

    asyncio.run(main())


def test_fair_share_is_kept_within_a_priority_only(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    shop = Workshop(app)

    async def main() -> None:
        async with executing(app, options=ExecutorOptions(concurrency=1)) as local:
            await start(local, "first")
            await until(lambda: shop.begun)
            await start(local, "other", tenant="other")
            for i in range(3):
                await start(local, f"urgent{i}", tenant="big", priority=1)
            await shop.drained(5)
            assert shop.begun == ["first", "urgent0", "urgent1", "urgent2", "other"]

    asyncio.run(main())


@pytest.mark.parametrize("form", ["duration", "moment"])
def test_not_before_its_moment(tmp_path: Path, form: str) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()

    @app.agent("a")
    async def a(run: Run) -> int:
        return 1

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            moment: Any = HOUR if form == "duration" else datetime.now(UTC) + HOUR
            later = await local.start("a", options=StartOptions(start_after=moment))
            assert await (await local.start("a")).result() == 1
            assert state_of(local, later.id).state == "queued"
            clock.move(HOUR)
            assert await later.result() == 1

    asyncio.run(main())


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"start_after=.*time zone"):
        StartOptions(start_after=datetime(2026, 1, 1))  # noqa: DTZ001 - it is the point
    with pytest.raises(InvalidInputError, match=r"deadline=.*time zone"):
        StartOptions(deadline=datetime(2026, 1, 1))  # noqa: DTZ001 - it is the point


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", 1001),
        ("priority", -1001),
        ("tenant", ""),
        ("tenant", "t" * 201),
        ("idempotency_key", ""),
        ("idempotency_key", "k" * 256),
    ],
)
def test_start_options_out_of_range_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match=field):
        StartOptions(**{field: value})


def test_a_run_in_the_queue_does_not_outlive_its_deadline(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()

    @app.agent("a")
    async def a(run: Run) -> None: ...

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            options = StartOptions(start_after=2 * HOUR, deadline=HOUR)
            handle = await local.start("a", options=options)
            clock.move(HOUR)
            row = await handle.row()
            assert (row.state, row.reason) == ("cancelled", "deadline")
            assert "run_claimed" in kinds(local, handle.id), "the end has an owner"

    asyncio.run(main())


def test_a_waiting_run_does_not_outlive_its_deadline(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()
    cleaned: list[str] = []

    async def clean(run: str) -> None:
        cleaned.append(run)

    @app.agent("a")
    async def a(run: Run) -> None:
        try:
            await run.wait("never")
        finally:
            await run.step(clean, run.id)

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("a", options=StartOptions(deadline=HOUR))
            await until_state(local, handle.id, "waiting")
            clock.move(HOUR)
            with pytest.raises(RunFailedError, match="cancelled: deadline"):
                await handle.result()
            assert cleaned == [handle.id]

    asyncio.run(main())


def test_an_executing_run_does_not_outlive_its_deadline(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    shop = Workshop(app)

    async def main() -> None:
        async with executing(app) as local:
            handle = await start(local, "r", deadline=timedelta(milliseconds=50))
            row = await handle.row()
            assert (row.state, row.reason) == ("cancelled", "deadline")
            assert shop.begun == ["r"]

    asyncio.run(main())


def test_a_deadline_passes_while_no_process_runs(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()
    shop = Workshop(app)

    async def main() -> None:
        async with crashing(app, clock=clock) as local:
            handle = await start(local, "r", deadline=HOUR)
            await until(lambda: shop.begun)
        clock.move(2 * HOUR)
        async with executing(app, clock=clock) as local:
            row = await until_state(local, handle.id, "cancelled")
            assert row.reason == "deadline"

    asyncio.run(main())


@pytest.mark.parametrize("door", ["cancel", "deadline"])
def test_a_queued_run_ends_though_its_agent_has_no_place_free(tmp_path: Path, door: str) -> None:
    """Who leaves the queue needs no place to execute."""
    app = app_in(tmp_path)
    clock = MovableClock()
    shop = Workshop(app, concurrency=1)

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            await start(local, "holds")
            await until(lambda: shop.begun)
            queued = await start(local, "queued", deadline=HOUR)
            if door == "cancel":
                await local.client.cancel(queued.id)
            else:
                clock.move(HOUR)
            row = await until_state(local, queued.id, "cancelled", seconds=10)
            assert row.state == "cancelled"
            assert shop.begun == ["holds"]
            shop.let_go("holds")

    asyncio.run(main())


def test_interrupted_runs_come_before_the_queue(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    shop = Workshop(app)

    async def main() -> None:
        options = ExecutorOptions(concurrency=1)
        async with crashing(app, options=options) as local:
            await start(local, "interrupted", priority=-1000)
            await until(lambda: shop.begun)
            await start(local, "queued", priority=1000)
        async with executing(app, options=options) as local:
            await until(lambda: len(shop.begun) == 2)
            shop.let_go("interrupted")
            await until(lambda: len(shop.begun) == 3)
            shop.let_go("queued")
            assert shop.begun == ["interrupted", "interrupted", "queued"]

    asyncio.run(main())


def test_a_run_of_an_agent_that_is_not_declared_is_parked_and_can_be_retried(
    tmp_path: Path,
) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> int:
        await run.wait("go")
        return 1

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
        async with executing(app_in(tmp_path)) as local:
            await local.client.signal(handle.id, "go")
            row = await until_state(local, handle.id, "parked")
            assert row.reason == "unknown_agent"
            assert "Deploy it, then retry" in local.client.result(row)["message"]
        async with executing(app) as local:
            await local.client.retry(handle.id)
            await until_state(local, handle.id, "completed")

    asyncio.run(main())
