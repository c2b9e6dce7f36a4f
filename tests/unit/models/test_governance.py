"""What holds for an agent whatever it is made of: nothing is asked past the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from interlock import App, Run
from interlock.contract import Budget, Budgets, Contract
from interlock.errors import DeclarationError, RunFailedError
from interlock.models.nested import refuse_nested
from interlock.testing.simulated_model import Rule, When
from tests.support.asking import calls, says, simulated, wrong
from tests.support.local import (
    app_in,
    crashing,
    entries_of,
    executing,
    open_task,
    until,
    until_state,
)

EXPERT: Agent[None, str] = Agent(name="expert")
READ = {"interlock": {"effect": "read"}}


async def asks_a_global(question: str) -> str:
    return (await EXPERT.run(question)).output


async def asks_through_a_helper(question: str) -> str:
    return await asks_a_global(question)


async def asks_in_a_comprehension(question: str) -> list[str]:
    return [(await EXPERT.run(question)).output for _ in range(1)]


class Desk:
    """An object that holds an agent."""

    def __init__(self) -> None:
        self.helper = EXPERT

    async def asks_its_own(self, question: str) -> str:
        return (await self.helper.run(question)).output


def closure() -> Callable[..., Any]:
    inner: Agent[None, str] = Agent(name="expert")

    async def asks_a_closure(question: str) -> str:
        return (await inner.run(question)).output

    return asks_a_closure


class Named:
    """Something with an attribute that is called like a global agent."""

    EXPERT = "a word"


async def harmless(question: str) -> str:
    return Named.EXPERT + question


def with_tool(function: Callable[..., Any], **how: Any) -> Agent[None, str]:
    agent: Agent[None, str] = Agent(name="asker")
    agent.tool_plain(**how)(function)
    return agent


@pytest.mark.parametrize(
    "function",
    [
        asks_a_global,
        asks_through_a_helper,
        asks_in_a_comprehension,
        Desk().asks_its_own,
        closure(),
    ],
    ids=["global", "helper", "comprehension", "bound", "closure"],
)
def test_a_function_that_asks_an_agent_by_itself_is_refused(
    function: Callable[..., Any],
) -> None:
    with pytest.raises(DeclarationError, match="asks agent 'expert' by itself") as refused:
        refuse_nested(with_tool(function), Contract(agent="desk"))
    assert "{effect: delegate}" in refused.value.message
    refuse_nested(
        with_tool(function, metadata={"interlock": {"effect": "delegate"}}), Contract(agent="desk")
    )


def test_an_attribute_of_an_agents_name_is_no_agent() -> None:
    refuse_nested(with_tool(harmless), Contract(agent="desk"))


def test_nothing_is_asked_when_a_function_would_ask_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("Never.")) as model:
            agent = Agent(model.model, name="asker")
            agent.tool_plain(asks_a_global)
            app = app_in(tmp_path)
            app.deploy(agent)
            async with executing(app) as local:
                handle = await local.start("asker", "Hello")
                with pytest.raises(RunFailedError, match="asks agent 'expert' by itself"):
                    await handle.result()
            assert not model.ledger.entries()

    asyncio.run(main())


def test_attempts_that_a_process_did_not_survive_are_no_failures_of_the_model(
    tmp_path: Path,
) -> None:
    terms: dict[str, Any] = {"model": {"attempts": 1}, "budgets": {"run": {"model_calls": 9}}}

    async def main() -> None:
        hanging = Rule(reply=wrong(hangs=True))
        async with simulated(rules=[hanging]) as model:
            app = deployed(tmp_path, Agent(model.model, name="faq"), **terms)
            async with crashing(app) as local:
                handle = await local.start("faq", "Hello")
                await until(lambda: len(model.ledger.entries()) == 1)
            for times in (2, 3):
                async with crashing(app) as local:
                    await until(lambda n=times: len(model.ledger.entries()) == n)
        async with simulated(says("Here.")) as model:
            app = deployed(tmp_path, Agent(model.model, name="faq"), **terms)
            async with executing(app) as local:
                await until_state(local, handle.id, "completed")
                failed = entries_of(local, handle.id, "model_attempt_failed")
                assert [entry.event.header["interrupted"] for entry in failed] == [1, 1, 1]

    asyncio.run(main())


def deployed(tmp_path: Path, agent: Agent[Any, Any], **terms: Any) -> App:
    app = app_in(tmp_path)
    app.deploy(agent, Contract(agent=agent.name or "", **terms))
    return app


def test_finishing_a_deployed_agent_answers_what_it_has_said_so_far(tmp_path: Path) -> None:
    async def main() -> None:
        first = Rule(
            when=When(turn=0),
            reply=calls("look").model_copy(update={"text": "It seems to be blue."}),
        )
        async with simulated(rules=[first]) as model:
            agent = Agent(model.model, name="looker")

            @agent.tool_plain(metadata=READ)
            def look() -> str:
                return "blue"

            app = deployed(tmp_path, agent, budgets={"run": {"model_calls": 1}})
            async with executing(app) as local:
                handle = await local.start("looker", "Look")
                task = await open_task(local, handle.id)
                await local.client.decide(task.id, "finish", by="ann")
                row = await handle.row()
                assert (row.state, row.outcome) == ("completed", "unfinished")
                assert await handle.result() == "It seems to be blue."

    asyncio.run(main())


def test_finishing_without_anything_said_fails_with_the_budget(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("Never.")) as model:
            app = deployed(
                tmp_path,
                Agent(model.model, name="faq", output_type=int),
                budgets={"run": {"tokens": 1}},
            )
            async with executing(app) as local:
                handle = await local.start("faq", "Hello")
                task = await open_task(local, handle.id)
                await local.client.decide(task.id, "finish", by="ann")
                with pytest.raises(RunFailedError, match="is exhausted"):
                    await handle.result()

    asyncio.run(main())


def app_under(tmp_path: Path, *contracts: Contract, **models: Any) -> App:
    app = App("test", store=f"sqlite:///{tmp_path / 'journal.db'}", models=models)
    app.contracts.update({contract.agent: contract for contract in contracts})
    for name in ("desk", "clerk"):
        app.agent(name)(_rests)
    return app


async def _rests(run: Run) -> None:
    await run.wait("nothing")


def start_of(app: App) -> None:
    async def main() -> None:
        async with app.executor():
            pass

    asyncio.run(main())


def test_a_contract_for_a_misspelt_agent_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"agent 'dsek', and no such agent: .*'desk'\?"):
        start_of(app_under(tmp_path, Contract(agent="dsek")))


def test_two_limits_of_one_tenants_day_stop_the_start(tmp_path: Path) -> None:
    def day(agent: str, tokens: int) -> Contract:
        return Contract(agent=agent, budgets=Budgets(tenant_day=Budget(tokens=tokens)))

    with pytest.raises(DeclarationError, match="one account for all agents"):
        start_of(app_under(tmp_path, day("desk", 1000), day("clerk", 2000)))
    start_of(app_under(tmp_path, day("desk", 1000), day("clerk", 1000)))


def test_a_model_without_a_price_under_a_budget_in_money_stops_the_start(tmp_path: Path) -> None:
    terms: dict[str, Any] = {"agent": "desk", "model": {"name": "house"}}
    money: dict[str, Any] = {"budgets": {"run": {"usd": 1}}}
    price: dict[str, Any] = {
        "prices": {"house": {"input_usd_per_million": 1, "output_usd_per_million": 2}}
    }

    async def main() -> None:
        async with simulated(says("Hi.")) as model:
            for refused, more in ((False, {}), (False, money | price), (True, money)):
                app = app_under(tmp_path, Contract(**terms, **more), house=unknown(model.model))
                if refused:
                    with pytest.raises(DeclarationError, match="what model 'house' costs"):
                        async with app.executor():
                            pass
                else:
                    async with app.executor():
                        pass

    asyncio.run(main())


def unknown(model: OpenAIChatModel) -> OpenAIChatModel:
    """The model under a name that no price list has."""
    return OpenAIChatModel("house-7b", provider=OpenAIProvider(openai_client=model.client))
