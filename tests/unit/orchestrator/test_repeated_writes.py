"""The same write is made once: within an ask, and by what it names in the business."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent

from interlock import App, NotMadeError, Run
from interlock.errors import DeclarationError
from interlock.testing.simulated_model import Reply, Rule, ToolCall, When
from tests.support.asking import calls, says, simulated
from tests.support.local import app_in, effect_of, entries_of, executing, open_task, until_state


class Desk:
    """A system that counts what is done in it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.refuse = 0
        self.lose = 0

    def add(self, what: str) -> str:
        """Do it, or refuse, or do it and lose the answer."""
        if self.refuse:
            self.refuse -= 1
            raise NotMadeError("not now", retry=False)
        self.done.append(what)
        if self.lose:
            self.lose -= 1
            raise ConnectionError("lost")
        return f"{what} {len(self.done)}"


def app_with(tmp_path: Path, desk: Desk) -> App:
    app = app_in(tmp_path)

    @app.tool(effect="write", recovery="never", resource=("issue",))
    async def tag(issue: int, word: str) -> str:
        return desk.add(f"tag {issue} {word}")

    @app.tool(effect="write", recovery="never", resource=("issue",))
    async def close(issue: int) -> str:
        return desk.add(f"close {issue}")

    @app.tool(effect="write", recovery="never", unique_by=("customer", "invoice"))
    async def ticket(customer: str, invoice: int, text: str) -> str:
        return desk.add(f"ticket {customer} {invoice}")

    @app.agent("opener")
    async def opener(run: Run, input: dict[str, Any]) -> str:
        return await run.call(ticket, **input)

    @app.agent("coder")
    async def coder(run: Run) -> list[str]:
        return [await run.call(tag, issue=1, word="a") for _ in range(2)]

    return app


def asking(tmp_path: Path, desk: Desk, model: Any) -> App:
    app = app_with(tmp_path, desk)
    tools = [app.tools[name] for name in ("tag", "close")]
    app.deploy(Agent(model, name="bot"), tools=tools)
    return app


def turns(*replies: Reply) -> list[Rule]:
    return [Rule(when=When(turn=number), reply=reply) for number, reply in enumerate(replies)]


def ask(tmp_path: Path, *replies: Reply) -> tuple[list[str], list[dict[str, Any]], str]:
    """What was done, the headers of what was deduplicated, and what the model was told last."""
    desk = Desk()
    found: list[dict[str, Any]] = []
    told = ""

    async def main() -> None:
        nonlocal told
        async with (
            simulated(rules=turns(*replies, says("Done."))) as model,
            executing(asking(tmp_path, desk, model.model)) as local,
        ):
            handle = await local.start("bot", "Go")
            assert await handle.result() == "Done."
            entries = entries_of(local, handle.id, "effect_deduplicated")
            found.extend(dict(entry.event.header) for entry in entries)
            last = entries_of(local, handle.id, "model_answered")[-1]
            told = json.dumps(json.loads(last.body or b"")["said"])

    asyncio.run(main())
    return desk.done, found, told


def test_an_identical_write_of_a_model_is_made_once_and_it_is_told(tmp_path: Path) -> None:
    again = calls("tag", issue=1, word="a")
    done, found, told = ask(tmp_path, again, again)
    assert done == ["tag 1 a"]
    assert [header["reason"] for header in found] == ["same_ask"]
    assert "tag 1 a 1" in told
    assert "was not made again" in told


def test_identical_writes_in_one_answer_are_made_once(tmp_path: Path) -> None:
    one = ToolCall(name="tag", arguments={"issue": 1, "word": "a"})
    done, found, _ = ask(tmp_path, Reply(tool_calls=(one, one)))
    assert done == ["tag 1 a"]
    assert len(found) == 1


def test_it_is_made_again_when_the_resource_was_written_to_meanwhile(tmp_path: Path) -> None:
    again = calls("tag", issue=1, word="a")
    done, found, _ = ask(tmp_path, again, calls("close", issue=1), again)
    assert done == ["tag 1 a", "close 1", "tag 1 a"]
    assert not found


def test_a_write_to_another_resource_changes_nothing(tmp_path: Path) -> None:
    again = calls("tag", issue=1, word="a")
    done, found, _ = ask(tmp_path, again, calls("close", issue=2), again)
    assert done == ["tag 1 a", "close 2"]
    assert len(found) == 1


def test_writes_of_code_are_always_made(tmp_path: Path) -> None:
    desk = Desk()

    async def main() -> None:
        async with executing(app_with(tmp_path, desk)) as local:
            assert await (await local.start("coder")).result() == ["tag 1 a 1", "tag 1 a 2"]

    asyncio.run(main())


BILL = {"customer": "ann", "invoice": 7, "text": "too high"}


def test_the_second_run_gets_the_result_of_the_first(tmp_path: Path) -> None:
    desk = Desk()

    async def main() -> None:
        async with executing(app_with(tmp_path, desk)) as local:
            first = await local.start("opener", BILL)
            assert await first.result() == "ticket ann 7 1"
            second = await local.start("opener", BILL | {"text": "again"})
            assert await second.result() == "ticket ann 7 1"
            (entry,) = entries_of(local, second.id, "effect_deduplicated")
            assert (entry.event.header["reason"], entry.event.header["run"]) == ("unique", first.id)
            other = await local.start("opener", BILL | {"invoice": 8})
            assert await other.result() == "ticket ann 8 2"
        # And after a restart, from what is recorded.
        async with executing(app_with(tmp_path, desk)) as local:
            third = await local.start("opener", BILL)
            assert await third.result() == "ticket ann 7 1"

    asyncio.run(main())
    assert desk.done == ["ticket ann 7", "ticket ann 8"]


def test_of_runs_that_race_one_makes_it(tmp_path: Path) -> None:
    desk = Desk()

    async def main() -> None:
        async with executing(app_with(tmp_path, desk)) as local:
            handles = [await local.start("opener", BILL) for _ in range(20)]
            results = {await handle.result() for handle in handles}
            assert results == {"ticket ann 7 1"}

    asyncio.run(main())
    assert desk.done == ["ticket ann 7"]


def test_what_was_certainly_not_made_claims_nothing(tmp_path: Path) -> None:
    desk = Desk()
    desk.refuse = 2

    async def main() -> None:
        async with executing(app_with(tmp_path, desk)) as local:
            for _ in range(2):
                row = await (await local.start("opener", BILL)).row()
                assert (row.state, row.reason) == ("failed", "effect_failed")
            assert await (await local.start("opener", BILL)).result() == "ticket ann 7 1"
            assert await (await local.start("opener", BILL)).result() == "ticket ann 7 1"

    asyncio.run(main())
    assert desk.done == ["ticket ann 7"]


def test_the_second_waits_while_nobody_knows_of_the_first(tmp_path: Path) -> None:
    desk = Desk()
    desk.lose = 1

    async def main() -> None:
        async with executing(app_with(tmp_path, desk)) as local:
            first = await local.start("opener", BILL)
            await open_task(local, first.id)
            second = await local.start("opener", BILL)
            row = await until_state(local, second.id, "waiting")
            assert "that is the same" in row.waits[0]["what"]
            key = (await effect_of(local, first.id)).effect_key
            await local.client.resolve(key, "happened", result="ticket 1", by="ann")
            assert await first.result() == "ticket 1"
            assert await second.result() == "ticket 1"

    asyncio.run(main())
    assert desk.done == ["ticket ann 7"]


def test_a_business_key_names_arguments_of_a_write() -> None:
    app = App("test")
    with pytest.raises(DeclarationError, match="unique_by names 'bill'"):

        @app.tool(effect="write", recovery="never", unique_by=("bill",))
        async def pay(invoice: int) -> None: ...

    with pytest.raises(DeclarationError, match="only reads and declares unique_by"):

        @app.tool(effect="read", unique_by=("invoice",))
        async def look(invoice: int) -> None: ...
