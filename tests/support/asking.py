"""Agents that ask the simulated model over HTTP, through Pydantic AI's real OpenAI provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from openai import AsyncOpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from interlock.testing.simulated_model import (
    Ledger,
    Misbehaviour,
    Reply,
    Rule,
    Scenario,
    SimulatedModel,
    ToolCall,
)

__all__ = ["Simulated", "calls", "says", "simulated", "wrong"]


class Simulated(NamedTuple):
    """A simulated model as a provider's model, and what it was asked."""

    model: OpenAIChatModel
    ledger: Ledger
    base_url: str


@asynccontextmanager
async def simulated(*turns: Reply, rules: Sequence[Rule] = ()) -> AsyncGenerator[Simulated]:
    """A simulated model with a script, on a thread of its own, and a real client of it.

    The client keeps the retries that it makes by default, as an application's would.
    """
    with SimulatedModel(Scenario(turns=turns, rules=tuple(rules))) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="not-a-secret") as client:
            model = OpenAIChatModel("small", provider=OpenAIProvider(openai_client=client))
            yield Simulated(model, server.ledger, server.base_url)


def says(text: str, **wrong_how: Any) -> Reply:
    """A reply that is a text."""
    return Reply(text=text, misbehaviour=Misbehaviour(**wrong_how))


def calls(tool: str, /, **arguments: Any) -> Reply:
    """A reply that calls one tool."""
    return Reply(tool_calls=(ToolCall(name=tool, arguments=arguments),))


def wrong(**how: Any) -> Reply:
    """A reply that is only a misbehaviour."""
    return Reply(misbehaviour=Misbehaviour(**how))
