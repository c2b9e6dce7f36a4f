"""Tools of an MCP server where others meet them: models, plans, policies, the vault, promises."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent

from interlock import Plan, PlanStep, Run
from interlock.errors import NotAllowedError, PolicyError, StepFailedError
from interlock.testing.simulated_model import Reply, Request, Rule
from interlock.tools.pins import promise
from tests.support.asking import calls, says, simulated
from tests.support.local import entries_of, executing, open_task
from tests.support.mcp_home import Home

TOOLS: dict[str, Any] = {
    "find": {"effect": "read", "owner": "ops"},
    "save": {
        "effect": "write",
        "recovery": "key",
        "key_argument": "dedupe",
        "resource": ["path"],
    },
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A folder for one server, whose tools are accepted."""
    home = Home(tmp_path)
    home.declare(TOOLS)
    home.pin()
    return home


def test_a_model_sees_what_was_accepted_and_mends_what_is_wrong(home: Home) -> None:
    asked: list[Request] = []

    def respond(request: Request) -> Reply:
        asked.append(request)
        match request.turn:
            case 0:
                return calls("desk_save", path=5, text="t", dedupe="mine")
            case 1:
                return calls("desk_save", path="a", text="t")
            case _:
                return says("Saved.")

    async def main() -> None:
        async with simulated(rules=[Rule(respond=respond)]) as model:
            app = home.app()
            app.deploy(Agent(model.model, name="clerk"), tools=list(app.tools.values()))
            async with executing(app) as local:
                handle = await local.start("clerk", "Save it")
                assert await handle.result() == "Saved."
                (effect,) = local.store.effects(run=handle.id)
        offered = asked[0].tools
        assert set(offered) == {"desk_find", "desk_save"}
        assert set(offered["desk_save"]["properties"]) == {"path", "text"}
        assert "Write a text to a path." in json.dumps(asked[0].body["tools"])
        told = asked[1].messages[-1].text
        assert "path: must be of type string" in told
        assert "dedupe: there is no such argument" in told
        assert home.done() == [f"save a t {effect.effect_key}"]

    asyncio.run(main())


def test_a_plan_passes_results_from_one_to_the_other(home: Home) -> None:
    app = home.app()
    found = {"$result": "find", "path": "result"}
    plan = Plan(
        steps=(
            PlanStep(id="find", tool="desk_find", arguments={"query": "x"}),
            PlanStep(
                id="save",
                tool="desk_save",
                arguments={"path": "a", "text": found},
                depends_on=("find",),
            ),
        )
    )

    @app.agent("planner")
    async def planner(run: Run) -> Any:
        return await run.execute(plan, tools=list(app.tools.values()))

    async def scenario() -> None:
        async with executing(app) as local:
            await (await local.start("planner")).result()
        assert home.done()[1].startswith("save a 3 of x effect_")

    asyncio.run(scenario())


POLICIES = """
@id("reads") permit (principal, action in Action::"any read", resource);
@id("short") permit (principal, action == Action::"desk_save", resource)
when { context.args.path == "a" };
@id("limit") forbid (principal, action == Action::"desk_find", resource)
when { context.args has limit && context.args.limit > 10 };
"""


def test_policies_judge_its_arguments(home: Home) -> None:
    folder = home.folder / "policies"
    folder.mkdir()
    (folder / "a.cedar").write_text(POLICIES)
    app = home.app(policies=folder)

    @app.agent("caller")
    async def caller(run: Run) -> list[str]:
        find, save = app.tools["desk_find"], app.tools["desk_save"]
        await run.call(find, query="x")
        await run.call(save, path="a", text="t")
        with pytest.raises(StepFailedError, match="not allowed"):
            await run.call(find, query="x", limit=11)
        with pytest.raises(NotAllowedError):
            await run.call(save, path="b", text="t")
        return []

    async def scenario() -> None:
        async with executing(app) as local:
            await (await local.start("caller")).result()
        assert [line.split()[:2] for line in home.done()] == [["find", "x"], ["save", "a"]]

    asyncio.run(scenario())
    (folder / "a.cedar").write_text(POLICIES.replace("context.args has limit && ", ""))
    with pytest.raises(PolicyError, match="limit"):
        app.gateway()


def test_its_promise_says_where_its_words_are_from(home: Home) -> None:
    promised = promise(home.app().tools["desk_save"])
    assert (promised["effect"], promised["recovery"]) == ("write", "key")
    assert set(promised["arguments"]["properties"]) == {"path", "text"}


def test_under_handles_the_server_gets_values_and_the_journal_does_not(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_VAULT_KEY", f"1:{base64.b64encode(bytes(32)).decode()}")
    contract = home.folder / "clerk.yaml"
    contract.write_text("agent: clerk\nmasking:\n  handles: true\n")

    def respond(request: Request) -> Reply:
        handle = "email#1"
        if request.turn == 0:
            return calls("desk_save", path="a", text=handle)
        return says("Saved.")

    async def main() -> None:
        async with simulated(rules=[Rule(respond=respond)]) as model:
            app = home.app()
            agent = Agent(model.model, name="clerk")
            app.deploy(agent, contract, tools=[app.tools["desk_save"]])
            async with app.executor() as local:
                handle = await local.start("clerk", "Save ana@example.org")
                assert await handle.result() == "Saved."
                (intended,) = entries_of(local, handle.id, "effect_intended")
        assert home.done()[0].startswith("save a ana@example.org effect_")
        assert json.loads(intended.body or b"") == {"path": "a", "text": "email#1"}

    asyncio.run(main())


def test_a_tool_that_only_suggests_asks_first(home: Home) -> None:
    home.declare({"save": {**TOOLS["save"], "autonomy": "suggest", "owner": "ops"}})
    app = home.app()

    @app.agent("caller")
    async def caller(run: Run) -> Any:
        return await run.call(app.tools["desk_save"], path="a", text="t")

    async def scenario() -> None:
        async with executing(app) as local:
            handle = await local.start("caller")
            task = await open_task(local, handle.id)
            assert (task.kind, task.role) == ("approval", "ops")
            assert home.done() == []

    asyncio.run(scenario())
