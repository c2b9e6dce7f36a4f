"""A crash at every commit: each prefix of a journal continues to the same end.

The agents below use every operation there is. Their journal is recorded once, cut after each of
its commits, and continued: the result is the same, what was completed is not made again, and a
journal that was complete but for its last event makes no call at all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from interlock import App, EffectKey, Happened, LocalExecutor, Retry, Run, StepFailedError
from interlock.journal.event import Entry
from interlock.tools.effects import NOT_HAPPENED
from tests.support.journal_copy import all_entries, copy_of
from tests.support.local import app_in, executing, open_task, until, until_state

MILLISECOND = timedelta(milliseconds=1)


class Tally(BaseModel):
    rounds: int = 0


class Outside:
    """The other systems, which outlive every process: what was booked, and each call."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.booked: dict[str, int] = {}


def declare(app: App, outside: Outside) -> None:
    async def fetch(n: int) -> int:
        outside.calls[f"fetch {n}"] += 1
        await asyncio.sleep(0.001 * (n % 3))
        return n * 10

    def compute(n: int) -> int:
        outside.calls[f"compute {n}"] += 1
        return n + 1

    async def fails(n: int) -> int:
        outside.calls[f"fails {n}"] += 1
        raise ConnectionError(f"no. {n}")

    async def find(amount: int, *, key: EffectKey) -> Any:
        outside.calls["find"] += 1
        return Happened(amount) if key in outside.booked else NOT_HAPPENED

    @app.tool(effect="write", recovery="key")
    async def by_key(amount: int, *, key: EffectKey) -> int:
        outside.calls[f"by_key {key}"] += 1
        outside.booked.setdefault(key, amount)
        return amount

    @app.tool(effect="write", recovery="lookup", lookup=find)
    async def by_lookup(amount: int, *, key: EffectKey) -> int:
        outside.calls[f"by_lookup {key}"] += 1
        assert key not in outside.booked, "made twice"
        outside.booked[key] = amount
        return amount

    @app.tool(effect="read")
    async def look(what: str) -> str:
        outside.calls[f"look {what}"] += 1
        return what.upper()

    @app.agent("child")
    async def child(run: Run, n: int) -> int:
        return await run.step(compute, n)

    @app.agent("everything", state=Tally)
    async def everything(run: Run, n: int) -> dict[str, Any]:
        results: dict[str, Any] = {"chance": run.random(), "id": str(run.uuid())}
        run.state.rounds += 1
        results["gather"] = await asyncio.gather(
            run.step(fetch, n), run.step(compute, n), run.call(look, "x"), run.call(by_key, n)
        )
        try:
            await run.step(fails, n, retry=Retry(attempts=2, base=MILLISECOND))
        except StepFailedError as error:
            results["failed"] = error.message
        async with asyncio.TaskGroup() as group:
            one = group.create_task(run.call(by_lookup, n + 1))
            two = group.create_task(_late(run, 2 * MILLISECOND))
        results["group"] = [one.result(), two.result()]
        results["race"] = await run.race(run.sleep(timedelta(hours=1)), run.step(fetch, 1))
        results["first"] = await _first(run, fetch)
        results["timeout"] = await _timed_out(run)
        started = await run.start("child", n)
        results["child"] = [await started.result(), await started.result()]
        results["signal"] = await run.wait("go", type=int)
        results["decision"] = (await run.escalate("Sure?", choices=["yes"])).choice
        results["completed"] = [
            await done
            for done in asyncio.as_completed([run.step(fetch, i) for i in (5, 4, 3)])
        ]
        results["now"] = run.now().isoformat()
        results["rounds"] = run.state.rounds
        run.outcome("resolved")
        return results


async def _late(run: Run, duration: timedelta) -> str:
    await run.sleep(duration)
    return run.now().isoformat()


async def _first(run: Run, fetch: Any) -> list[bool]:
    tasks = [asyncio.create_task(run.step(fetch, i)) for i in (2, 0, 1)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return [task in done for task in tasks]


async def _timed_out(run: Run) -> str:
    try:
        async with asyncio.timeout(0.005):
            await asyncio.sleep(3600)
    except TimeoutError:
        return "timeout"
    return ""


async def helped_to_its_end(local: LocalExecutor, run: str, name: str) -> Any:
    """Send the signal and the decision that the run waits for, unless it had them already."""

    async def help_it() -> None:
        await local.client.signal(run, "go", 41, message_id="the-signal")
        task = await open_task(local, run)
        await local.client.decide(task.id, "yes", by="ann")

    helping = asyncio.create_task(help_it())
    try:
        row = await until_state(local, run, "completed", "failed", "parked")
    finally:
        helping.cancel()
        await asyncio.gather(helping, return_exceptions=True)
    return local.result_of(row, local.app.agents[name])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Entry], str, Any, Outside]:
    """A complete journal, its run, its result, and what it did outside."""
    app, outside = app_in(tmp_path_factory.mktemp("recorded")), Outside()
    declare(app, outside)

    async def main() -> tuple[list[Entry], str, Any]:
        async with executing(app) as local:
            handle = await local.start("everything", 7)
            result = await helped_to_its_end(local, handle.id, "everything")
            return all_entries(local.store), handle.id, result

    return (*asyncio.run(main()), outside)


def continued(
    folder: Path, entries: Sequence[Entry], run: str, booked: dict[str, int]
) -> tuple[Any, Outside]:
    folder.mkdir()
    app, outside = app_in(folder), Outside()
    outside.booked.update(booked)
    declare(app, outside)
    copy_of(entries, folder / "journal.db")

    async def main() -> Any:
        async with executing(app) as local:
            result = await helped_to_its_end(local, run, "everything")
            await until(lambda: not local.store.running(), "every run is finished")
            assert list(local.store.verify()) == []
            assert list(local.store.rebuild()) == []
            return result

    return asyncio.run(main()), outside


def test_a_complete_journal_replays_without_a_call(
    tmp_path: Path, recorded: tuple[list[Entry], str, Any, Outside]
) -> None:
    entries, run, result, outside = recorded
    last = next(
        index
        for index, entry in enumerate(entries)
        if (entry.event.kind, entry.event.stream) == ("run_completed", run)
    )
    again, calls = continued(tmp_path / "last", entries[:last], run, outside.booked)
    assert again == result
    assert calls.calls == Counter()


def commits(entries: Sequence[Entry]) -> list[int]:
    """Where the journal can end: between two groups, which are one transaction and one time each."""
    return [
        cut
        for cut in range(1, len(entries))
        if entries[cut].event.at_us != entries[cut - 1].event.at_us
    ]


# What a run decided by chance, by the clock or by who was first may differ once its record is cut.
DECIDED = ("chance", "id", "gather", "failed", "timeout", "child", "signal", "decision", "rounds")


def test_every_prefix_continues_to_the_same_end(
    tmp_path: Path, recorded: tuple[list[Entry], str, Any, Outside]
) -> None:
    entries, run, result, _ = recorded
    completed_before: set[str] = set()
    for cut in commits(entries):
        booked = {
            str(e.event.header["effect_key"]): 7
            for e in entries[:cut]
            if e.event.kind == "effect_completed"
        }
        again, outside = continued(tmp_path / str(cut), entries[:cut], run, booked)
        assert {k: again[k] for k in DECIDED} == {k: result[k] for k in DECIDED}, cut
        assert sorted(again["completed"]) == sorted(result["completed"]), cut
        assert not [call for call in outside.calls if call.rpartition(" ")[2] in booked], cut
        completed_before |= set(booked)
    assert len(completed_before) == 2
