"""Code that does something else than its journal is parked before any call, and says both sides.

After the code that began the run is deployed again, `retry` continues it and nothing is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock import App, EffectKey, Run
from tests.support.local import app_in, crashing, executing, kinds, until_state

Body = Callable[[Run, "World"], Awaitable[Any]]


class World:
    """One version of the code: the tools and steps of an app, and what was called in it."""

    def __init__(self, folder: Path, body: Body, calls: list[str], tool_version: str = "1") -> None:
        self.app: App = app_in(folder)
        self.calls = calls

        async def fetch(what: str) -> str:
            calls.append(f"fetch {what}")
            return what

        async def load(what: str) -> str:
            calls.append(f"load {what}")
            return what

        @self.app.tool(effect="write", recovery="key", version=tool_version)
        async def pay(amount: int, *, key: EffectKey) -> int:
            calls.append(f"pay {amount}")
            return amount

        @self.app.tool(effect="read", version=tool_version)
        async def balance(account: str) -> int:
            calls.append(f"balance {account}")
            return 12

        self.fetch, self.load, self.pay, self.balance = fetch, load, pay, balance

        @self.app.agent("child")
        async def child(run: Run, n: int) -> int:
            return n

        @self.app.agent("a")
        async def a(run: Run) -> Any:
            return await body(run, self)


async def original(run: Run, w: World) -> list[Any]:
    first = await run.step(w.fetch, "one")
    paid = await run.call(w.pay, 5)
    there = await run.call(w.balance, "a")
    await run.sleep(timedelta(milliseconds=1))
    await run.wait("go")
    last = await run.step(w.fetch, "last")
    return [first, paid, there, last]


async def other_step_name(run: Run, w: World) -> Any:
    await run.step(w.load, "one")
    return await original(run, w)


async def other_step_arguments(run: Run, w: World) -> Any:
    await run.step(w.fetch, "two")
    return await _rest(run, w)


async def other_effect_arguments(run: Run, w: World) -> Any:
    await run.step(w.fetch, "one")
    await run.call(w.pay, 6)
    return await run.wait("go")


async def other_read_arguments(run: Run, w: World) -> Any:
    await run.step(w.fetch, "one")
    await run.call(w.pay, 5)
    await run.call(w.balance, "b")
    return await run.wait("go")


async def _rest(run: Run, w: World) -> Any:
    await run.call(w.pay, 5)
    await run.call(w.balance, "a")
    await run.sleep(timedelta(milliseconds=1))
    await run.wait("go")
    return await run.step(w.fetch, "last")


async def other_order(run: Run, w: World) -> Any:
    await run.call(w.pay, 5)
    await run.step(w.fetch, "one")
    return await run.wait("go")


async def removed(run: Run, w: World) -> Any:
    await run.call(w.pay, 5)
    await run.call(w.balance, "a")
    return await run.wait("go")


async def added(run: Run, w: World) -> Any:
    await run.step(w.fetch, "one")
    await run.step(w.load, "new")
    await run.call(w.pay, 5)
    return await run.wait("go")


async def ends_early(run: Run, w: World) -> Any:
    return await run.step(w.fetch, "one")


async def in_another_task(run: Run, w: World) -> Any:
    await asyncio.create_task(run.step(w.fetch, "one"))
    return await _rest(run, w)


async def other_kind(run: Run, w: World) -> Any:
    await run.step(w.fetch, "one")
    await run.step(w.fetch, "x", name="pay")
    return await run.wait("go")


async def fails_now(run: Run, w: World) -> Any:
    raise ValueError("the new code has a bug at its first line")


CHANGES: dict[str, tuple[Body, str, tuple[str, ...]]] = {
    "step name": (other_step_name, "1", ("/fetch#1", "/load#1")),
    "step arguments": (other_step_arguments, "1", ('["one"]', '["two"]')),
    "effect arguments": (other_effect_arguments, "1", ('"amount":5', '"amount":6')),
    "read arguments": (other_read_arguments, "1", ('"account":"a"', '"account":"b"')),
    "order": (other_order, "1", ("/fetch#1", "/pay#1")),
    "removed": (removed, "1", ("/fetch#1", "/pay#1")),
    "added": (added, "1", ("/pay#1", "/load#1")),
    "ends early": (ends_early, "1", ("/pay#1",)),
    "in another task": (in_another_task, "1", ("/fetch#1", "/1/fetch#1")),
    "a step for a tool": (other_kind, "1", ("/pay#1", "effect_intended", "step")),
    "tool version": (original, "2", ("version 1", "version 2")),
    "fails at once": (fails_now, "1", ("/fetch#1", "bug at its first line")),
}


def begun(folder: Path, calls: list[str]) -> tuple[World, str]:
    """The original code, and a run of it that waits for the signal `go`."""
    world = World(folder, original, calls)

    async def main() -> str:
        async with crashing(world.app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            return handle.id

    return world, asyncio.run(main())


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_parks_the_run_and_the_old_code_continues_it(tmp_path: Path, change: str) -> None:
    body, tool_version, sides = CHANGES[change]
    calls: list[str] = []
    world, run = begun(tmp_path, calls)
    before = list(calls)
    assert before == ["fetch one", "pay 5", "balance a"]
    changed = World(tmp_path, body, calls, tool_version)

    async def main() -> list[Any]:
        async with executing(changed.app) as local:
            recorded = kinds(local, run)
            await local.client.signal(run, "go")
            row = await until_state(local, run, "parked", "completed", "failed")
            assert row.state == "parked", row
            assert row.reason == "replay_mismatch"
            message = local.client.result(row)["message"]
            for side in sides:
                assert side in message, message
            assert calls == before, "parked before any call"
            assert kinds(local, run) == [*recorded, "run_claimed", "run_parked"]
        async with executing(world.app) as local:
            await local.client.retry(run, by="ann")
            row = await until_state(local, run, "completed")
            return local.result_of(row, world.app.agents["a"])

    assert asyncio.run(main()) == ["one", 5, 12, "last"]
    assert calls == [*before, "fetch last"], "nothing is repeated"


def test_a_retry_without_the_old_code_parks_again(tmp_path: Path) -> None:
    calls: list[str] = []
    _, run = begun(tmp_path, calls)
    changed = World(tmp_path, removed, calls)

    async def main() -> None:
        async with executing(changed.app) as local:
            await local.client.signal(run, "go")
            await until_state(local, run, "parked")
            for _ in range(3):
                parked = kinds(local, run).count("run_parked")
                await local.client.retry(run)
                await _parked_again(local, run, parked)

    asyncio.run(main())
    assert calls == ["fetch one", "pay 5", "balance a"]


async def _parked_again(local: Any, run: str, before: int) -> None:
    from tests.support.local import until

    await until(lambda: kinds(local, run).count("run_parked") > before)
    await until_state(local, run, "parked")


def test_what_comes_after_the_history_may_change(tmp_path: Path) -> None:
    calls: list[str] = []
    _, run = begun(tmp_path, calls)

    async def goes_on_differently(run: Run, w: World) -> Any:
        await run.step(w.fetch, "one")
        await _rest_until_go(run, w)
        return await run.step(w.load, "the new way")

    changed = World(tmp_path, goes_on_differently, calls)

    async def main() -> None:
        async with executing(changed.app) as local:
            await local.client.signal(run, "go")
            row = await until_state(local, run, "completed", "parked")
            assert local.result_of(row, changed.app.agents["a"]) == "the new way"

    asyncio.run(main())


async def _rest_until_go(run: Run, w: World) -> None:
    await run.call(w.pay, 5)
    await run.call(w.balance, "a")
    await run.sleep(timedelta(milliseconds=1))
    await run.wait("go")
