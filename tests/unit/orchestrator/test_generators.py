"""Asynchronous generators: a run's own and the host's are told apart, on one thread."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from interlock import Run
from tests.support.local import app_in, executing, until_state


class Numbers:
    """Generators, and which of them came to their `finally`."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.kept: list[Any] = []

    async def of(self, name: str) -> AsyncIterator[int]:
        try:
            for number in range(3):
                yield number
        finally:
            self.closed.append(name)


async def begin(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
    await anext(numbers)
    return numbers


def test_a_run_that_lets_go_of_a_generator_has_it_closed(tmp_path: Path) -> None:
    app, numbers = app_in(tmp_path), Numbers()

    @app.agent("a")
    async def a(run: Run) -> str:
        async for _ in numbers.of("run"):
            break
        await run.sleep(timedelta(0))
        return "done"

    async def scenario() -> None:
        async with executing(app) as local:
            assert await (await local.start("a")).result() == "done"
            while "run" not in numbers.closed:
                await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_generator_of_code_that_was_torn_down_is_dropped_with_it(tmp_path: Path) -> None:
    """Even one that only the cyclic collector finds, when its run is long forgotten."""
    app, numbers = app_in(tmp_path), Numbers()

    @app.agent("a")
    async def a(run: Run) -> None:
        ring: list[Any] = [await begin(numbers.of("run"))]
        ring.append(ring)
        async for _ in numbers.of("run, looped over"):
            await run.wait("never")

    async def scenario() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert numbers.closed == []


def test_the_hosts_generators_are_closed_when_it_stops(tmp_path: Path) -> None:
    """Those that it began before, while and after runs were executed."""
    app, numbers = app_in(tmp_path), Numbers()

    async def step(name: str) -> str:
        numbers.kept.append(await begin(numbers.of(name)))
        return name

    @app.agent("a")
    async def a(run: Run) -> str:
        numbers.kept.append(await begin(numbers.of("run")))
        return await run.step(step, "step")

    async def scenario() -> None:
        await step("before")
        async with executing(app) as local:
            assert await (await local.start("a")).result() == "step"
            await step("while")
        await step("after")

    asyncio.run(scenario())
    assert sorted(numbers.closed) == ["after", "before", "step", "while"]
