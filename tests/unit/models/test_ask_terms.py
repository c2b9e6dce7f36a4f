"""What a contract says about asking: models and fallbacks, loops, prices, what is refused."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.capabilities import NativeTool
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.native_tools import MCPServerTool
from pydantic_ai.providers.openai import OpenAIProvider
from typer.testing import CliRunner

from interlock import App, Run, RunHandle
from interlock.cli import app as interlock
from interlock.contract import Contract
from interlock.errors import DeclarationError, LoopFoundError, RunFailedError
from interlock.models.durability import Durability
from interlock.testing.simulated_model import Rule, Scenario, SimulatedModel, When
from tests.support.asking import calls, says, simulated, wrong
from tests.support.local import app_in, entries_of, executing, open_task

READ = {"interlock": {"effect": "read"}}
CONTRACT = """\
agent: faq
model:
  name: house
  fallbacks: [spare]
  attempts: 1
budgets:
  run: {model_calls: 4}
"""


async def ended(handle: RunHandle) -> Any:
    """The run's result; a run that waits for a person instead is a failure of the test."""
    async with asyncio.timeout(30):
        return await handle.result()


def app_with_models(tmp_path: Path, contract: str, **models: Any) -> App:
    """An app whose contracts lie in a folder, with models of its own."""
    folder = tmp_path / "contracts"
    folder.mkdir()
    (folder / "faq.yaml").write_text(contract)
    store = f"sqlite:///{tmp_path / 'journal.db'}"
    return App("test", store=store, contracts=folder, models=models)


def test_a_contract_names_registered_models_and_the_next_one_answers(tmp_path: Path) -> None:
    async def main() -> None:
        broken = Rule(when=When(model="small"), reply=wrong(status=500))
        async with simulated(rules=[broken]) as house, simulated(says("Spare here.")) as spare:
            app = app_with_models(tmp_path, CONTRACT, house=house.model, spare=spare.model)
            app.deploy(Agent(name="faq"))
            async with executing(app) as local:
                handle = await local.start("faq", "Hello?")
                assert await ended(handle) == "Spare here."
                (failed,) = entries_of(local, handle.id, "model_attempt_failed")
                (answered,) = entries_of(local, handle.id, "model_answered")
                assert failed.event.header["model"] == "house"
                assert answered.event.header["model"] == "spare"
            # The client would have tried twice more by itself.
            assert len(house.ledger.entries()) == 1

    asyncio.run(main())


def test_a_deployed_agent_takes_the_contract_of_its_file(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("Yes.")) as model:
            app = app_in(tmp_path)
            path = tmp_path / "faq.yaml"
            path.write_text("agent: faq\nbudgets: {run: {tokens: 10000}}\n")
            assert app.deploy(Agent(model.model), contract=path) == "faq"
            with pytest.raises(DeclarationError, match="cannot have the contract"):
                app.deploy(Agent(model.model), contract=path, name="other")
            async with executing(app) as local:
                assert await ended(await local.start("faq", "Open?")) == "Yes."
                (budget,) = local.store.budgets()
                assert (budget.limit, budget.held) == (10_000, 0)

    asyncio.run(main())


def test_a_loop_is_escalated_with_the_calls_that_show_it(tmp_path: Path) -> None:
    async def main() -> None:
        again = Rule(reply=calls("look", at="sky"))
        async with simulated(rules=[again]) as model:
            agent = Agent(model.model, name="looker")

            @agent.tool_plain(metadata=READ)
            async def look(at: str) -> str:
                return "blue"

            app = app_in(tmp_path)
            app.deploy(agent)
            async with executing(app) as local:
                handle = await local.start("looker", "Look")
                task = await open_task(local, handle.id)
                entry = local.store.entry(task.position)
                assert entry is not None
                question = json.loads(entry.body or b"")
                assert question["problem"] == "loop"
                assert question["details"]["loop"] == "same_call"
                assert [call["tool"] for call in question["details"]["calls"]] == ["look"] * 3
                store = f"sqlite:///{tmp_path / 'journal.db'}"
                shown = CliRunner().invoke(interlock, ["inbox", "show", task.id, "--store", store])
                assert shown.exit_code == 0, shown.output
                told = " ".join(shown.output.split())
                assert 'loop: (1) look {"at":"sky"}: new answer; (2) look' in told
                assert '(3) look {"at":"sky"}: not made yet' in told
                await local.client.decide(task.id, "give_up", by="ann")
                with pytest.raises(RunFailedError, match="LoopFoundError"):
                    await handle.result()
            assert len(model.ledger.entries()) == 3

    asyncio.run(main())


def test_a_contract_bounds_the_requests_of_one_ask(tmp_path: Path) -> None:
    bounded = "agent: faq\nmodel: {name: house}\nloops: {requests: 3}\n"

    async def main() -> None:
        again = Rule(reply=calls("look"))
        async with simulated(rules=[again]) as model:
            seen = itertools.count()
            agent = Agent(name="faq")

            @agent.tool_plain(metadata=READ)
            async def look() -> int:
                return next(seen)

            app = app_with_models(tmp_path, bounded, house=model.model)
            app.deploy(agent)
            async with executing(app) as local:
                handle = await local.start("faq", "Look")
                task = await open_task(local, handle.id)
                entry = local.store.entry(task.position)
                assert entry is not None
                assert json.loads(entry.body or b"")["problem"] == "requests"
                await local.client.decide(task.id, "give_up", by="ann")
                with pytest.raises(RunFailedError, match="asks for ever"):
                    await handle.result()
            assert len(model.ledger.entries()) == 3

    asyncio.run(main())


def test_the_code_may_take_a_loop_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(rules=[Rule(reply=calls("look"))]) as model:
            agent = Agent(model.model, name="looker")

            @agent.tool_plain(metadata=READ)
            async def look() -> str:
                return "blue"

            app = app_in(tmp_path)

            @app.agent("calm")
            async def calm(run: Run) -> str:
                try:
                    return await run.ask(agent, "Look", escalate=False)
                except LoopFoundError as error:
                    return error.fields["loop"]["loop"]

            async with executing(app) as local:
                assert await ended(await local.start("calm")) == "same_call"

    asyncio.run(main())


def test_a_tool_that_fails_is_told_to_the_model_which_goes_another_way(tmp_path: Path) -> None:
    async def main() -> None:
        turns = (calls("look", at="sky"), calls("look", at="sea"), says("The sea is blue."))
        async with simulated(*turns) as model:
            agent = Agent(model.model, name="looker")

            @agent.tool_plain(metadata=READ)
            async def look(at: str) -> str:
                if at == "sky":
                    raise LookupError("there is fog")
                return "blue"

            app = app_in(tmp_path)
            app.deploy(agent)
            async with executing(app) as local:
                handle = await local.start("looker", "Look")
                assert await ended(handle) == "The sea is blue."
                assert len(entries_of(local, handle.id, "read_failed")) == 1

    asyncio.run(main())


def test_money_without_a_price_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("Hi.")) as model:
            app = app_in(tmp_path)
            terms = Contract.model_validate({"agent": "a", "budgets": {"run": {"usd": 1}}})
            app.deploy(Agent(model.model, name="a"), terms)
            async with executing(app) as local:
                handle = await local.start("a", "Hello")
                with pytest.raises(RunFailedError, match="has no known price"):
                    await ended(handle)
            assert not model.ledger.entries()

    asyncio.run(main())


def test_a_server_that_the_provider_calls_itself_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("Hi.")) as model:
            server = NativeTool(MCPServerTool(id="files", url="https://example.com/mcp"))
            agent = Agent(model.model, name="a", capabilities=[server])
            app = app_in(tmp_path)
            app.deploy(agent)
            async with executing(app) as local:
                handle = await local.start("a", "Hello")
                with pytest.raises(RunFailedError):
                    await ended(handle)
            assert not model.ledger.entries()

    asyncio.run(main())


def test_an_agent_that_carries_the_capability_is_asked_like_any_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("Hi.")) as model:
            agent = Agent(model.model, name="a", capabilities=[Durability()])
            app = app_in(tmp_path)
            app.deploy(agent)
            async with executing(app) as local:
                handle = await local.start("a", "Hello")
                assert await ended(handle) == "Hi."
                assert len(entries_of(local, handle.id, "model_answered")) == 1
            # Outside of a run it is what it was.
            assert (await agent.run("Hello")).output == "Hi."

    asyncio.run(main())


def test_metadata_that_says_nothing_sensible_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(calls("look"), says("Hi.")) as model:
            agent = Agent(model.model, name="a")

            @agent.tool_plain(metadata={"interlock": {"effect": "peek"}})
            async def look() -> str:
                return "blue"

            app = app_in(tmp_path)
            app.deploy(agent)
            async with executing(app) as local:
                handle = await local.start("a", "Hello")
                with pytest.raises(RunFailedError, match="effect 'peek'"):
                    await ended(handle)

    asyncio.run(main())


def test_a_script_asks_twice_with_the_same_model(tmp_path: Path) -> None:
    """Its client belongs to the loop that used it first."""
    with SimulatedModel(Scenario(rules=(Rule(reply=says("Yes.")),))) as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key="not-a-secret")
        model = OpenAIChatModel("small", provider=OpenAIProvider(openai_client=client))
        app = app_in(tmp_path)
        app.deploy(Agent(model, name="faq"))
        assert [app.run("faq", "Open?"), app.run("faq", "Still?")] == ["Yes.", "Yes."]

        @app.agent("closes")
        async def closes(run: Run) -> None:
            await run.step(client.close)

        app.run("closes")
