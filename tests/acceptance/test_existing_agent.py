"""An existing Pydantic AI agent, deployed in one line, passes the tests that it passes alone.

The agent is a bank's support agent: dependencies with a database, instructions made from them, a
tool that reads, a structured answer and a check of it that may send the model back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.models import Model

from interlock.testing.simulated_model import Reply, Request, Rule
from tests.support.asking import calls, says, simulated
from tests.support.local import app_in, entries_of, executing

Ask = Callable[[Agent[Any, Any], str], Awaitable[Any]]


@dataclass
class Database:
    """The bank's books. `lookups` counts what was asked of it."""

    names: dict[int, str] = field(default_factory=lambda: {123: "John"})
    balances_cents: dict[int, int] = field(default_factory=lambda: {123: 12_345})
    lookups: int = 0

    async def customer_name(self, id: int) -> str:
        """Whose account it is."""
        return self.names[id]

    async def balance_cents(self, id: int) -> int:
        """What is on the account."""
        self.lookups += 1
        return self.balances_cents[id]


@dataclass
class Support:
    """What the agent depends on."""

    customer_id: int
    database: Database


class Advice(BaseModel):
    """What the agent answers."""

    advice: str = Field(description="Advice to the customer")
    block_card: bool = Field(description="Whether to block the card")
    risk: int = Field(ge=0, le=10)


def bank_support(model: Model) -> Agent[Support, Advice]:
    """The agent, as one would write it without knowing of Interlock."""
    agent = Agent(
        model,
        name="bank_support",
        deps_type=Support,
        output_type=Advice,
        instructions="You are a support agent in our bank. Judge the risk of each question.",
    )

    @agent.instructions
    def customer(context: RunContext[Support]) -> str:
        return f"The customer is number {context.deps.customer_id}."

    @agent.tool(metadata={"interlock": {"effect": "read"}})
    async def customer_balance(context: RunContext[Support], include_pending: bool) -> str:
        """The customer's balance."""
        cents = await context.deps.database.balance_cents(context.deps.customer_id)
        return f"${cents / 100:.2f}{' with what is pending' if include_pending else ''}"

    @agent.output_validator
    def careful(context: RunContext[Support], output: Advice) -> Advice:
        if output.risk > 7 and not output.block_card:
            raise ModelRetry("A card at such a risk has to be blocked.")
        return output

    return agent


def answer(request: Request) -> Reply:
    """What a good model would say."""
    assert "The customer is number 123." in request.instructions
    if "balance" in request.user_text:
        if request.turn == 0:
            return calls("customer_balance", include_pending=True)
        (result,) = request.tool_results
        advice = f"Your balance is {result.text}."
        return Reply(output={"advice": advice, "block_card": False, "risk": 1})
    blocked = request.turn > 0
    return Reply(output={"advice": "We block it.", "block_card": blocked, "risk": 8})


@pytest.fixture(params=["alone", "deployed"])
def way(request: pytest.FixtureRequest) -> str:
    """How the agent is asked."""
    return request.param


def ask_once(way: str, tmp_path: Path, prompt: str, database: Database) -> tuple[Advice, int]:
    """Ask the agent in one of the two ways; the answer, and how often the model was asked."""

    async def main() -> tuple[Advice, int]:
        async with simulated(rules=[Rule(respond=answer)]) as model:
            agent = bank_support(model.model)
            deps = Support(123, database)
            if way == "alone":
                output = (await agent.run(prompt, deps=deps)).output
            else:
                app = app_in(tmp_path)
                app.deploy(agent, deps=lambda _run: deps)
                async with executing(app) as local, asyncio.timeout(30):
                    handle = await local.start("bank_support", prompt)
                    output = await handle.result()
                    recorded = entries_of(local, handle.id, "model_answered")
                    assert len(recorded) == len(model.ledger.entries())
            return output, len(model.ledger.entries())

    return asyncio.run(main())


def test_it_tells_a_balance(way: str, tmp_path: Path) -> None:
    database = Database()
    advice, requests = ask_once(way, tmp_path, "What is my balance?", database)
    assert advice == Advice(
        advice="Your balance is $123.45 with what is pending.", block_card=False, risk=1
    )
    assert (requests, database.lookups) == (2, 1)


def test_its_check_sends_the_model_back(way: str, tmp_path: Path) -> None:
    advice, requests = ask_once(way, tmp_path, "I lost my card!", Database())
    assert advice == Advice(advice="We block it.", block_card=True, risk=8)
    assert requests == 2


def test_a_summary_stands_for_what_a_conversation_drops(tmp_path: Path) -> None:
    asked: list[Request] = []

    def respond(request: Request) -> Reply:
        asked.append(request)
        if request.user_text.startswith("Summarise"):
            return says("Ada asked three things.")
        return says(f"Answer to {request.user_text}")

    async def main() -> None:
        async with simulated(rules=[Rule(respond=respond)]) as model:
            app = app_in(tmp_path)
            path = tmp_path / "chat.yaml"
            path.write_text("agent: chat\nconversation: {keep_messages: 2, summarise: true}\n")
            app.deploy(Agent(model.model), contract=path)
            async with executing(app) as local, asyncio.timeout(30):
                for number in range(3):
                    given = {"prompt": f"question {number}", "conversation": "ada"}
                    handle = await local.start("chat", given)
                    assert await handle.result() == f"Answer to question {number}"
        last = asked[-1]
        assert [m.role for m in last.messages].count("assistant") == 1
        assert any("Ada asked three things." in m.text for m in last.messages)

    asyncio.run(main())
