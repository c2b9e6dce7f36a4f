"""Whatever goes wrong in a run's code, the run ends in a state that somebody sees.

A run that nobody executes, that has no wake-up and that nobody is told of is the one thing that may
not exist (invariant 4). Each test here does something unusual and asks where the run went.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from interlock import EffectKey, Retry, Run, RunFailedError, StartOptions, StepFailedError
from interlock.errors import DeclarationError, InterlockError
from tests.support.local import app_in, crashing, executing, state_of, until, until_state

SEEN = ("completed", "failed", "cancelled", "parked")


class UnspeakableError(Exception):
    """An error whose message cannot be read, as after a careless unpickling."""

    def __str__(self) -> str:
        raise AttributeError("no message")


def test_an_error_without_a_readable_message_fails_the_step(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    async def speechless() -> None:
        raise UnspeakableError

    @app.agent("a")
    async def a(run: Run) -> str:
        try:
            await run.step(speechless)
        except StepFailedError as error:
            return error.error_types[0]
        return ""

    async def main() -> str:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, *SEEN)
            return await handle.result()

    assert asyncio.run(main()).endswith("UnspeakableError")


def test_an_error_without_a_readable_message_fails_the_run(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        raise UnspeakableError

    async def main() -> str:
        async with executing(app) as local:
            handle = await asyncio.wait_for(local.start("a"), 10)
            row = await until_state(local, handle.id, *SEEN)
            return row.state

    assert asyncio.run(main()) == "failed"


def test_an_error_without_a_readable_message_leaves_an_effect_unknown(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.tool(effect="write", recovery="never")
    async def write() -> None:
        raise UnspeakableError

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.call(write)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until(local.store.inbox, "a person is asked")
            assert local.store.effects(run=handle.id)[0].state == "unknown"

    asyncio.run(main())


@pytest.mark.parametrize("asked", [1e300, "99999999999999999999", float("inf"), "nan"])
def test_an_absurd_retry_after_does_not_lose_the_step(tmp_path: Path, asked: Any) -> None:
    app = app_in(tmp_path)

    class BusyError(Exception):
        retry_after = asked

    async def busy() -> None:
        raise BusyError

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.step(busy, retry=Retry(attempts=2, base=timedelta(0)))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, "waiting", *SEEN)
            assert row.state in SEEN or row.wake_at_us is not None

    asyncio.run(main())


def test_a_tool_that_raises_cancelled_error_leaves_its_effect_unknown(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.tool(effect="write", recovery="never")
    async def write() -> None:
        # A cancellation that leaks out of a library: nobody here asked for it.
        raise asyncio.CancelledError

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.call(write)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until(local.store.inbox, "a person is asked", seconds=10)
            assert local.store.effects(run=handle.id)[0].state == "unknown"

    asyncio.run(main())


def test_a_step_that_raises_stop_iteration_in_its_thread_fails(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    def first_of_nothing() -> int:
        return next(iter(()))

    @app.agent("a")
    async def a(run: Run) -> str:
        try:
            await run.step(first_of_nothing)
        except StepFailedError as error:
            return error.message
        return ""

    async def main() -> str:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, *SEEN, seconds=10)
            return await handle.result()

    assert "StopIteration" in asyncio.run(main())


@pytest.mark.parametrize("thread", [True, False])
def test_a_tool_that_calls_sys_exit_ends_nothing_but_its_call(tmp_path: Path, thread: bool) -> None:
    app = app_in(tmp_path)

    async def exits() -> None:
        sys.exit(3)

    def exits_in_thread() -> None:
        sys.exit(3)

    write = app.tool("write", effect="write", recovery="never")(
        exits_in_thread if thread else exits
    )

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.call(write)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until(local.store.inbox, "a person is asked", seconds=10)
            assert local.store.effects(run=handle.id)[0].state == "unknown"

    asyncio.run(main())


def test_an_agent_that_calls_sys_exit_ends_only_its_own_run(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("exits")
    async def exits(run: Run) -> None:
        await run.sleep(timedelta(0))
        sys.exit(3)

    @app.agent("other")
    async def other(run: Run) -> int:
        await run.wait("go")
        return 7

    async def main() -> None:
        async with executing(app) as local:
            neighbour = await local.start("other")
            handle = await asyncio.wait_for(local.start("exits"), 10)
            row = await until_state(local, handle.id, *SEEN, seconds=10)
            assert row.state in ("failed", "parked")
            await local.client.signal(neighbour.id, "go")
            assert await neighbour.result() == 7

    asyncio.run(main())


@pytest.mark.parametrize("duration", [timedelta.max, timedelta(days=365 * 1000)])
def test_a_very_long_sleep_waits(tmp_path: Path, duration: timedelta) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> str:
        try:
            async with run.timeout(timedelta(days=400_000)):
                await run.sleep(duration)
        except InterlockError as error:
            return error.code
        return "slept"

    @app.agent("b")
    async def b(run: Run) -> int:
        return 1

    async def main() -> None:
        async with executing(app) as local:
            handle = await asyncio.wait_for(local.start("a"), 10)
            await until_state(local, handle.id, "waiting", *SEEN, seconds=10)
            assert await (await local.start("b")).result() == 1

    asyncio.run(main())


def test_a_deadline_beyond_all_time_is_refused_or_kept(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> int:
        return 1

    async def main() -> None:
        async with executing(app) as local:
            options = StartOptions(deadline=timedelta.max)
            try:
                handle = await asyncio.wait_for(local.start("a", options=options), 10)
            except InterlockError:
                pass
            else:
                assert await handle.result() == 1
            assert await (await asyncio.wait_for(local.start("a"), 10)).result() == 1

    asyncio.run(main())


class Counted(BaseModel):
    count: int = 0
    text: str = ""


def test_a_state_that_cannot_be_recorded_is_told(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a", state=Counted)
    async def a(run: Run) -> None:
        run.state.count = object()
        await run.wait("go")

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, *SEEN, seconds=10)
            with pytest.raises(RunFailedError, match="state"):
                local.result_of(row, app.agents["a"])

    asyncio.run(main())


def test_a_state_over_the_limit_is_told(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a", state=Counted)
    async def a(run: Run) -> None:
        run.state.text = "x" * 1_100_000
        await run.wait("go")

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, *SEEN, seconds=10)
            with pytest.raises(RunFailedError, match=r"state.*1,000,000"):
                local.result_of(row, app.agents["a"])

    asyncio.run(main())


def test_a_state_without_a_first_value_is_refused_at_the_declaration(tmp_path: Path) -> None:
    class Needs(BaseModel):
        count: int

    app = app_in(tmp_path)
    with pytest.raises(DeclarationError, match="count"):

        @app.agent("a", state=Needs)
        async def a(run: Run) -> None: ...


@pytest.mark.parametrize("result", ["x" * 980_000, "é" * 400_000])
def test_a_large_result_of_a_child_reaches_its_parent(tmp_path: Path, result: str) -> None:
    app = app_in(tmp_path)

    @app.agent("child")
    async def child(run: Run) -> str:
        return result

    @app.agent("parent")
    async def parent(run: Run) -> int:
        return len(await (await run.start("child")).result())

    async def main() -> int:
        async with executing(app) as local:
            handle = await local.start("parent")
            await until_state(local, handle.id, *SEEN, seconds=15)
            return await handle.result()

    assert asyncio.run(main()) == len(result)


def test_arguments_and_an_error_that_are_both_large_fail_the_step(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    async def fails(text: str) -> None:
        raise ValueError("\N{GRINNING FACE}" * 20_000)

    @app.agent("a")
    async def a(run: Run) -> str:
        try:
            await run.step(fails, "x" * 940_000)
        except StepFailedError:
            return "told"
        return ""

    async def main() -> str:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, *SEEN, seconds=15)
            return await handle.result()

    assert asyncio.run(main()) == "told"


class Shaped(BaseModel):
    name: str


def test_an_input_type_that_changed_parks_the_run(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run, given: int) -> int:
        await run.wait("go")
        return given

    async def before() -> str:
        async with crashing(app) as local:
            handle = await local.start("a", 3)
            await until_state(local, handle.id, "waiting")
            return handle.id

    changed = app_in(tmp_path, version="2")

    @changed.agent("a")
    async def a2(run: Run, given: Shaped) -> str:
        await run.wait("go")
        return given.name

    async def after(run: str) -> None:
        async with executing(changed) as local:
            await local.client.signal(run, "go")
            row = await until_state(local, run, *SEEN, seconds=10)
            assert row.state == "parked"

    asyncio.run(after(asyncio.run(before())))


def test_a_result_type_that_changed_parks_the_run(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    async def work() -> int:
        return 3

    @app.agent("a")
    async def a(run: Run) -> int:
        value = await run.step(work, name="work")
        await run.wait("go")
        return value

    async def before() -> str:
        async with crashing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            return handle.id

    changed = app_in(tmp_path, version="2")

    async def work2() -> Shaped:
        return Shaped(name="x")

    @changed.agent("a")
    async def a2(run: Run) -> str:
        value = await run.step(work2, name="work")
        await run.wait("go")
        return value.name

    async def after(run: str) -> None:
        async with executing(changed) as local:
            await local.client.signal(run, "go")
            row = await until_state(local, run, *SEEN, seconds=10)
            assert row.state == "parked"
        async with executing(app) as local:
            await local.client.retry(run)
            await until_state(local, run, "completed")

    asyncio.run(after(asyncio.run(before())))


def test_a_state_type_that_changed_parks_the_run(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a", state=Counted)
    async def a(run: Run, turn: int) -> int:
        run.state.count += 1
        if turn == 0:
            await run.continue_as_new(1)
        await run.wait("go")
        return run.state.count

    async def before() -> str:
        async with crashing(app) as local:
            handle = await local.start("a", 0)
            await until_state(local, handle.id, "waiting")
            return handle.id

    changed = app_in(tmp_path, version="2")

    class Strict(BaseModel):
        count: Shaped | None = None

    @changed.agent("a", state=Strict)
    async def a2(run: Run, turn: int) -> int:
        await run.wait("go")
        return 1

    async def after(run: str) -> None:
        async with executing(changed) as local:
            await local.client.signal(run, "go")
            row = await until_state(local, run, *SEEN, seconds=10)
            assert row.state == "parked"

    asyncio.run(after(asyncio.run(before())))


def test_an_effect_key_reaches_a_tool_that_is_recovered_after_a_late_thread(
    tmp_path: Path,
) -> None:
    """A thread that outlives its timeout and then returns what does not fit is not the end."""
    app = app_in(tmp_path)
    free = asyncio.Event()
    calls: list[str] = []

    def slow(*, key: EffectKey) -> int:
        calls.append(key)
        if len(calls) == 1:
            asyncio.run(_wait_for(free))
            return "not a number"  # type: ignore[return-value]
        return 5

    async def _wait_for(event: asyncio.Event) -> None:
        while not event.is_set():
            await asyncio.sleep(0.005)

    write = app.tool(
        "write",
        effect="write",
        recovery="key",
        timeout=timedelta(milliseconds=50),
        pause=timedelta(milliseconds=10),
    )(slow)

    @app.agent("a")
    async def a(run: Run) -> int:
        return await run.call(write)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until(lambda: local.store.effects(states=("unknown",)), "unknown")
            assert len(calls) == 1
            free.set()
            await until_state(local, handle.id, *SEEN, seconds=10)
            assert await handle.result() == 5
            assert len(set(calls)) == 1
            assert state_of(local, handle.id).state == "completed"

    asyncio.run(main())
