"""What is recorded for an operation always fits what a replay waits for.

Each test lets two things happen in the one moment in which a careless engine would write an event
that its own replay does not understand; then the run is forgotten and continued from its journal.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock import NOT_HAPPENED, App, EffectFailedError, EffectKey, Happened, Run
from tests.support.local import (
    HeldStore,
    app_in,
    crashing,
    executing,
    kinds,
    state_of,
    until,
    until_state,
)


async def continues(app: App, run: str) -> Any:
    """Continue a waiting run from its journal with the signal `end`, and answer its result."""
    async with executing(app) as local:
        await local.client.signal(run, "end")
        row = await until_state(local, run, "completed", "failed", "parked")
        return local.result_of(row, app.agents[row.agent])


def test_a_step_that_answers_its_cancellation_with_a_result(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    began = asyncio.Event()

    async def stubborn() -> str:
        try:
            began.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.02)
        return "partial"

    async def waits() -> None:
        await began.wait()

    @app.agent("a")
    async def a(run: Run) -> int:
        first, _ = await run.race(run.step(stubborn), run.step(waits))
        await run.wait("end")
        return first

    async def before() -> str:
        async with crashing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting", "parked")
            return handle.id

    assert asyncio.run(_both(before, app)) == 1


async def _both(before: Any, app: App) -> Any:
    return await continues(app, await before())


def test_a_step_that_answers_its_cancellation_with_an_error(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    began = asyncio.Event()

    async def stubborn() -> str:
        try:
            began.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("closed badly") from None
        return "never"

    async def waits() -> None:
        await began.wait()

    @app.agent("a")
    async def a(run: Run) -> int:
        first, _ = await run.race(run.step(stubborn), run.step(waits))
        await run.wait("end")
        return first

    async def before() -> str:
        async with crashing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting", "parked")
            return handle.id

    assert asyncio.run(_both(before, app)) == 1


def test_a_timer_that_comes_due_while_its_cancellation_goes_to_disk(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    began = asyncio.Event()
    gate = asyncio.Event()
    held: list[HeldStore] = []

    async def passes() -> None:
        began.set()
        await gate.wait()

    @app.agent("a")
    async def a(run: Run) -> int:
        first, _ = await run.race(run.step(passes), run.sleep(timedelta(milliseconds=300)))
        await run.wait("end")
        return first

    async def before() -> str:
        async with crashing(app, held=held.append) as local:
            handle = await local.start("a")
            loop = asyncio.get_running_loop()
            begun = loop.time()
            await began.wait()
            # The step's result goes to disk and decides the race; the loser's cancellation is held.
            held[0].hold(after=1)
            gate.set()
            await until(held[0].holding.is_set, "the cancellation is on its way")
            await until(lambda: loop.time() > begun + 0.6, "the timer is overdue")
            held[0].release()
            await until_state(local, handle.id, "waiting", "parked")
            return handle.id

    assert asyncio.run(_both(before, app)) == 0


@pytest.mark.parametrize("verdict", ["happened", "given_up"])
def test_a_person_who_resolves_an_effect_while_it_is_looked_up(
    tmp_path: Path, verdict: str
) -> None:
    app = app_in(tmp_path)
    asked = asyncio.Event()
    answer = asyncio.Event()

    async def find(*, key: EffectKey) -> Any:
        asked.set()
        await answer.wait()
        return NOT_HAPPENED if verdict == "given_up" else Happened("found")

    @app.tool(effect="write", recovery="lookup", lookup=find)
    async def write(*, key: EffectKey) -> str:
        raise ConnectionError("the answer was lost")

    @app.agent("a")
    async def a(run: Run) -> str:
        try:
            result = await run.call(write)
        except EffectFailedError as error:
            result = type(error).__name__
        await run.wait("end")
        return result

    async def before() -> str:
        async with crashing(app) as local:
            handle = await local.start("a")
            await asked.wait()
            effect = local.store.effects(run=handle.id)[0]
            await local.client.resolve(effect.effect_key, verdict, result="said", by="ann")
            await until(lambda: "effect_resolved" in kinds(local, handle.id), "resolved")
            answer.set()
            await until_state(local, handle.id, "waiting", "parked")
            return handle.id

    expected = "said" if verdict == "happened" else "EffectFailedError"
    assert asyncio.run(_both(before, app)) == expected


def test_a_thread_that_ends_while_a_person_gives_up_on_it(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    free = asyncio.Event()
    held: list[HeldStore] = []

    def slow() -> str:
        async def wait() -> None:
            while not free.is_set():
                await asyncio.sleep(0.005)

        asyncio.run(wait())
        return "late"

    how: Any = slow
    limit = timedelta(milliseconds=40)
    write = app.tool("write", effect="write", recovery="never", timeout=limit)(how)

    @app.agent("a")
    async def a(run: Run) -> str:
        try:
            result = await run.call(write)
        except EffectFailedError as error:
            result = type(error).__name__
        await run.wait("end")
        return result

    async def before() -> str:
        async with crashing(app, held=held.append) as local:
            handle = await local.start("a")
            await until(lambda: local.store.effects(states=("unknown",)), "unknown")
            effect = local.store.effects(run=handle.id)[0]
            held[0].hold(after=1)  # The message itself passes; what is made of it is held.
            await local.client.resolve(effect.effect_key, "given_up")
            await until(held[0].holding.is_set, "the resolution is on its way to disk")
            free.set()
            before = asyncio.get_running_loop().time()
            await until(lambda: asyncio.get_running_loop().time() > before + 0.1)
            held[0].release()
            await until_state(local, handle.id, "waiting", "parked")
            return handle.id

    result = asyncio.run(_both(before, app))
    assert result in ("EffectFailedError", "late")


def test_a_step_in_flight_while_another_branch_parks_the_run(tmp_path: Path) -> None:
    """The step is not recorded as failed because the run was parked beside it."""
    app = app_in(tmp_path)
    done: list[str] = []

    async def endless() -> str:
        if not done:
            await asyncio.Event().wait()
        return "step"

    async def quick() -> str:
        return "quick"

    polling = [True]

    @app.agent("a")
    async def a(run: Run) -> list[str]:
        async def other() -> str:
            result = await run.step(quick)
            while polling:
                await asyncio.sleep(0)
            return result

        return list(await asyncio.gather(run.step(endless), other()))

    async def main() -> Any:
        async with executing(app) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, "parked")
            polling.clear()
            done.append("may end")
            await local.client.retry(handle.id)
            row = await until_state(local, handle.id, "completed", "failed")
            assert "step_failed" not in kinds(local, handle.id)
            return local.result_of(row, app.agents["a"])

    assert asyncio.run(main()) == ["step", "quick"]


@pytest.mark.parametrize("what", ["step", "effect", "child"])
def test_code_left_behind_by_the_agent_does_nothing_more(tmp_path: Path, what: str) -> None:
    """The agent returns; a task it left behind is closed and its `finally` does nothing durable."""
    app = app_in(tmp_path)
    calls: list[str] = []

    async def clean_up() -> None:
        calls.append("step")

    @app.tool(effect="write", recovery="repeatable")
    async def write() -> None:
        calls.append("effect")

    @app.agent("child")
    async def child(run: Run) -> None:
        calls.append("child")

    @app.agent("a")
    async def a(run: Run) -> str:
        async def behind() -> None:
            try:
                await run.sleep(timedelta(days=1))
            finally:
                if what == "step":
                    await run.step(clean_up)
                elif what == "effect":
                    await run.call(write)
                else:
                    await run.start("child")

        task = asyncio.create_task(behind())
        await run.sleep(timedelta(milliseconds=1))
        return "left" if not task.done() else "done"

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "completed", "failed", "parked")
            assert state_of(local, handle.id).state == "completed"
            # Another run, so that whatever was begun wrongly has had its time.
            await (await local.start("child")).result()
            assert calls == ["child"]
            assert not local.store.effects()

    asyncio.run(main())


def test_an_effect_cancelled_by_code_that_has_returned(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    held: list[HeldStore] = []
    ends, stays, returned = asyncio.Event(), asyncio.Event(), asyncio.Event()
    sent: list[int] = []

    @app.tool(effect="write", recovery="key")
    async def write(n: int, *, key: EffectKey) -> int:
        sent.append(n)
        await (ends if n == 1 else stays).wait()
        returned.set()
        return n

    @app.agent("a")
    async def a(run: Run) -> str:
        cancelled = asyncio.create_task(run.call(write, 1))
        left_behind = asyncio.create_task(run.call(write, 2))
        await run.wait("go")
        cancelled.cancel()
        return f"{cancelled.done()} {left_behind.done()}"

    async def before() -> str:
        async with crashing(app, held=held.append) as local:
            handle = await local.start("a")
            await until(lambda: len(sent) == 2)
            # The signal is on its way to disk; the result of the effect follows it.
            held[0].hold(after=1)
            await local.client.signal(handle.id, "go")
            await until(held[0].holding.is_set)
            ends.set()
            await returned.wait()
            held[0].release()
            await until(lambda: "operation_cancelled" in kinds(local, handle.id))
            order = kinds(local, handle.id)
            assert order.index("effect_completed") < order.index("operation_cancelled")
            return handle.id

    async def main() -> Any:
        run = await before()
        stays.set()
        async with executing(app) as local:
            row = await until_state(local, run, "completed", "failed", "parked")
            return local.result_of(row, app.agents["a"])

    assert asyncio.run(main()) == "False False"
