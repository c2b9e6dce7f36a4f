"""Whoever waits for a run is given the row that the store has."""

from __future__ import annotations

import asyncio
import gc
from datetime import timedelta
from pathlib import Path

import pytest

from interlock import App, LocalExecutor, Run
from interlock.journal.journal import Mode
from interlock.journal.rows import RunFilter
from interlock.orchestrator.collector import rarer_collections


def declared(path: Path) -> App:
    app = App("t", store=f"sqlite:///{path}/j.db")

    @app.agent("good")
    async def good(run: Run) -> str:
        run.outcome("resolved")
        return "done"

    @app.agent("bad")
    async def bad(run: Run) -> None:
        raise ValueError("no")

    @app.agent("asleep")
    async def asleep(run: Run) -> None:
        await run.sleep(timedelta(hours=1))

    @app.agent("parent")
    async def parent(run: Run) -> str:
        child = await run.start("good")
        return str(await child.result())

    return app


@pytest.mark.parametrize("agent", ["good", "bad", "asleep", "parent"])
def test_the_row_that_is_told_is_the_row_that_is_stored(agent: str, tmp_path: Path) -> None:
    app = declared(tmp_path)

    async def play() -> None:
        async with app.executor() as executor:
            handle = await executor.start(agent)
            if agent == "asleep":
                await executor.client.cancel(handle.id)
            told = await handle.row()
            assert told == executor.store.run(handle.id)
            assert told.state == {"bad": "failed", "asleep": "cancelled"}.get(agent, "completed")

    asyncio.run(play())


@pytest.mark.parametrize("mode", ["split", "thread", "inline"])
def test_who_was_told_of_an_end_reads_it_as_ended(mode: Mode, tmp_path: Path) -> None:
    """Reads come from another connection than the writer's: it must never be behind an answer."""
    app = declared(tmp_path)

    async def told_and_read(executor: LocalExecutor) -> None:
        told = await (await executor.start("parent")).row()
        listed = executor.store.runs(RunFilter(states=("completed",), limit=500))
        assert told in listed

    async def play() -> None:
        async with app.executor(mode=mode) as executor:
            await asyncio.gather(*(told_and_read(executor) for _ in range(100)))

    asyncio.run(play())


def test_collections_are_rarer_while_runs_execute_and_as_before_afterwards() -> None:
    before = gc.get_threshold()
    with rarer_collections():
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before


def test_a_collector_that_is_turned_off_stays_off() -> None:
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        with rarer_collections():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
