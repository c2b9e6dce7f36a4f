"""What the code knows of itself: state, time, chance, generations. The same live and on replay."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from interlock import EffectKey, Run, RunFailedError
from tests.support.local import (
    MovableClock,
    app_in,
    crashing,
    entries_of,
    executing,
    kinds,
    state_of,
    until,
    until_state,
)


class Progress(BaseModel):
    count: int = 0
    notes: list[str] = []


async def _twice(app: Any, agent: str, given: Any = None) -> tuple[Any, str]:
    """Run an agent that waits for `go` once, forgetting it while it waits."""
    async with crashing(app) as local:
        handle = await local.start(agent, given)
        await until_state(local, handle.id, "waiting")
    async with executing(app) as local:
        await local.client.signal(handle.id, "go")
        row = await until_state(local, handle.id, "completed", "failed", "parked")
        return local.result_of(row, app.agents[agent]), handle.id


def test_now_random_and_uuid_are_the_same_on_replay(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    seen: list[list[Any]] = []

    async def nothing() -> None: ...

    @app.agent("a")
    async def a(run: Run) -> list[str]:
        facts: list[Any] = [run.now(), run.random(), run.uuid(), run.random(), run.uuid()]
        await run.step(nothing)
        facts += [run.now(), run.random()]
        await asyncio.gather(*[branch(run, facts) for _ in range(3)])
        seen.append(facts)
        await run.wait("go")
        return [str(fact) for fact in facts]

    async def branch(run: Run, facts: list[Any]) -> None:
        await run.step(nothing)
        facts += [run.now(), run.uuid(), run.random()]

    result, _ = asyncio.run(_twice(app, "a"))
    assert seen[0] == seen[1]
    assert result == [str(fact) for fact in seen[0]]
    chances = [fact for fact in seen[0] if isinstance(fact, float)]
    assert all(0 <= chance < 1 for chance in chances)
    identifiers = [fact for fact in seen[0] if isinstance(fact, uuid.UUID)]
    assert all(identifier.version == 4 for identifier in identifiers)
    assert len(set(chances)) == len(chances)
    assert len(set(identifiers)) == len(identifiers)


def test_two_runs_and_two_generations_draw_differently(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    drawn: list[float] = []

    @app.agent("a")
    async def a(run: Run, turn: int) -> None:
        drawn.append(run.random())
        if turn == 0:
            await run.continue_as_new(1)

    async def main() -> None:
        async with executing(app) as local:
            for _ in range(2):
                await (await local.start("a", 0)).result()

    asyncio.run(main())
    assert len(set(drawn)) == 4


def test_now_is_the_time_of_what_happened_last(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()
    before = datetime.now(UTC)

    @app.agent("a")
    async def a(run: Run) -> list[datetime]:
        first = run.now()
        await run.sleep(timedelta(days=10))
        return [first, run.now()]

    async def main() -> list[datetime]:
        async with executing(app, clock=clock) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            clock.move(timedelta(days=10))
            return await handle.result()

    first, last = asyncio.run(main())
    assert before <= first <= datetime.now(UTC)
    assert last - first >= timedelta(days=10)


def test_state_has_at_each_point_the_value_it_had_there(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a", state=Progress)
    async def a(run: Run) -> list[Any]:
        run.state.count += 1
        run.state.notes.append("before")
        at_the_wait = run.state.model_copy(deep=True)
        await run.wait("go")
        run.state.notes.append("after")
        return [at_the_wait.count, at_the_wait.notes, run.state.count, run.state.notes]

    result, _ = asyncio.run(_twice(app, "a"))
    assert result == [1, ["before"], 1, ["before", "after"]]


def test_state_is_stored_when_the_run_rests_and_only_when_it_changed(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a", state=Progress)
    async def a(run: Run) -> None:
        run.state.count = 7
        await run.wait("one")
        await run.wait("two")
        run.state.count = 8

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            bodies = entries_of(local, handle.id, "state_changed")
            assert [b'"count":7' in (e.body or b"") for e in bodies] == [True]
            await local.client.signal(handle.id, "one")
            await until(lambda: kinds(local, handle.id).count("run_suspended") == 2)
            assert len(entries_of(local, handle.id, "state_changed")) == 1
            await local.client.signal(handle.id, "two")
            await handle.result()
            bodies = entries_of(local, handle.id, "state_changed")
            assert b'"count":8' in (bodies[-1].body or b"")

    asyncio.run(main())


def test_an_agent_without_state_has_none(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        run.state.count = 1

    async def main() -> None:
        async with executing(app) as local:
            with pytest.raises(RunFailedError, match="AttributeError"):
                await (await local.start("a")).result()

    asyncio.run(main())


def test_continue_as_new_carries_state_and_signals_and_bounds_what_is_read(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    keys: list[str] = []

    @app.tool(effect="write", recovery="key")
    async def write(n: int, *, key: EffectKey) -> int:
        keys.append(key)
        return n

    @app.agent("a", state=Progress)
    async def a(run: Run, turn: int) -> list[Any]:
        run.state.count += 1
        await run.call(write, 1)
        got = await run.wait("n", type=int)
        run.state.notes.append(str(got))
        if turn < 5:
            await run.continue_as_new(turn + 1)
        await run.wait("end")
        return [turn, run.state.count, run.state.notes]

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a", 0)
            for n in range(6):
                await local.client.signal(handle.id, "n", n)
            await until(lambda: state_of(local, handle.id).generation == 6)
            await until_state(local, handle.id, "waiting")
        async with executing(app) as local:
            row = state_of(local, handle.id)
            read = local.store.read(handle.id, row.generation_seq - 1)
            assert read[0].event.kind == "run_continued"
            assert len(read) < 12, "only this generation is read"
            await local.client.signal(handle.id, "end")
            row = await until_state(local, handle.id, "completed", "parked")
            result = local.result_of(row, app.agents["a"])
            assert result == [5, 6, ["0", "1", "2", "3", "4", "5"]]
            assert len(keys) == len(set(keys)) == 6

    asyncio.run(main())


def test_state_of_a_later_generation_is_not_applied_twice(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a", state=Progress)
    async def a(run: Run, turn: int) -> int:
        run.state.count += 1
        if turn == 0:
            await run.continue_as_new(1)
        run.state.count += 10
        await run.wait("go")
        run.state.count += 100
        return run.state.count

    result, _ = asyncio.run(_twice(app, "a", 0))
    assert result == 112


def test_a_generation_that_waits_is_not_begun_with_what_it_will_be_later(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a", state=Progress)
    async def a(run: Run, turn: int) -> list[str]:
        if turn == 0:
            await run.continue_as_new(1)
        for name in ("one", "two", "go"):
            run.state.notes.append(name)
            await run.wait(name)
        return run.state.notes

    async def main() -> list[str]:
        async with crashing(app) as local:
            handle = await local.start("a", 0)
            await until_state(local, handle.id, "waiting")
        for name in ("one", "two", "go"):
            async with crashing(app) as local:
                before = len(kinds(local, handle.id))
                await local.client.signal(handle.id, name)
                await until(lambda before=before: len(kinds(local, handle.id)) > before + 2)
                await until_state(local, handle.id, "waiting", "completed")
        async with executing(app) as local:
            row = await until_state(local, handle.id, "completed")
            return local.result_of(row, app.agents["a"])

    assert asyncio.run(main()) == ["one", "two", "go"]


def test_continue_as_new_with_a_wrong_input_is_refused(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run, turn: int) -> None:
        await run.continue_as_new("next")

    async def main() -> None:
        async with executing(app) as local:
            with pytest.raises(RunFailedError, match="input of agent 'a'"):
                await (await local.start("a", 0)).result()

    asyncio.run(main())


@pytest.mark.parametrize("form", ["task group", "gather", "timeout"])
def test_continue_as_new_from_inside_a_group(tmp_path: Path, form: str) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run, turn: int) -> int:
        if turn == 1:
            return turn
        if form == "task group":
            async with asyncio.TaskGroup() as group:
                group.create_task(run.sleep(timedelta(days=1)))
                await run.continue_as_new(1)
        elif form == "gather":
            await asyncio.gather(run.continue_as_new(1), run.sleep(timedelta(days=1)))
        else:
            async with asyncio.timeout(3600):
                await run.continue_as_new(1)
        return -1

    async def main() -> Any:
        async with executing(app) as local:
            return await (await local.start("a", 0)).result()

    assert asyncio.run(main()) == 1


def test_the_outcome_is_the_last_that_was_set(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        run.outcome("escalated")
        await run.wait("go")
        run.outcome("resolved")

    async def main() -> None:
        _, run = await _twice(app, "a")
        async with executing(app) as local:
            assert state_of(local, run).outcome == "resolved"

    asyncio.run(main())
