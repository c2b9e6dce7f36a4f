"""A budget that is used up pauses the run; a person, a raise or midnight (UTC) lets it go on."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent

from interlock import App, LocalExecutor, Run
from interlock.contract import Contract
from interlock.errors import BudgetExhaustedError, ConflictError
from interlock.journal.rows import BudgetRow, InboxRow
from interlock.limits.budget import next_day_us
from interlock.testing.simulated_model import Misbehaviour, Reply, Request, Rule, ToolCall
from tests.support.asking import Simulated, simulated
from tests.support.local import (
    HeldStore,
    MovableClock,
    app_in,
    crashing,
    executing,
    kinds,
    open_task,
    until,
    until_state,
)

TURNS = 4
DAY: dict[str, Any] = {"agent_day": {"model_calls": 2}}


def counts(request: Request) -> Reply:
    """A call of the tool at each turn, then a text."""
    if request.turn < TURNS - 1:
        return Reply(tool_calls=(ToolCall(name="look", arguments={"at": request.turn}),))
    return Reply(text="done")


def looking_app(folder: Path, at: Simulated, budgets: dict[str, Any]) -> App:
    """An agent that needs four calls of its model."""
    agent = Agent(at.model, name="a")

    @agent.tool_plain(metadata={"interlock": {"effect": "read"}})
    async def look(at: int) -> int:
        return at

    app = app_in(folder)
    app.deploy(agent, Contract.model_validate({"agent": "a", "budgets": budgets}))
    return app


def asking() -> Rule:
    return Rule(respond=counts)


def account(local: LocalExecutor, task: InboxRow) -> BudgetRow:
    """The account that a task names."""
    return local.client.budget(local.client.question(task)["account"])


def test_a_raise_from_outside_withdraws_the_task_and_the_run_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(rules=[asking()]) as model:
            app = looking_app(tmp_path, model, DAY)
            async with executing(app) as local:
                handle = await local.start("a", "go")
                task = await open_task(local, handle.id)
                await until_state(local, handle.id, "waiting")
                name = account(local, task).account
                async with app.client() as outside:
                    raised = await outside.raise_budget(name, 5, by="ann")
                    assert raised.runs == (handle.id,)
                assert await handle.result() == "done"
                assert local.client.inbox_task(task.id).state == "withdrawn"
                with pytest.raises(ConflictError, match="withdrawn"):
                    await local.client.decide(task.id, "stop", by="late")
                row = local.client.budget(name)
                assert (row.limit, row.spent, row.held) == (7, TURNS, 0)
                assert "budget_rechecked" in kinds(local, handle.id)
                assert local.store.mail(handle.id) == []
            assert len(model.ledger.entries()) == TURNS

    asyncio.run(main())


def test_a_raise_that_is_too_small_asks_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(rules=[asking()]) as model:
            app = looking_app(tmp_path, model, DAY)
            async with executing(app) as local:
                handle = await local.start("a", "go")
                first = await open_task(local, handle.id)
                name = account(local, first).account
                await local.client.raise_budget(name, 1)
                second = await until(
                    lambda: next((t for t in local.store.inbox() if t.id != first.id), None)
                )
                assert account(local, second).spent == 3
                await local.client.raise_budget(name, 1)
                assert await handle.result() == "done"

    asyncio.run(main())


def test_a_raise_while_the_task_is_on_its_way_to_disk_is_seen(tmp_path: Path) -> None:
    """Who raises reads the open tasks before this one is there, and so tells nobody."""
    held: list[HeldStore] = []

    async def main() -> None:
        async with simulated(rules=[asking()]) as model:
            app = looking_app(tmp_path, model, DAY)
            async with executing(app, held=held.append) as local:
                handle = await local.start("a", "go")
                await until(lambda: "budget_refused" in kinds(local, handle.id), "refused")
                (row,) = local.store.budgets()
                raised = await local.client.raise_budget(row.account, 5)
                assert await handle.result() == "done"
                assert raised.runs in ((), (handle.id,))

    asyncio.run(main())


def test_a_raise_while_nobody_executes_is_seen_at_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(rules=[asking()]) as model:
            app = looking_app(tmp_path, model, DAY)
            async with crashing(app) as local:
                handle = await local.start("a", "go")
                task = await open_task(local, handle.id)
                name = account(local, task).account
            async with app.client() as outside:
                await outside.raise_budget(name, 5)
            async with executing(app) as local:
                await until_state(local, handle.id, "completed")
            assert len(model.ledger.entries()) == TURNS

    asyncio.run(main())


def test_a_top_up_on_one_task_lets_all_go_on_that_wait_for_the_account(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(rules=[asking()]) as model:
            app = looking_app(tmp_path, model, DAY)
            async with executing(app) as local:
                handles = [await local.start("a", f"go {number}") for number in range(3)]
                tasks = await until(
                    lambda: found if len(found := local.store.inbox()) == 3 else None, "all ask"
                )
                await local.client.decide(tasks[0].id, "top_up", value="10", by="ann")
                assert [await handle.result() for handle in handles] == ["done"] * 3
                states = sorted(local.client.inbox_task(task.id).state for task in tasks)
                assert states == ["decided", "withdrawn", "withdrawn"]
                (row,) = local.store.budgets()
                assert (row.limit, row.spent, row.held) == (12, 3 * TURNS, 0)

    asyncio.run(main())


def test_to_finish_gives_the_code_what_there_is(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(rules=[asking()]) as model:
            app = looking_app(tmp_path, model, {"run": {"model_calls": 0}})
            agent = Agent(model.model, name="b")

            @app.agent("b")
            async def b(run: Run) -> str:
                try:
                    return await run.ask(agent, "go")
                except BudgetExhaustedError as error:
                    return f"unfinished: {error.code}"

            app.contracts["b"] = Contract.model_validate(
                {"agent": "b", "budgets": {"run": {"model_calls": 0}}}
            )
            async with executing(app) as local:
                handle = await local.start("b")
                task = await open_task(local, handle.id)
                await local.client.decide(task.id, "finish", by="ann")
                assert await handle.result() == "unfinished: budget_exhausted"
                other = await local.start("a", "go")
                task = await open_task(local, other.id)
                await local.client.decide(task.id, "finish", by="ann")
                row = await until_state(local, other.id, "failed")
                assert "ann" in json.dumps(local.client.result(row))
            assert not model.ledger.entries()

    asyncio.run(main())


def test_to_stop_cancels_the_run(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            simulated(rules=[asking()]) as model,
            executing(looking_app(tmp_path, model, DAY)) as local,
        ):
            handle = await local.start("a", "go")
            task = await open_task(local, handle.id)
            await local.client.decide(task.id, "stop", by="ann")
            row = await until_state(local, handle.id, "cancelled")
            assert "is exhausted" in row.reason
            (budget,) = local.store.budgets()
            assert (budget.spent, budget.held) == (2, 0)

    asyncio.run(main())


def test_a_day_that_ends_gives_a_new_budget(tmp_path: Path) -> None:
    clock = MovableClock()

    async def main() -> None:
        async with (
            simulated(rules=[asking()]) as model,
            executing(looking_app(tmp_path, model, DAY), clock=clock) as local,
        ):
            now_us = clock.now_us()
            noon_us = next_day_us(now_us) + 43_200_000_000
            clock.move(timedelta(microseconds=noon_us - now_us))
            handle = await local.start("a", "go")
            task = await open_task(local, handle.id)
            midnight_us = next_day_us(noon_us)
            assert task.due_at_us == midnight_us
            await until_state(local, handle.id, "waiting")
            clock.move(timedelta(microseconds=midnight_us - clock.now_us()))
            assert await handle.result() == "done"
            assert local.client.inbox_task(task.id).state == "expired"
            before, after = local.store.budgets()
            assert (before.spent, after.spent) == (2, 2)

    asyncio.run(main())


def test_a_run_waits_for_what_others_only_hold_and_asks_nobody(tmp_path: Path) -> None:
    """The cap covers one worst case at a time; in truth a call takes a fraction of it."""

    def slowly(request: Request) -> Reply:
        return counts(request).model_copy(
            update={"misbehaviour": Misbehaviour(latency_seconds=0.05)}
        )

    budgets = {"agent_day": {"tokens": 8_000}}

    async def main() -> None:
        async with (
            simulated(rules=[Rule(respond=slowly)]) as model,
            executing(looking_app(tmp_path, model, budgets)) as local,
        ):
            handles = [await local.start("a", f"go {number}") for number in range(4)]
            assert [await handle.result() for handle in handles] == ["done"] * 4
            assert not local.store.inbox()
            assert not any("task_opened" in kinds(local, handle.id) for handle in handles)

    asyncio.run(main())
