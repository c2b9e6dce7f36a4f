"""Steps: recorded once, attempted again as declared, bounded in time, with what takes over."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from interlock import Escalation, Retry, Run, RunFailedError, StepFailedError, Value
from tests.support.local import (
    MovableClock,
    app_in,
    crashing,
    entries_of,
    executing,
    kinds,
    open_task,
    state_of,
    until,
    until_state,
)

MILLISECOND = timedelta(milliseconds=1)
QUICKLY = Retry(attempts=10, base=timedelta(0))


class Answer(BaseModel):
    text: str
    at: datetime


def test_a_step_runs_once_and_answers_its_type_again_on_replay(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    calls: list[int] = []

    async def ask(n: int) -> Answer:
        calls.append(n)
        return Answer(text=f"no. {n}", at=datetime.fromisoformat("2026-01-01T10:00:00+00:00"))

    @app.agent("a")
    async def a(run: Run) -> list[str]:
        one = await run.step(ask, 1)
        await run.wait("go")
        two = await run.step(ask, 2)
        return [type(one).__name__, one.at.isoformat(), two.text]

    async def main() -> list[str]:
        async with crashing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
        async with executing(app) as local:
            await local.client.signal(handle.id, "go")
            row = await until_state(local, handle.id, "completed")
            return local.result_of(row, app.agents["a"])

    assert asyncio.run(main()) == ["Answer", "2026-01-01T10:00:00+00:00", "no. 2"]
    assert calls == [1, 2]


def test_the_code_sees_what_a_replay_would_see(tmp_path: Path) -> None:
    """A tuple comes back as the list that its type reads: live as after a restart."""
    app = app_in(tmp_path)

    async def pair() -> Any:
        return (1, {2: 3})

    @app.agent("a")
    async def a(run: Run) -> str:
        return repr(await run.step(pair))

    async def main() -> str:
        async with executing(app) as local:
            return await (await local.start("a")).result()

    assert asyncio.run(main()) == "[1, {'2': 3}]"


def test_synchronous_functions_run_in_threads(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    together = threading.Barrier(3)

    def meet() -> str:
        together.wait(30)
        return threading.current_thread().name

    @app.agent("a")
    async def a(run: Run) -> list[str]:
        return list(await asyncio.gather(*[run.step(meet) for _ in range(3)]))

    async def main() -> list[str]:
        async with executing(app) as local:
            return await (await local.start("a")).result()

    names = asyncio.run(main())
    assert len(set(names)) == 3
    assert threading.main_thread().name not in names


def test_attempts_until_one_succeeds(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    calls: list[int] = []

    def flaky() -> int:
        calls.append(1)
        if len(calls) < 4:
            raise ConnectionError("down")
        return len(calls)

    @app.agent("a")
    async def a(run: Run) -> int:
        return await run.step(flaky, retry=QUICKLY)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            assert await handle.result() == 4
            failed = entries_of(local, handle.id, "step_attempt_failed")
            assert [e.event.header["attempt"] for e in failed] == [1, 2, 3]
            assert {e.event.header["error"] for e in failed} == {"ConnectionError"}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("retry", "error", "attempts"),
    [
        (Retry(attempts=3, base=timedelta(0)), ValueError, 3),
        (Retry(attempts=3, base=timedelta(0), give_up_on=(ValueError,)), ValueError, 1),
        (Retry(attempts=3, base=timedelta(0), give_up_on=(LookupError,)), KeyError, 1),
        (Retry(attempts=3, base=timedelta(0), retry_on=(OSError,)), ValueError, 1),
        (Retry(attempts=3, base=timedelta(0), retry_on=(OSError,)), ConnectionError, 3),
        (
            Retry(attempts=3, base=timedelta(0), retry_on=(OSError,), give_up_on=(OSError,)),
            ConnectionError,
            1,
        ),
        (Retry(attempts=1), ValueError, 1),
    ],
)
def test_which_errors_are_worth_another_attempt(
    tmp_path: Path, retry: Retry, error: type[Exception], attempts: int
) -> None:
    app = app_in(tmp_path)
    calls: list[int] = []

    async def fails() -> None:
        calls.append(1)
        raise error("no")

    @app.agent("a")
    async def a(run: Run) -> list[Any]:
        try:
            await run.step(fails, retry=retry)
        except StepFailedError as failure:
            return [failure.was(error), failure.was(BaseException), failure.fields["attempts"]]
        return []

    async def main() -> list[Any]:
        async with executing(app) as local:
            return await (await local.start("a")).result()

    assert asyncio.run(main()) == [True, True, attempts]
    assert len(calls) == attempts


def test_attempts_are_counted_across_restarts(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        raise ConnectionError

    @app.agent("a")
    async def a(run: Run) -> int:
        try:
            await run.step(fails, retry=Retry(attempts=4, base=timedelta(hours=1)))
        except StepFailedError as error:
            return error.fields["attempts"]
        return 0

    async def main() -> int:
        async with crashing(app, clock=clock) as local:
            handle = await local.start("a")
            await until(lambda: calls)
            await until_state(local, handle.id, "waiting")
        for attempt in range(2, 5):
            clock.move(timedelta(hours=2))
            async with crashing(app, clock=clock) as local:
                await until(lambda attempt=attempt: len(calls) == attempt)
                await until_state(local, handle.id, "waiting", "completed")
        async with executing(app, clock=clock) as local:
            return local.result_of(state_of(local, handle.id), app.agents["a"])

    assert asyncio.run(main()) == 4
    assert len(calls) == 4


class Response:
    def __init__(self, header: str) -> None:
        self.headers = {"Retry-After": header}


@pytest.mark.parametrize("how", ["seconds", "date", "attribute", "timedelta"])
def test_the_pause_the_other_side_asks_for_is_kept(tmp_path: Path, how: str) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()

    class BusyError(Exception):
        def __init__(self) -> None:
            super().__init__("busy")
            now = datetime.fromtimestamp(clock.now_us() // 1_000_000, tz=None).astimezone()
            match how:
                case "seconds":
                    self.response = Response("7200")
                case "date":
                    self.response = Response(
                        format_datetime(now + timedelta(hours=2), usegmt=False)
                    )
                case "attribute":
                    self.retry_after = 7200
                case _:
                    self.retry_after = timedelta(hours=2)

    async def busy() -> None:
        raise BusyError

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.step(busy, retry=Retry(attempts=2, base=MILLISECOND, cap=MILLISECOND))

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, "waiting")
            assert row.wake_at_us is not None
            pause_seconds = (row.wake_at_us - row.updated_at_us) / 1e6
            assert 7190 < pause_seconds < 7205
            clock.move(timedelta(hours=2, seconds=5))
            await until_state(local, handle.id, "failed")

    asyncio.run(main())


def test_a_timed_out_attempt_is_cancelled(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    cancelled: list[int] = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(1)

    @app.agent("a")
    async def a(run: Run) -> list[Any]:
        try:
            await run.step(
                slow, timeout=20 * MILLISECOND, retry=Retry(attempts=2, base=MILLISECOND)
            )
        except StepFailedError as error:
            return [error.was(TimeoutError), "cancelled" in error.message]
        return []

    async def main() -> Any:
        async with executing(app) as local:
            return await (await local.start("a")).result()

    assert asyncio.run(main()) == [True, True]
    assert len(cancelled) == 2


def test_a_timed_out_thread_is_reported_as_still_running(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    free = threading.Event()

    def slow() -> None:
        free.wait(60)

    @app.agent("a")
    async def a(run: Run) -> list[Any]:
        try:
            await run.step(slow, timeout=20 * MILLISECOND)
        except StepFailedError as error:
            return [error.was(TimeoutError), "still running in its thread" in error.message]
        finally:
            free.set()
        return []

    async def main() -> Any:
        async with executing(app) as local:
            return await (await local.start("a")).result()

    assert asyncio.run(main()) == [True, True]


@pytest.mark.parametrize("form", ["lambda", "object"])
def test_a_timeout_holds_for_everything_that_can_be_awaited(tmp_path: Path, form: str) -> None:
    app = app_in(tmp_path)

    async def slow() -> None:
        await asyncio.sleep(3600)

    @dataclass(frozen=True)
    class Caller:
        async def __call__(self) -> None:
            await slow()

    function: Any = (slow) if form == "lambda" else Caller()

    @app.agent("a")
    async def a(run: Run) -> bool:
        try:
            await run.step(function, timeout=20 * MILLISECOND)
        except StepFailedError as error:
            return error.was(TimeoutError)
        return False

    async def main() -> Any:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "completed", seconds=10)
            return await handle.result()

    assert asyncio.run(main()) is True


def test_the_time_of_all_attempts_is_bounded(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    calls: list[int] = []

    async def fails() -> None:
        calls.append(1)
        raise ConnectionError("down")

    @app.agent("a")
    async def a(run: Run) -> bool:
        try:
            await run.step(
                fails,
                retry=Retry(attempts=1_000_000, base=MILLISECOND, cap=10 * MILLISECOND),
                total_timeout=100 * MILLISECOND,
            )
        except StepFailedError as error:
            return error.was(ConnectionError)
        return False

    async def main() -> Any:
        async with executing(app) as local:
            return await (await local.start("a")).result()

    assert asyncio.run(main()) is True
    assert 1 <= len(calls) < 1000


def test_the_total_time_counts_while_no_process_runs(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        raise ConnectionError("down")

    @app.agent("a")
    async def a(run: Run) -> bool:
        retry = Retry(attempts=100, base=timedelta(seconds=30), cap=timedelta(seconds=30))
        try:
            await run.step(fails, retry=retry, total_timeout=timedelta(hours=1))
        except StepFailedError:
            return True
        return False

    async def main() -> Any:
        async with crashing(app, clock=clock) as local:
            handle = await local.start("a")
            await until(lambda: calls)
            await until_state(local, handle.id, "waiting")
        clock.move(timedelta(hours=2))
        async with executing(app, clock=clock) as local:
            row = await until_state(local, handle.id, "completed")
            return local.result_of(row, app.agents["a"])

    assert asyncio.run(main()) is True
    assert len(calls) == 1, "nothing is begun when the time of all attempts is over"


async def _fails(n: int) -> int:
    raise ConnectionError("down")


def test_a_fallback_function_gets_the_same_arguments(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    def instead(n: int) -> int:
        return n + 100

    @app.agent("a")
    async def a(run: Run) -> list[int]:
        return [
            await run.step(_fails, 5, fallback=instead),
            await run.step(_fails, 6, fallback=Value(0)),
        ]

    async def main() -> Any:
        async with executing(app) as local:
            return await (await local.start("a")).result()

    assert asyncio.run(main()) == [105, 0]


def test_a_fallback_to_a_person(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> int:
        return await run.step(_fails, 5, fallback=Escalation(to="ops", question="How many?"))

    async def main() -> Any:
        async with executing(app) as local:
            handle = await local.start("a")
            task = await open_task(local, handle.id)
            assert task.role == "ops"
            assert local.client.question(task)["question"] == "How many?"
            await local.client.decide(task.id, "seven", value=7, by="ann")
            return await handle.result()

    assert asyncio.run(main()) == 7


def test_a_fallback_to_a_person_who_does_not_answer(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()

    @app.agent("a")
    async def a(run: Run) -> int:
        return await run.step(_fails, 5, fallback=Escalation(deadline=timedelta(hours=1)))

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("a")
            await open_task(local, handle.id)
            clock.move(timedelta(hours=2))
            with pytest.raises(RunFailedError, match="ConnectionError: down"):
                await handle.result()
            assert state_of(local, handle.id).reason == "step_failed"

    asyncio.run(main())


def test_a_failed_step_fails_the_run_that_does_not_handle_it(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.step(_fails, 1)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            with pytest.raises(RunFailedError, match="'/_fails#1' failed: ConnectionError: down"):
                await handle.result()
            assert kinds(local, handle.id)[-1] == "run_failed"

    asyncio.run(main())


class Unrecordable:
    pass


@pytest.mark.parametrize("kind", ["wrong type", "no JSON", "too large", "nan"])
def test_a_result_that_cannot_be_recorded_fails_the_step_at_once(tmp_path: Path, kind: str) -> None:
    app = app_in(tmp_path)
    calls: list[int] = []

    async def typed() -> float:
        calls.append(1)
        return float("nan") if kind == "nan" else "three"  # type: ignore[return-value]

    async def free() -> Any:
        calls.append(1)
        return "x" * 1_000_001 if kind == "too large" else Unrecordable()

    @app.agent("a")
    async def a(run: Run) -> str:
        try:
            await run.step(typed if kind in ("wrong type", "nan") else free, retry=QUICKLY)
        except StepFailedError as error:
            return error.message
        return ""

    async def main() -> str:
        async with executing(app) as local:
            return await (await local.start("a")).result()

    message = asyncio.run(main())
    assert "step '/" in message
    assert len(calls) == 1, "an attempt more would not cure it"
    if kind == "too large":
        assert "1,000,000" in message
        assert "reference" in message


def test_arguments_over_the_limit_are_refused_by_name(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    calls: list[int] = []

    async def take(text: str) -> None:
        calls.append(1)

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.step(take, "x" * 1_000_001)

    async def main() -> None:
        async with executing(app) as local:
            with pytest.raises(
                RunFailedError, match=r"step 'take': 1,000,005 bytes.*limit.*reference"
            ):
                await (await local.start("a")).result()

    asyncio.run(main())
    assert not calls


def test_names_that_look_like_places_of_other_tasks(tmp_path: Path) -> None:
    """A name with a slash is a name, not a path: two operations never share a key."""
    app = app_in(tmp_path)

    async def value(n: int) -> int:
        await asyncio.sleep(0)
        return n

    @app.agent("a")
    async def a(run: Run) -> list[int]:
        task = asyncio.create_task(run.step(value, 1, name="f"))
        other = asyncio.create_task(_nested(run))
        own = await run.step(value, 2, name="1/f")
        return [await task, own, await other]

    async def _nested(run: Run) -> int:
        return await run.step(value, 3, name="f")

    async def main() -> Any:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "completed", "failed", "parked", seconds=10)
            keys = [e.event.key for e in entries_of(local, handle.id, "step_completed")]
            assert len(set(keys)) == 3
            return await handle.result()

    assert asyncio.run(main()) == [1, 2, 3]


def test_a_cancelled_thread_that_fails_later_troubles_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_in(tmp_path)
    free, ended = threading.Event(), threading.Event()

    def slow() -> None:
        free.wait(60)
        ended.set()
        raise ConnectionError("late")

    async def quick() -> int:
        return 1

    @app.agent("a")
    async def a(run: Run) -> int:
        winner, _ = await run.race(run.step(slow), run.step(quick))
        return winner

    async def main() -> int:
        async with executing(app) as local:
            result = await (await local.start("a")).result()
            free.set()
            await until(ended.is_set)
            return result

    assert asyncio.run(main()) == 1
    assert "never retrieved" not in caplog.text
