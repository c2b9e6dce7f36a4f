"""A signal is taken once, by one wait, whenever it comes; none is lost (invariant 10)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from interlock import ExecutorOptions, LocalExecutor, Run
from interlock.errors import ConflictError, InvalidInputError, NotFoundError
from tests.support.local import (
    HeldStore,
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
# The executor looks only when it is told to, so that a test decides what it sees when.
ONLY_WHEN_NUDGED = ExecutorOptions(poll=HOUR)


def test_an_early_signal_waits_for_its_wait(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> list[int]:
        await run.wait("first")
        return [await run.wait("n", type=int), await run.wait("n", type=int)]

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await local.client.signal(handle.id, "n", 1)
            await local.client.signal(handle.id, "n", 2)
            await local.client.signal(handle.id, "first")
            assert await handle.result() == [1, 2]

    asyncio.run(main())


def test_signals_survive_the_executor_that_read_them(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> list[int]:
        first = await run.wait("n", type=int)
        await run.wait("go")
        return [first, await run.wait("n", type=int)]

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            await local.client.signal(handle.id, "n", 1)
            await local.client.signal(handle.id, "n", 2)
            await until(lambda: "signal_received" in kinds(local, handle.id))
        async with app.client() as client:
            await client.signal(handle.id, "go")
        async with executing(app) as local:
            await until_state(local, handle.id, "completed")
            assert local.client.result(state_of(local, handle.id)) == [1, 2]

    asyncio.run(main())


def test_a_repeated_message_changes_nothing(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> list[Any]:
        first = await run.wait("n")
        return [first, await run.wait("n", timeout=timedelta(milliseconds=30), default="nothing")]

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            sent = [
                await local.client.signal(handle.id, "n", i, message_id="payment-7")
                for i in range(3)
            ]
            assert sent == ["payment-7"] * 3
            assert await handle.result() == [0, "nothing"]

    asyncio.run(main())


def test_the_same_message_id_for_two_runs_is_two_messages(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> int:
        return await run.wait("n", type=int)

    async def main() -> None:
        async with executing(app) as local:
            one, two = await local.start("a"), await local.start("a")
            await local.client.signal(one.id, "n", 1, message_id="m")
            await local.client.signal(two.id, "n", 2, message_id="m")
            assert [await one.result(), await two.result()] == [1, 2]

    asyncio.run(main())


def test_two_waits_share_two_signals_in_order(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> list[int]:
        return list(await asyncio.gather(run.wait("n", type=int), run.wait("n", type=int)))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            await local.client.signal(handle.id, "n", 1)
            await local.client.signal(handle.id, "n", 2)
            assert await handle.result() == [1, 2]

    asyncio.run(main())


def test_a_timeout_answers_the_default_or_raises(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()

    @app.agent("a")
    async def a(run: Run) -> list[Any]:
        default = await run.wait("n", timeout=HOUR, default=None)
        try:
            await run.wait("n", timeout=HOUR)
        except TimeoutError as error:
            return [default, str(error)]
        return []

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("a")
            for _ in range(2):
                row = await until_state(local, handle.id, "waiting")
                clock.move(HOUR)
                await until(lambda row=row: state_of(local, handle.id) != row)
            assert await handle.result() == [None, "no signal 'n' came in time"]

    asyncio.run(main())


def test_a_signal_and_its_timeout_at_one_moment_are_one_event(tmp_path: Path) -> None:
    """Whatever wins, a signal that lost is there for the next wait."""
    app = app_in(tmp_path)
    clock = MovableClock()

    @app.agent("a")
    async def a(run: Run) -> list[Any]:
        first = await run.wait("n", timeout=HOUR, default="late")
        return [first, await run.wait("n", timeout=timedelta(milliseconds=50), default="none")]

    async def main() -> list[list[Any]]:
        results: list[list[Any]] = []
        async with executing(app, clock=clock) as local:
            handles = [await local.start("a") for _ in range(20)]
            for handle in handles:
                await until_state(local, handle.id, "waiting")
            sends = [asyncio.create_task(local.client.signal(h.id, "n", "signal")) for h in handles]
            clock.move(HOUR)
            local.executor.nudge()
            await asyncio.gather(*sends, return_exceptions=True)
            results.extend([await handle.result() for handle in handles])
        return results

    for first, second in asyncio.run(main()):
        assert (first, second) in {("signal", "none"), ("late", "signal")}


async def _take_while_cancelling(
    local: LocalExecutor, held: HeldStore, run: str, gate: Any
) -> None:
    """Let a step's result and the taking of a signal go to disk in one group, in this order."""
    async with local.app.client() as outside:
        await outside.signal(run, "n", "kept")
    held.hold()
    gate.set()
    await until(held.holding.is_set, "the step's result is on its way")
    local.executor.committed()
    held.release()


@pytest.mark.parametrize("waits", [1, 2])
def test_a_signal_taken_by_a_cancelled_wait_is_offered_again_once(
    tmp_path: Path, waits: int
) -> None:
    app = app_in(tmp_path)
    began, gate = asyncio.Event(), asyncio.Event()
    held: list[HeldStore] = []

    async def passes() -> None:
        began.set()
        await gate.wait()

    @app.agent("a")
    async def a(run: Run) -> list[Any]:
        winner, _ = await run.race(run.step(passes), run.wait("n"))
        assert winner == 0
        later = timedelta(milliseconds=80)
        again = await asyncio.gather(
            *[run.wait("n", timeout=later, default="none") for _ in range(waits)]
        )
        await run.wait("end")
        return again

    async def main() -> list[Any]:
        async with crashing(app, held=held.append, options=ONLY_WHEN_NUDGED) as local:
            handle = await local.start("a")
            await began.wait()
            await _take_while_cancelling(local, held[0], handle.id, gate)
            await until_state(local, handle.id, "waiting", "parked")
        async with executing(app) as local:
            await local.client.signal(handle.id, "end")
            row = await until_state(local, handle.id, "completed", "parked", "failed")
            return local.result_of(row, app.agents["a"])

    assert sorted(asyncio.run(main())) == sorted(["kept"] + ["none"] * (waits - 1))


def test_a_signal_whose_payload_does_not_fit_is_an_error_of_the_wait(tmp_path: Path) -> None:
    class Payment(BaseModel):
        amount_cents: int
        currency: str

    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> str:
        try:
            await run.wait("paid", type=Payment)
        except InvalidInputError as error:
            return ",".join(sorted(p["field"] for p in error.fields["problems"]))
        return ""

    async def main() -> str:
        async with executing(app) as local:
            handle = await local.start("a")
            await local.client.signal(handle.id, "paid", {"amount_cents": "many"})
            return await handle.result()

    assert asyncio.run(main()) == "amount_cents,currency"


def test_signals_are_refused_where_nobody_can_take_them(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None: ...

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await handle.result()
            with pytest.raises(ConflictError, match=f"{handle.id} is completed"):
                await local.client.signal(handle.id, "n")
            with pytest.raises(NotFoundError, match="'run_none'"):
                await local.client.signal("run_none", "n")
            with pytest.raises(InvalidInputError, match="1 to 200"):
                await local.client.signal(handle.id, "")

    asyncio.run(main())


@pytest.mark.parametrize("text", ["\ud800", "a\0b"])
def test_text_that_no_database_takes_is_refused_and_stops_nothing(
    tmp_path: Path, text: str
) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> Any:
        return await run.wait("n")

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            with pytest.raises(InvalidInputError):
                await local.client.signal(handle.id, text)
            with pytest.raises(InvalidInputError):
                await local.client.signal(handle.id, "n", by=text)
            with pytest.raises(InvalidInputError):
                await local.client.cancel(handle.id, reason=text)
            with pytest.raises(InvalidInputError):
                await local.client.signal(handle.id, "n", message_id=text)
            await local.client.signal(handle.id, "n", 3)
            assert await handle.result() == 3

    asyncio.run(main())


def test_a_lone_surrogate_in_a_payload_is_refused_by_name(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> Any:
        return await run.wait("n")

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            with pytest.raises(Exception, match="signal 'n'") as caught:
                await local.client.signal(handle.id, "n", {"text": "\ud800"})
            assert caught.type.__module__ == "interlock.errors"
            await local.client.signal(handle.id, "n", 3)
            assert await handle.result() == 3

    asyncio.run(main())


def test_more_unread_messages_than_are_read_at_once_delay_nobody(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    gate = asyncio.Event()

    async def passes() -> None:
        await gate.wait()

    @app.agent("sleeper")
    async def sleeper(run: Run) -> Any:
        return await run.wait("never")

    @app.agent("a")
    async def a(run: Run) -> Any:
        """Stays in memory, because its step is under way."""
        _, result = await asyncio.gather(run.step(passes), take(run))
        return result

    async def take(run: Run) -> Any:
        result = await run.wait("n")
        gate.set()
        return result

    async def main() -> Any:
        async with executing(app) as local:
            idle = await local.start("sleeper")
            await until_state(local, idle.id, "waiting")
            await asyncio.gather(
                *[local.client.signal(idle.id, "unwanted", i) for i in range(1_100)]
            )
        async with executing(app, options=ONLY_WHEN_NUDGED) as local:
            handle = await local.start("a")
            await until(lambda: kinds(local, handle.id)[-1:] == ["run_claimed"])
            await local.client.signal(handle.id, "n", "here")
            row = await until_state(local, handle.id, "completed", seconds=10)
            return local.result_of(row, app.agents["a"])

    assert asyncio.run(main()) == "here"
