"""A run keeps the contract that it began under, whatever its file says later."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic_ai import Agent

from interlock import App, Run
from interlock.contract import Contract, parse_contract
from interlock.errors import RunFailedError
from interlock.orchestrator.pinning import contract_stream
from tests.support.asking import Simulated, says, simulated
from tests.support.local import app_in, entries_of, executing, until_state

OPEN = "agent: desk\n"
BOUND = "agent: desk\nbudgets: {run: {tokens: 50000}}\nmasking: {sensitive: [input.text]}\n"


def contract(text: str) -> Contract:
    return parse_contract(text)


def desk(tmp_path: Path, model: Simulated, terms: str) -> App:
    """An agent that asks, waits, and asks again, under the contract."""
    app = app_in(tmp_path)
    app.contracts["desk"] = contract(terms)

    @app.agent("desk")
    async def work(run: Run, input: dict[str, str]) -> list[str]:
        first = await run.ask(Agent(model.model, name="one"), input["text"])
        await run.wait("more")
        return [first, await run.ask(Agent(model.model, name="two"), "And now?")]

    return app


def test_a_run_goes_on_under_the_contract_that_it_began_with(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("One."), says("Two."), says("Three."), says("Four.")) as model:
            async with executing(desk(tmp_path, model, OPEN)) as local:
                old = await local.start("desk", {"text": "Hello"})
                await until_state(local, old.id, "waiting")
            # The new terms hold a budget before each request: to a recorded one they would be
            # another history, and the run would be parked.
            async with executing(desk(tmp_path, model, BOUND)) as local:
                await local.client.signal(old.id, "more", None)
                await until_state(local, old.id, "completed")
                assert local.store.budgets() == []
                new = await local.start("desk", {"text": "Hello"})
                await until_state(local, new.id, "waiting")
                assert [row.account for row in local.store.budgets()] == [f"run/{new.id}/tokens"]
                under = [
                    {entry.event.header["contract"] for entry in entries_of(local, run, kind)}
                    for run in (old.id, new.id)
                    for kind in ("run_claimed",)
                ]
                assert under == [{contract(OPEN).hash}, {contract(BOUND).hash}]
                for terms in (OPEN, BOUND):
                    (entry,) = local.store.read(contract_stream(contract(terms).hash))
                    assert entry.event.kind == "contract_recorded"

    asyncio.run(main())


def test_continuing_as_new_takes_the_present_contract(tmp_path: Path) -> None:
    def looping(terms: str) -> App:
        app = app_in(tmp_path)
        app.contracts["desk"] = contract(terms)

        @app.agent("desk")
        async def work(run: Run, input: int) -> int:
            await run.wait("next")
            if not input:
                await run.continue_as_new(1)
            return input

        return app

    async def main() -> None:
        async with executing(looping(OPEN)) as local:
            handle = await local.start("desk", 0)
            await until_state(local, handle.id, "waiting")
        async with executing(looping(BOUND)) as local:
            for state in ("waiting", "completed"):
                await local.client.signal(handle.id, "next", None)
                await until_state(local, handle.id, state)
            claims = [e.event.header for e in entries_of(local, handle.id, "run_claimed")]
            assert claims[0]["contract"] == contract(OPEN).hash
            assert claims[-1]["contract"] == contract(BOUND).hash

    asyncio.run(main())


def test_a_run_whose_contract_was_erased_is_parked(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("One.")) as model:
            async with executing(desk(tmp_path, model, OPEN)) as local:
                handle = await local.start("desk", {"text": "Hello"})
                await until_state(local, handle.id, "waiting")
                stream = contract_stream(contract(OPEN).hash)
                (entry,) = local.store.read(stream)
                local.store.erase([entry.event.position], by="ann", reason="test")
            async with executing(desk(tmp_path, model, OPEN)) as local:
                await local.client.signal(handle.id, "more", None)
                with pytest.raises(RunFailedError, match="is not in the journal any more"):
                    local.result_of(
                        await until_state(local, handle.id, "parked"), local.app.agents["desk"]
                    )

    asyncio.run(main())
