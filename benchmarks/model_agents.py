"""The agents of the scenarios with models: Pydantic AI's, deployed as they are, under contracts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from benchmarks.counting_client import CountingClient, RefusedError
from interlock import NOT_HAPPENED, App, EffectKey, Happened, NotHappened, Tool
from interlock.contract import Contract

__all__ = ["PRICE", "Receipt", "build_app", "cost_micro_usd"]

PRICE = {"input_usd_per_million": Decimal(100), "output_usd_per_million": Decimal(1000)}
"""Dear, so that a budget of a few dollars is a few dozen calls."""

_MODELS = ("main", "spare")
_PATIENT = {"openai": {"breaker_failures": 1000}}
_ATTEMPTS = 20
_PAUSE = timedelta(milliseconds=50)
_SETTLE = timedelta(seconds=1)


class Receipt(BaseModel):
    """What the clerk answers."""

    ticket: str
    cents: int


def cost_micro_usd(prompt_tokens: int, completion_tokens: int) -> int:
    """What the provider bills at the contract's price, in micro-USD, exactly."""
    given, said = PRICE["input_usd_per_million"], PRICE["output_usd_per_million"]
    return int(given * prompt_tokens + said * completion_tokens)


def build_app(
    store: Path,
    *,
    model_url: str = "",
    counting: CountingClient | None = None,
    day_usd: Decimal | None = None,
) -> App:
    """The application with all agents; without a model's address they can only be looked at."""
    models = _models(model_url) if model_url else {}
    app = App("bench", store=f"sqlite:///{store.absolute() / 'interlock.db'}", models=models)
    app.deploy(_clerk(), _clerk_terms(), tools=_clerk_tools(app, counting))
    app.deploy(_racer(), _racer_terms(day_usd))
    app.deploy(_writer(), _terms("writer", {"run": {"model_calls": 1000, "tool_calls": 1000}}))
    app.deploy(Agent(name="talker"), _terms("talker", {}))
    return app


def _models(base_url: str) -> Mapping[str, OpenAIChatModel]:
    client = AsyncOpenAI(base_url=base_url, api_key="not-a-secret")
    provider = OpenAIProvider(openai_client=client)
    return {name: OpenAIChatModel(name, provider=provider) for name in _MODELS}


def _terms(
    agent: str,
    budgets: Mapping[str, Any],
    *,
    max_output_tokens: int = 5_000,
    tokens_per_byte: float = 1.0,
    **more: Any,
) -> Contract:
    terms: dict[str, Any] = {
        "model": {
            "name": _MODELS[0],
            "fallbacks": _MODELS[1:],
            "attempts": 10,
            "timeout_seconds": 10.0,
            "max_output_tokens": max_output_tokens,
            "tokens_per_byte": tokens_per_byte,
        },
        "prices": dict.fromkeys(_MODELS, PRICE),
        "providers": _PATIENT,
        "budgets": budgets,
        **more,
    }
    return Contract.model_validate({"agent": agent, **terms})


# The clerk: every kind of call, and an output that has to be asked for twice.


def _clerk() -> Agent[None, Receipt]:
    agent = Agent(name="clerk", output_type=Receipt, instructions="You are a clerk.")

    @agent.tool_plain
    async def look_up(ticket: str) -> int:
        """What a ticket costs, in cents."""
        return 7 * int(ticket.removeprefix("ticket-"))

    @agent.tool_plain
    async def history(ticket: str) -> list[str]:
        """What was said before."""
        return [f"{ticket}: opened", f"{ticket}: read"]

    return agent


def _clerk_terms() -> Contract:
    reads = {name: {"effect": "read"} for name in ("look_up", "history")}
    return _terms("clerk", {"run": {"usd": Decimal(1000), "tool_calls": 100}}, tools=reads)


def _clerk_tools(app: App, counting: CountingClient | None) -> list[Tool[..., str]]:
    def client() -> CountingClient:
        if counting is None:
            raise RuntimeError("a worker that makes effects needs --counting URL")
        return counting

    async def happened(ticket: str, key: EffectKey) -> Happened[str] | NotHappened:
        made = await client().look_up(ticket, key)
        return Happened(f"{ticket} sent") if made else NOT_HAPPENED

    async def book(ticket: str, *, key: EffectKey) -> str:
        await client().make_with_key(ticket, key)
        return f"{ticket} booked"

    async def send(ticket: str, *, key: EffectKey) -> str:
        await client().make_with_lookup(ticket, key)
        return f"{ticket} sent"

    async def put(ticket: str, *, key: EffectKey) -> str:
        await client().make_repeatable(ticket, key)
        return f"{ticket} put"

    how: dict[str, Any] = {"not_made": (RefusedError,), "attempts": _ATTEMPTS, "pause": _PAUSE}
    return [
        app.tool(effect="write", recovery="key", **how)(book),
        app.tool(effect="write", recovery="lookup", lookup=happened, settle=_SETTLE, **how)(send),
        app.tool(effect="write", recovery="repeatable", **how)(put),
    ]


# The racer: many of them draw on one budget.


def _racer() -> Agent[None, str]:
    agent = Agent(name="racer", instructions="You are one of many.")

    @agent.tool_plain(metadata={"interlock": {"effect": "read"}})
    async def look_up(ticket: str) -> str:
        """Anything about a ticket."""
        return f"{ticket} is there"

    return agent


def _racer_terms(day_usd: Decimal | None) -> Contract:
    budgets = {"agent_day": {"usd": day_usd}} if day_usd is not None else {}
    # Close to what a call takes in truth, so that the cap is reached by spending, not by holding.
    return _terms("racer", budgets, max_output_tokens=100, tokens_per_byte=0.5)


# The writer: one long ask.


def _writer() -> Agent[None, str]:
    agent = Agent(name="writer")

    @agent.tool_plain(metadata={"interlock": {"effect": "read"}})
    async def note(page: str) -> str:
        """Keep a page."""
        return f"page {page} is kept"

    return agent
