"""Each state answers in one sentence: what, since when, who, and what happens at the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from interlock import App, Run
from interlock.app import LocalExecutor
from interlock.journal.rows import RunRow
from interlock.observe.explain import explain
from interlock.observe.sentence import sentence
from interlock.observe.view import run_view
from interlock.orchestrator.start import StartOptions

Check = Callable[[LocalExecutor], Awaitable[None]]
HOUR_US = 3_600_000_000


def build(folder: Path) -> App:
    """An app whose agents stop in every way there is."""
    app = App("told", store=f"sqlite:///{folder / 'journal.db'}")
    declare_waiting(app)
    declare_ending(app)
    return app


def declare_waiting(app: App) -> None:
    """Agents that wait."""

    @app.agent("signal")
    async def signal(run: Run) -> None:
        await run.wait("go")

    @app.agent("signal_until")
    async def signal_until(run: Run) -> None:
        await run.wait("go", timeout=timedelta(hours=1))

    @app.agent("sleep")
    async def sleep(run: Run) -> None:
        await run.sleep(timedelta(hours=2))

    @app.agent("limited")
    async def limited(run: Run) -> None:
        async with run.timeout(timedelta(hours=3)):
            await run.wait("go")

    @app.agent("ask")
    async def ask(run: Run) -> None:
        await run.escalate("may I?", to="boss", deadline=timedelta(hours=4))

    @app.agent("parent")
    async def parent(run: Run) -> None:
        await (await run.start("signal")).result()

    @app.agent("many")
    async def many(run: Run) -> None:
        await asyncio.gather(*(run.wait(f"s{n}") for n in range(8)))

    @app.tool(effect="write", recovery="never")
    async def pay(amount: int) -> str:
        raise RuntimeError("nobody knows")

    @app.agent("payer")
    async def payer(run: Run) -> None:
        await run.call(pay, 3)


def declare_ending(app: App) -> None:
    """Agents that come to an end, and one that cannot."""

    @app.agent("stuck")
    async def stuck(run: Run) -> None:
        await asyncio.Event().wait()

    @app.agent("failer")
    async def failer(run: Run) -> None:
        raise ValueError("it cannot be done")

    @app.agent("done")
    async def done(run: Run) -> str:
        run.outcome("resolved")
        return "well"


def told(
    folder: Path, agent: str, state: str, *, options: StartOptions | None = None, later_us: int = 0
) -> str:
    """The sentence of a run of `agent` once it is in `state`."""

    async def watch() -> str:
        async with build(folder).executor() as local:
            handle = await local.start(agent, None, options)
            row = await settled(local, handle.id, state)
            return sentence(local.store, row, row.updated_at_us + later_us)

    return asyncio.run(watch())


async def settled(local: LocalExecutor, run: str, state: str) -> RunRow:
    """The run's row as soon as it is in a state."""
    async with asyncio.timeout(60):
        while True:
            row = local.client.run(run)
            if row.state == state and (row.state != "waiting" or row.waits):
                return row
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("agent", "parts"),
    [
        ("signal", ["waits for signal 'go' since", "whoever sends signal 'go' can unblock it",
                    "`interlock signal run_", "it has no deadline"]),
        ("signal_until", ["the wait times out and the code goes on without the signal at", "(in "]),
        ("sleep", ["time unblocks it", "it goes on by itself at", "(in "]),
        ("limited", ["waits for 2 things: (1)", "; (2)", "a time limit of its own code",
                     "the code that it limits is cancelled at"]),
        ("ask", ["boss can unblock it (`interlock decide task_", "the question expires"]),
        ("parent", ["waits for child run run_", "unblocks it by ending"]),
        ("many", ["waits for 8 things", "(5) signal", "and 3 more"]),
    ],
)  # fmt: skip
def test_a_waiting_run(tmp_path: Path, agent: str, parts: list[str]) -> None:
    said = told(tmp_path, agent, "waiting")
    assert said.startswith("Run run_")
    assert said.endswith(".")
    assert f"of agent {agent!r} waits for" in said
    assert [part for part in parts if part not in said] == [], said
    assert "UTC (0 ms ago)" in said or "ms ago" in said or "seconds ago" in said


def test_a_wait_whose_time_has_passed_says_that_it_needs_an_executor(tmp_path: Path) -> None:
    said = told(tmp_path, "sleep", "waiting", later_us=5 * HOUR_US)
    assert "as soon as an executor is up" in said


def test_an_effect_that_only_a_person_knows(tmp_path: Path) -> None:
    async def watch() -> str:
        async with build(tmp_path).executor() as local:
            handle = await local.start("payer")
            async with asyncio.timeout(60):
                while not local.store.inbox():
                    await asyncio.sleep(0.005)
            row = await settled(local, handle.id, "waiting")
            return sentence(local.store, row, row.updated_at_us)

    said = asyncio.run(watch())
    assert "waits for a person to say whether effect effect_" in said
    assert "of tool 'pay' happened since" in said
    assert "--happened`, `--not-happened` or `--give-up`" in said


def test_a_deadline_is_said_before_and_after(tmp_path: Path) -> None:
    options = StartOptions(deadline=timedelta(hours=1))
    said = told(tmp_path, "signal", "waiting", options=options)
    assert "if it is not finished by" in said
    assert "it is cancelled" in said
    late = told(tmp_path, "signal", "waiting", options=options, later_us=2 * HOUR_US)
    assert "its deadline was" in late


def test_a_queued_run(tmp_path: Path) -> None:
    async def queue(options: StartOptions) -> tuple[str, str]:
        async with build(tmp_path).client() as client:
            run = client.run((await client.start("done", None, options)).run)
            store = client.journal.store
            return tuple(
                sentence(store, run, run.created_at_us + later) for later in (0, 9 * HOUR_US)
            )  # type: ignore[return-value]

    now, _ = asyncio.run(queue(StartOptions()))
    assert "is queued since" in now
    assert "`interlock serve`" in now
    before, after = asyncio.run(queue(StartOptions(start_after=timedelta(hours=8))))
    assert "not before" in before
    assert "starts when an executor has a place" in after


@pytest.mark.parametrize(
    ("agent", "state", "parts"),
    [
        ("stuck", "parked", ["is parked since", "interlock retry", "interlock cancel",
                             "nothing happens by itself", "asyncio.Event"]),
        ("failer", "failed", ["failed at", "'ValueError'", "(it cannot be done)"]),
        ("done", "completed", ["completed with outcome 'resolved' at", "after it was queued"]),
    ],
)  # fmt: skip
def test_a_run_that_came_to_an_end(
    tmp_path: Path, agent: str, state: str, parts: list[str]
) -> None:
    said = told(tmp_path, agent, state)
    assert [part for part in parts if part not in said] == [], said


def test_a_parked_run_says_what_its_deadline_does(tmp_path: Path) -> None:
    async def watch() -> str:
        async with build(tmp_path).executor() as local:
            handle = await local.start("stuck", options=StartOptions(deadline=timedelta(hours=8)))
            row = await settled(local, handle.id, "parked")
            return sentence(local.store, row, row.updated_at_us)

    said = asyncio.run(watch())
    assert "nothing happens by itself" not in said
    assert "if it is not finished by" in said
    assert said.endswith("it is cancelled.")


def test_a_cancelled_run_names_the_effects_that_it_left_unknown(tmp_path: Path) -> None:
    async def watch() -> tuple[str, str]:
        app = build(tmp_path)

        @app.tool(effect="write", recovery="never")
        async def transfer() -> str:
            raise ConnectionError

        @app.agent("leaves")
        async def leaves(run: Run) -> None:
            asyncio.get_running_loop().create_task(run.call(transfer))
            await run.wait("go")
            while True:
                await asyncio.sleep(0)

        async with app.executor() as local:
            run = (await local.start("leaves")).id
            async with asyncio.timeout(60):
                while not local.store.inbox():
                    await asyncio.sleep(0.005)
            await local.client.signal(run, "go")
            await settled(local, run, "parked")
            await local.client.cancel(run)
            row = await settled(local, run, "cancelled")
            (effect,) = local.store.effects(run=run)
            return effect.effect_key, sentence(local.store, row, row.updated_at_us)

    key, said = asyncio.run(watch())
    assert f"a person can say so: `interlock effects resolve {key}` ('transfer')" in said


def test_a_cancelled_run_and_a_message_that_waits(tmp_path: Path) -> None:
    async def watch() -> tuple[str, str]:
        app = build(tmp_path)
        async with app.executor() as local:
            run = (await local.start("signal")).id
            await settled(local, run, "waiting")
        async with app.client() as client:
            await client.cancel(run, reason="enough", by="ana")
            woken = client.run(run)
            before = sentence(client.journal.store, woken, woken.updated_at_us)
        async with app.executor() as local:
            row = await settled(local, run, "cancelled")
            return before, sentence(local.store, row, row.updated_at_us)

    before, after = asyncio.run(watch())
    assert "a message has come and the next executor goes on with it" in before
    assert "was cancelled at" in after
    assert after.endswith("enough.")


def test_a_running_run_names_its_worker_and_what_it_waits_for(tmp_path: Path) -> None:
    async def watch() -> str:
        app = build(tmp_path)
        release = asyncio.Event()

        @app.tool(effect="write", recovery="repeatable")
        async def slow() -> str:
            await release.wait()
            return "done"

        @app.agent("busy")
        async def busy(run: Run) -> str:
            return await run.call(slow)

        async with app.executor() as local:
            handle = await local.start("busy")
            async with asyncio.timeout(60):
                while not local.store.effects(("intended",)):
                    await asyncio.sleep(0.005)
            row = local.client.run(handle.id)
            said = sentence(local.store, row, row.updated_at_us)
            release.set()
            await handle.result()
            return said

    said = asyncio.run(watch())
    assert "is being executed by worker 'local' since" in said
    assert "of tool 'slow'" in said
    assert "the next executor goes on with it" in said


def test_the_explanation_and_the_view_say_the_same(tmp_path: Path) -> None:
    async def watch() -> None:
        async with build(tmp_path).executor() as local:
            handle = await local.start("done")
            await handle.result()
            row = local.client.run(handle.id)
            now_us = row.updated_at_us
            explained = explain(local.store, row.id, now_us)
            view = run_view(local.store, row, now_us)
            assert explained.sentence == view.explanation
            assert len(explained.story) == len(local.store.read(row.id))
            assert view.result == "well"
            assert view.error is None

    asyncio.run(watch())
