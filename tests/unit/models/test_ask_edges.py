"""Where asking meets its edges: what people answer, sizes, late contracts, what providers do."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.capabilities import NativeTool
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.native_tools import WebSearchTool
from pydantic_ai.output import TextOutput

from interlock import App, Run
from interlock.contract import Contract
from interlock.errors import DeclarationError, RunFailedError
from interlock.models.answers import answer_type
from interlock.testing.simulated_model import Rule, When
from tests.support.asking import calls, says, simulated, wrong
from tests.support.local import MovableClock, app_in, entries_of, executing, open_task

READ = {"interlock": {"effect": "read"}}


class City(BaseModel):
    """A structured output."""

    city: str


class Country(BaseModel):
    """Another one."""

    country: str


class Connection:
    """Something that has no JSON form."""


def shout(text: str) -> str:
    """An output function."""
    return text.upper()


def deployed(tmp_path: Path, agent: Agent[Any, Any], **terms: Any) -> App:
    """An app with this agent, under a contract with these terms."""
    app = app_in(tmp_path)
    app.deploy(agent, Contract(agent=agent.name or "", **terms))
    return app


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (City, City),
        ([City, Country], City | Country),
        (ToolOutput(City), City),
        ([ToolOutput(City), Country], City | Country),
        (NativeOutput([City, Country]), City | Country),
        (PromptedOutput(City), City),
        (TextOutput(shout), str),
        ([shout, City], str | City),
        (list[City], list[City]),
    ],
    ids=["type", "types", "tool", "tools", "native", "prompted", "text", "function", "list"],
)
def test_the_type_of_an_answer(kind: Any, wanted: Any) -> None:
    assert answer_type(kind) == wanted


@pytest.mark.parametrize(
    "kind", [[City, Country], ToolOutput(City), NativeOutput(City)], ids=["list", "tool", "native"]
)
def test_a_person_answers_for_every_form_of_output(tmp_path: Path, kind: Any) -> None:
    async def main() -> None:
        async with simulated(rules=[Rule(reply=says("nonsense"))]) as model:
            agent = Agent(model.model, name="a", output_type=kind)
            async with executing(deployed(tmp_path, agent, output={"attempts": 1})) as local:
                handle = await local.start("a", "Where?")
                task = await open_task(local)
                value = {"city": "Oslo"}
                await local.client.decide(task.id, "answer", value=value, by="ann")
                async with asyncio.timeout(30):
                    result = await handle.result()
                assert result in (City(city="Oslo"), value)

    asyncio.run(main())


def test_a_persons_answer_that_does_not_fit_is_asked_for_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(rules=[Rule(reply=says("nonsense"))]) as model:
            agent = Agent(model.model, name="a", output_type=City)
            async with executing(deployed(tmp_path, agent, output={"attempts": 1})) as local:
                handle = await local.start("a", "Where?")
                first = await open_task(local)
                await local.client.decide(first.id, "answer", value={"town": "Oslo"}, by="ann")
                second = await open_task(local)
                assert second.id != first.id
                opened = entries_of(local, handle.id, "task_opened")[-1].body or b""
                assert b"that ann gave does not fit" in opened
                await local.client.decide(second.id, "answer", value={"city": "Oslo"}, by="ann")
                async with asyncio.timeout(30):
                    assert await handle.result() == City(city="Oslo")

    asyncio.run(main())


def test_a_prompt_that_cannot_be_recorded_is_not_paid_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(rules=[Rule(reply=says("A square."))]) as model:
            app = app_in(tmp_path)
            agent = Agent(model.model, name="viewer")

            @app.agent("look")
            async def look(run: Run) -> str:
                image = BinaryContent(bytes(1_500_000), media_type="image/png")
                return await run.ask(agent, ["What is it?", image])

            async with executing(app) as local, asyncio.timeout(30):
                handle = await local.start("look")
                with pytest.raises(RunFailedError, match="what 'viewer' tells the model"):
                    await handle.result()
            assert not model.ledger.entries()

    asyncio.run(main())


def test_an_ask_of_over_a_megabyte_is_remembered(tmp_path: Path) -> None:
    async def main() -> None:
        turns = [*(calls("look", page=page) for page in range(12)), says("Read."), says("Again.")]
        async with simulated(*turns) as model:
            agent = Agent(model.model, name="reader")

            @agent.tool_plain(metadata=READ)
            async def look(page: int) -> str:
                return f"{page}" + "x" * 90_000

            terms = {"conversation": {"keep_tokens": 1_000_000, "keep_messages": 100}}
            async with executing(deployed(tmp_path, agent, **terms)) as local:
                async with asyncio.timeout(60):
                    for said in ("Read.", "Again."):
                        given = {"prompt": "Read it", "conversation": "book"}
                        handle = await local.start("reader", given)
                        assert await handle.result() == said
                bodies = [
                    entry.body or b"" for entry in local.store.read("conversation/default/book")
                ]
                assert len(bodies) == 3
                # The second run shows the model all of it, and records none of it again.
                (answered,) = entries_of(local, handle.id, "model_answered")
                assert len(answered.body or b"") < 2_000
                assert model.ledger.entries()[-1].billed_prompt_tokens > 250_000

    asyncio.run(main())


def test_an_agent_that_is_deployed_late_keeps_its_contract(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(rules=[Rule(reply=says("Hi."))]) as model:
            app = app_in(tmp_path)
            app.deploy(Agent(model.model, name="first"))
            async with executing(app) as local, asyncio.timeout(30):
                assert await (await local.start("first", "Hello")).result() == "Hi."
                terms = {"agent": "second", "budgets": {"run": {"model_calls": 0}}}
                app.deploy(Agent(model.model, name="second"), Contract.model_validate(terms))
                await local.start("second", "Hello")
                assert (await open_task(local)).kind == "budget"

    asyncio.run(main())


def test_each_member_of_a_fallback_model_is_a_request_of_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        broken = Rule(when=When(model="small"), reply=wrong(status=500))
        async with simulated(rules=[broken]) as house, simulated(says("Spare here.")) as spare:
            agent = Agent(FallbackModel(house.model, spare.model), name="a")
            terms = {"budgets": {"run": {"model_calls": 10}}, "model": {"attempts": 1}}
            async with executing(deployed(tmp_path, agent, **terms)) as local:
                handle = await local.start("a", "Hello")
                async with asyncio.timeout(30):
                    assert await handle.result() == "Spare here."
                (budget,) = local.store.budgets()
                asked = len(house.ledger.entries()) + len(spare.ledger.entries())
                assert budget.spent == asked == 2
                (failed,) = entries_of(local, handle.id, "model_attempt_failed")
                (answered,) = entries_of(local, handle.id, "model_answered")
                names = [entry.event.header["model"] for entry in (failed, answered)]
                assert names == ["openai:small", "openai:small#2"]

    asyncio.run(main())


def test_what_a_provider_does_by_itself_is_refused_unless_the_contract_says_so(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with simulated(says("Hi.")) as model:
            agent = Agent(model.model, name="a", capabilities=[NativeTool(WebSearchTool())])
            async with executing(deployed(tmp_path, agent)) as local, asyncio.timeout(30):
                handle = await local.start("a", "Hello")
                with pytest.raises(RunFailedError, match="native tool 'web_search'"):
                    await handle.result()
            assert not model.ledger.entries()

    asyncio.run(main())


def test_a_fraction_of_a_millisecond_is_no_more_to_spend(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("Hi.")) as model:
            agent = Agent(model.model, name="a")
            terms = {"budgets": {"run": {"seconds": Decimal("100.0009")}}}
            async with executing(deployed(tmp_path, agent, **terms)) as local:
                async with asyncio.timeout(30):
                    assert await (await local.start("a", "Hello")).result() == "Hi."
                (budget,) = local.store.budgets()
                assert budget.limit == 100_000

    asyncio.run(main())


def test_the_days_that_a_person_takes_are_no_seconds_of_a_call(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(calls("send"), says("Sent.")) as model:
            agent = Agent(model.model, name="mailer")

            @agent.tool_plain
            async def send() -> str:
                raise ConnectionError("gone")

            clock = MovableClock()
            app = deployed(tmp_path, agent, budgets={"run": {"seconds": 200}})
            async with executing(app, clock=clock) as local, asyncio.timeout(30):
                handle = await local.start("mailer", "Send")
                await open_task(local)
                clock.move(timedelta(days=2))
                (effect,) = local.store.effects(run=handle.id)
                result = {"kind": "tool_return", "result": "sent"}
                await local.client.resolve(effect.effect_key, "happened", result=result, by="ann")
                assert await handle.result() == "Sent."
                (budget,) = local.store.budgets()
                assert (budget.held, budget.spent < 60_000) == (0, True)

    asyncio.run(main())


def test_dependencies_that_cannot_be_an_input_are_refused_at_once(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    with pytest.raises(DeclarationError, match="deps=lambda run"):
        app.deploy(Agent("test", name="a", deps_type=Connection))
