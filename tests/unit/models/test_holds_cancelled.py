"""No hold outlives its run: not one under way, not one of a task left behind or of a parked run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent

from interlock import App, Run
from interlock.contract import Contract
from tests.support.asking import calls, says, simulated, wrong
from tests.support.local import (
    HeldStore,
    app_in,
    crashing,
    executing,
    kinds,
    until,
    until_state,
)

READ = {"interlock": {"effect": "read"}}


@pytest.mark.parametrize("unit", ["model_calls", "tool_calls"])
def test_a_hold_under_way_returns(tmp_path: Path, unit: str) -> None:
    stores: list[HeldStore] = []
    go = asyncio.Event()
    called: list[str] = []

    async def main() -> None:
        async with simulated(
            calls("look"), says("One."), calls("look"), says("Two."), calls("look")
        ) as model:
            agent: Agent[Any, Any] = Agent(model.model, name="asked")

            @agent.tool_plain(metadata=READ)
            async def look() -> str:
                called.append("look")
                return f"blue {len(called)}"

            app = app_in(tmp_path)

            async def wait() -> None:
                await go.wait()

            @app.agent("a")
            async def a(run: Run) -> str:
                await run.ask(agent, "Open the accounts.")
                asking = asyncio.create_task(run.ask(agent, "And again."))
                await run.step(wait)
                asking.cancel()
                await asyncio.wait([asking])
                return "gave up" if asking.cancelled() else "too late"

            terms = {"agent": "a", "budgets": {"run": {unit: 10}}}
            app.contracts["a"] = Contract.model_validate(terms)
            async with executing(app, held=stores.append) as local:
                handle = await local.start("a")
                await until(lambda: len(model.ledger.entries()) == 2, "the first ask")
                (store,) = stores
                await until(lambda: len(model.ledger.entries()) == 3, "the second ask")
                store.hold()
                await until(store.holding.is_set, "its answer is on its way to disk")
                go.set()
                await asyncio.sleep(0.05)
                store.release()
                async with asyncio.timeout(30):
                    assert await handle.result() == "gave up"
                (budget,) = local.store.budgets()
                told = kinds(local, handle.id)
                assert budget.held == 0, told

    asyncio.run(main())


def test_a_parked_run_that_is_cancelled_holds_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(wrong(hangs=True)) as model:

            def asking(prompt: str) -> App:
                app = app_in(tmp_path)

                @app.agent("a")
                async def a(run: Run) -> str:
                    return await run.ask(Agent(model.model, name="asked"), prompt)

                terms = {"agent": "a", "budgets": {"run": {"model_calls": 10}}}
                app.contracts["a"] = Contract.model_validate(terms)
                return app

            async with crashing(asking("Hello")) as local:
                run = (await local.start("a")).id
                await until(model.ledger.entries, "it is asked")
            async with executing(asking("Good-bye")) as local:
                await until_state(local, run, "parked")
                (budget,) = local.store.budgets()
                assert budget.held == 1
                await local.client.cancel(run)
                await until_state(local, run, "cancelled")
                (budget,) = local.store.budgets()
                assert (budget.held, budget.spent) == (0, 1)

    asyncio.run(main())


def test_a_task_that_is_left_behind_holds_nothing(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def main() -> None:
        async with simulated(calls("look")) as model:
            agent = Agent(model.model, name="asked")

            @agent.tool_plain(metadata=READ)
            async def look() -> str:
                begun.set()
                await asyncio.Event().wait()
                return "never"

            app = app_in(tmp_path)

            @app.agent("a")
            async def a(run: Run) -> str:
                left = asyncio.create_task(run.ask(agent, "Look."))
                await run.step(begun.wait)
                return "" if left.done() else "left"

            terms = {"agent": "a", "budgets": {"run": {"tool_calls": 10}}}
            app.contracts["a"] = Contract.model_validate(terms)
            async with executing(app) as local, asyncio.timeout(30):
                assert await (await local.start("a")).result() == "left"
                (budget,) = local.store.budgets()
                assert (budget.held, budget.spent) == (0, 1)

    asyncio.run(main())
