"""The agents of the golden journals: FROZEN CODE, as the code of a run that is under way is.

A golden journal was written by exactly this code. Change nothing here: a new format gets agents of
its own beside these.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from interlock import (
    NOT_HAPPENED,
    App,
    EffectKey,
    Happened,
    LocalExecutor,
    Retry,
    Run,
    StepFailedError,
)
from tests.support.local import open_task, until_state

__all__ = ["Outside", "declare", "helped_to_its_end"]

MILLISECOND = timedelta(milliseconds=1)


class Tally(BaseModel):
    rounds: int = 0


class Outside:
    """The other systems, which outlive every process: what was booked, and each call."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.booked: dict[str, int] = {}


def declare(app: App, outside: Outside) -> None:  # noqa: C901 - many small functions
    """The agent whose run is finished in the golden journal."""

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
            await done for done in asyncio.as_completed([run.step(fetch, i) for i in (5, 4, 3)])
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


def declare_waiting(app: App, outside: Outside) -> None:
    """Agents whose runs are left waiting in the golden journal."""

    async def greet(name: str) -> str:
        outside.calls[f"greet {name}"] += 1
        return f"Hello {name}"

    @app.tool(effect="write", recovery="never")
    async def announce(text: str) -> str:
        outside.calls[f"announce {text}"] += 1
        raise ConnectionError("the answer was lost")

    @app.agent("waits")
    async def waits(run: Run, name: str) -> list[str]:
        greeting = await run.step(greet, name)
        answer = await run.wait("answer", type=str)
        return [greeting, answer]

    @app.agent("announces")
    async def announces(run: Run, text: str) -> str:
        return await run.call(announce, text)
