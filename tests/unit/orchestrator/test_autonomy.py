"""A contract takes away from what a tool may do by itself: proposals and drafts in its place."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent

from interlock import App, EffectKey, Run
from interlock.contract import Contract
from interlock.errors import DeclarationError, EffectFailedError
from interlock.testing.simulated_model import Rule, When
from interlock.tools.masking.vault_keys import KEY_VARIABLE
from tests.support.asking import calls, says, simulated
from tests.support.local import app_in, crashing, entries_of, executing, open_task, until

IBAN = "FR7630006000011234567890189"


class Desk:
    """An application with a reply, its draft, and what they have done."""

    def __init__(self, folder: Path, **levels: str) -> None:
        self.done: list[str] = []
        self.app = app = app_in(folder)
        self.contract = Contract.model_validate({"agent": "clerk", "autonomy": levels})
        app.contracts["clerk"] = self.contract

        @app.tool(effect="write", recovery="repeatable")
        async def save_draft(to: str, text: str) -> str:
            self.done.append(f"draft {to}: {text}")
            return "drafted"

        @app.tool(effect="write", recovery="repeatable", owner="boss", draft=save_draft)
        async def reply(to: str, text: str, key: EffectKey) -> str:
            self.done.append(f"reply {to}: {text}")
            return "sent"

        self.reply = reply

    def clerk(self) -> None:
        """Declare an agent that replies from its code."""

        @self.app.agent("clerk")
        async def clerk(run: Run) -> str:
            try:
                return await run.call(self.reply, to="ann", text="Hello")
            except EffectFailedError as error:
                return f"not made: {error.message}"


@pytest.mark.parametrize(("level", "what"), [("act", "reply"), ("draft", "draft")])
def test_what_the_contract_says_is_called(tmp_path: Path, level: str, what: str) -> None:
    desk = Desk(tmp_path, reply=level)
    desk.clerk()

    async def main() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("clerk")
            assert await handle.result() == ("sent" if level == "act" else "drafted")
            (effect,) = local.store.effects()
            assert effect.tool == ("reply" if level == "act" else "save_draft")

    asyncio.run(main())
    assert desk.done == [f"{what} ann: Hello"]


@pytest.mark.parametrize("choice", ["approve", "reject"])
def test_a_proposal_is_made_only_when_a_person_approves(tmp_path: Path, choice: str) -> None:
    desk = Desk(tmp_path, reply="suggest")
    desk.clerk()

    async def main() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("clerk")
            task = await open_task(local, handle.id)
            assert (task.kind, task.role) == ("approval", "boss")
            assert desk.done == []
            await local.client.decide(task.id, choice, by="bea")
            result = await handle.result()
            assert result == "sent" if choice == "approve" else result.startswith("not made")

    asyncio.run(main())
    assert desk.done == (["reply ann: Hello"] if choice == "approve" else [])


def test_a_run_keeps_the_autonomy_it_began_with(tmp_path: Path) -> None:
    """Its contract is pinned: a restart under a laxer one does not make the proposal act."""
    first = Desk(tmp_path, reply="suggest")
    first.clerk()

    async def before() -> str:
        async with crashing(first.app) as local:
            handle = await local.start("clerk")
            await open_task(local, handle.id)
            return handle.id

    later = Desk(tmp_path, reply="act")
    later.clerk()

    async def after(run: str) -> None:
        async with executing(later.app) as local:
            task = await open_task(local, run)
            await local.client.decide(task.id, "reject", by="bea")
            await until(lambda: local.client.run(run).state == "completed", "the run has ended")

    asyncio.run(after(asyncio.run(before())))
    assert first.done == later.done == []


def test_a_model_drafts_where_it_would_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With handles too: the draft is given values, and the journal has handles."""
    monkeypatch.setenv(KEY_VARIABLE, f"test:{base64.b64encode(bytes(32)).decode()}")
    desk = Desk(tmp_path)
    contract = desk.contract.model_dump() | {
        "autonomy": {"reply": "draft"},
        "masking": {"handles": True},
    }

    async def main() -> None:
        rules = [
            Rule(when=When(turn=0), reply=calls("reply", to="ann", text="Paid to iban#1")),
            Rule(reply=says("Done.")),
        ]
        async with simulated(rules=rules) as model:
            agent = Agent(model.model, name="clerk")
            desk.app.deploy(agent, Contract.model_validate(contract), tools=[desk.reply])
            async with desk.app.executor() as local:
                handle = await local.start("clerk", f"Pay {IBAN}")
                assert await handle.result() == "Done."
                bodies = [
                    entry.body or b"" for entry in entries_of(local, handle.id, "effect_intended")
                ]
                assert [json.loads(body)["text"] for body in bodies] == ["Paid to iban#1"]

    asyncio.run(main())
    assert desk.done == [f"draft ann: Paid to {IBAN}"]


def test_a_function_of_the_agents_own_is_proposed_too(tmp_path: Path) -> None:
    done: list[str] = []

    async def main() -> None:
        rules = [Rule(when=When(turn=0), reply=calls("ring", bell="door")), Rule(reply=says("Ok."))]
        async with simulated(rules=rules) as model:
            agent = Agent(model.model, name="clerk")

            @agent.tool_plain
            async def ring(bell: str) -> str:
                done.append(bell)
                return "rang"

            terms = {
                "agent": "clerk",
                "tools": {"ring": {"effect": "write", "recovery": "never"}},
                "autonomy": {"ring": "suggest"},
            }
            app = app_in(tmp_path)
            app.deploy(agent, Contract.model_validate(terms))
            async with executing(app) as local:
                handle = await local.start("clerk", "Ring")
                task = await open_task(local, handle.id)
                entry = local.store.entry(task.position)
                assert entry is not None
                assert json.loads(entry.body or b"")["details"]["arguments"] == {"bell": "door"}
                assert done == []
                await local.client.decide(task.id, "approve", by="bea")
                assert await handle.result() == "Ok."

    asyncio.run(main())
    assert done == ["door"]


def lookups(app: App) -> None:
    @app.tool(effect="read")
    async def look(at: str) -> str:
        return at


def suggesting(app: App) -> None:
    @app.tool(effect="write", recovery="repeatable", owner="boss", autonomy="suggest")
    async def look(at: str) -> str:
        return at


def acting(app: App) -> None:
    @app.tool(effect="write", recovery="repeatable")
    async def look(at: str) -> str:
        return at


@pytest.mark.parametrize(
    ("declare", "said", "told"),
    [
        (acting, {"lok": "suggest"}, "there is no such tool: did you mean 'look'?"),
        (lookups, {"look": "suggest"}, "it changes nothing"),
        (suggesting, {"look": "act"}, "'act' is more than the tool's own 'suggest'"),
        (acting, {"look": "draft"}, "it has no draft. Declare draft=<another tool>"),
    ],
    ids=["unknown", "a read", "more", "no draft"],
)
def test_what_cannot_be_is_told_before_anything_runs(
    tmp_path: Path, declare: Callable[[App], None], said: dict[str, str], told: str
) -> None:
    app = app_in(tmp_path)
    declare(app)

    @app.agent("clerk")
    async def clerk(run: Run) -> None:
        await run.sleep(timedelta(seconds=1))

    app.contracts["clerk"] = Contract.model_validate({"agent": "clerk", "autonomy": said})

    async def main() -> None:
        async with app.executor():
            raise AssertionError("it must not begin")

    with pytest.raises(DeclarationError) as caught:
        asyncio.run(main())
    name = next(iter(said))
    assert f"autonomy.{name} in the contract of agent 'clerk': " in caught.value.message
    assert told in caught.value.message


def test_a_draft_takes_what_the_tool_takes_and_writes(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.tool(effect="read")
    async def look(to: str) -> str:
        return to

    @app.tool(effect="write", recovery="repeatable")
    async def other(text: str) -> str:
        return text

    def declare(draft: Any) -> None:
        @app.tool(effect="write", recovery="repeatable", draft=draft)
        async def send(to: str) -> str:
            return to

    with pytest.raises(DeclarationError, match="is no tool that writes"):
        declare(look)
    with pytest.raises(DeclarationError, match="its draft 'other' takes"):
        declare(other)
