"""Escalation: a person is asked once, answers once, or the deadline does."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from interlock import App, Run
from interlock.errors import ConflictError, InvalidInputError, NotFoundError
from tests.support.local import (
    HeldStore,
    MovableClock,
    app_in,
    crashing,
    executing,
    open_task,
    until,
    until_state,
)

HOUR = timedelta(hours=1)


def asks(app: App, deadline: timedelta | None = None) -> None:
    @app.agent("a")
    async def a(run: Run) -> list[object]:
        decision = await run.escalate(
            "Refund 40 euros?",
            to="support-lead",
            choices=["yes", "no"],
            details={"order": 7},
            deadline=deadline,
        )
        return [decision.choice, decision.by, decision.note, decision.value, decision.expired]


@pytest.mark.parametrize("restart", [False, True])
def test_a_person_decides(tmp_path: Path, restart: bool) -> None:
    app = app_in(tmp_path)
    asks(app)

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            task = await open_task(local, handle.id)
            row = await until_state(local, handle.id, "waiting")
            assert row.waits[0]["who"] == "support-lead"
            assert (task.role, task.kind, task.run) == ("support-lead", "escalation", handle.id)
            assert local.client.question(task) == {
                "question": "Refund 40 euros?", "choices": ["yes", "no"], "details": {"order": 7},
            }  # fmt: skip
            if not restart:
                await local.client.decide(
                    task.id, "yes", note="ok", value={"cents": 4000}, by="ann"
                )
                await until_state(local, handle.id, "completed")
        if restart:
            async with app.client() as client:
                await client.decide(task.id, "yes", note="ok", value={"cents": 4000}, by="ann")
        async with executing(app) as local:
            row = await until_state(local, handle.id, "completed")
            result = local.result_of(row, app.agents["a"])
            assert result == ["yes", "ann", "ok", {"cents": 4000}, False]
            assert local.store.inbox() == []
            decided = local.client.inbox_task(task.id)
            assert (decided.state, decided.decided_by) == ("decided", "ann")

    asyncio.run(main())


def test_a_second_decision_is_refused_and_names_who_decided(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    asks(app)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            task = await open_task(local, handle.id)
            ends = await asyncio.gather(
                *[local.client.decide(task.id, "yes", by=f"person {i}") for i in range(5)],
                return_exceptions=True,
            )
            refused = [end for end in ends if isinstance(end, ConflictError)]
            assert len(refused) == 4
            by = (await handle.result())[1]
            assert all(by in error.message for error in refused)
            with pytest.raises(ConflictError, match=by):
                await local.client.decide(task.id, "no", by="late")

    asyncio.run(main())


def test_the_deadline_answers(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()
    asks(app, HOUR)

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("a")
            task = await open_task(local, handle.id)
            assert task.due_at_us is not None
            await until_state(local, handle.id, "waiting")
            clock.move(HOUR)
            assert await handle.result() == ["", "", "", None, True]
            with pytest.raises(ConflictError, match="expired"):
                await local.client.decide(task.id, "yes", by="late")

    asyncio.run(main())


def test_a_decision_just_before_the_deadline_wins(tmp_path: Path) -> None:
    """It is in at the door before the run knows of it: the expiry is refused."""
    app = app_in(tmp_path)
    clock = MovableClock()
    asks(app, HOUR)

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("a")
            task = await open_task(local, handle.id)
            await until_state(local, handle.id, "waiting")
        async with app.client() as client:
            await client.decide(task.id, "no", by="ann")
        clock.move(2 * HOUR)
        async with executing(app, clock=clock) as local:
            row = await until_state(local, handle.id, "completed", "parked")
            assert local.result_of(row, app.agents["a"])[:2] == ["no", "ann"]

    asyncio.run(main())


def test_a_decision_and_the_deadline_in_one_moment(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    asks(app, timedelta(milliseconds=400))
    held: list[HeldStore] = []

    async def main() -> None:
        async with executing(app, held=held.append) as local:
            handle = await local.start("a")
            task = await open_task(local, handle.id)
            held[0].hold()
            deciding = asyncio.create_task(local.client.decide(task.id, "yes", by="ann"))
            await until(held[0].holding.is_set, "the decision is on its way")
            due = asyncio.get_running_loop().time() + 0.6
            await until(lambda: asyncio.get_running_loop().time() > due, "overdue")
            held[0].release()
            try:
                await deciding
                expected = ["yes", "ann"]
            except ConflictError:
                expected = ["", ""]
            row = await until_state(local, handle.id, "completed", "parked")
            assert local.result_of(row, app.agents["a"])[:2] == expected

    asyncio.run(main())


def test_what_is_not_offered_is_refused_and_the_task_stays_open(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    asks(app)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            task = await open_task(local, handle.id)
            with pytest.raises(InvalidInputError, match=r"'maybe' is not offered.*'yes', 'no'"):
                await local.client.decide(task.id, "maybe", by="ann")
            with pytest.raises(NotFoundError, match="'task_none'"):
                await local.client.decide("task_none", "yes")
            assert local.store.inbox()[0].id == task.id

    asyncio.run(main())


def test_a_task_is_withdrawn_when_nobody_waits_for_it(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> list[object]:
        first, answer = await run.race(run.escalate("Still wanted?"), run.wait("never mind"))
        await run.wait("end")
        return [first, answer]

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            task = await open_task(local, handle.id)
            await local.client.signal(handle.id, "never mind", "later")
            await until(lambda: local.client.inbox_task(task.id).state == "withdrawn")
            with pytest.raises(ConflictError, match="withdrawn"):
                await local.client.decide(task.id, "yes")
            await until_state(local, handle.id, "waiting")
        async with executing(app) as local:
            await local.client.signal(handle.id, "end")
            row = await until_state(local, handle.id, "completed", "parked")
            assert local.result_of(row, app.agents["a"]) == [1, "later"]

    asyncio.run(main())


def test_a_question_that_changed_parks_the_run(tmp_path: Path) -> None:
    """A person answers the question that stands in the inbox, not another one."""
    app = app_in(tmp_path)
    question = ["Refund 40 euros?"]

    @app.agent("a")
    async def a(run: Run) -> str:
        return (await run.escalate(question[0])).choice

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            task = await open_task(local, handle.id)
            await until_state(local, handle.id, "waiting")
        question[0] = "Refund 4000 euros?"
        async with executing(app) as local:
            await local.client.decide(task.id, "yes")
            row = await until_state(local, handle.id, "parked", "completed")
            assert row.state == "parked"
            message = local.client.result(row)["message"]
            assert "40 euros" in message
            assert "4000 euros" in message

    asyncio.run(main())


def test_two_questions_at_once(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> list[str]:
        decisions = await asyncio.gather(run.escalate("one?"), run.escalate("two?"))
        return [d.choice for d in decisions]

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            await until(lambda: len(local.store.inbox()) == 2)
            for task in reversed(local.store.inbox()):
                await local.client.decide(task.id, local.client.question(task)["question"])
            assert await handle.result() == ["one?", "two?"]

    asyncio.run(main())
