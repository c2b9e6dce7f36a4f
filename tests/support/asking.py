"""Agents that ask the simulated model over HTTP, through Pydantic AI's real OpenAI provider."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from typing import Any

from openai import AsyncOpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from interlock.testing.simulated_model import (
    Misbehaviour,
    Reply,
    Rule,
    Scenario,
    SimulatedModel,
    ToolCall,
)

__all__ = ["calls", "model_at", "says", "simulated", "wrong"]


@contextlib.contextmanager
def simulated(*turns: Reply, rules: Sequence[Rule] = ()) -> Generator[SimulatedModel]:
    """A simulated model with a script, on a thread of its own."""
    with SimulatedModel(Scenario(turns=turns, rules=tuple(rules))) as model:
        yield model


def model_at(base_url: str, name: str = "small") -> OpenAIChatModel:
    """A model as an application makes it, with the client's own retries left as they are."""
    client = AsyncOpenAI(base_url=base_url, api_key="not-a-secret")
    return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client))


def says(text: str, **wrong_how: Any) -> Reply:
    """A reply that is a text."""
    return Reply(text=text, misbehaviour=Misbehaviour(**wrong_how))


def calls(tool: str, /, **arguments: Any) -> Reply:
    """A reply that calls one tool."""
    return Reply(tool_calls=(ToolCall(name=tool, arguments=arguments),))


def wrong(**how: Any) -> Reply:
    """A reply that is only a misbehaviour."""
    return Reply(misbehaviour=Misbehaviour(**how))
