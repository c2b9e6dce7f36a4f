"""The agent of the comparison of agents: a model that calls a tool five times, then answers.

The model is a function in the process, so that what is measured is the loop around it. Every
contestant gives it its own tool of this name and signature.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from benchmarks.load import STEP_RESULT

__all__ = ["ANSWER", "CALLS_PER_RUN", "NAME", "PROMPT", "five_calls", "lookup", "version"]

CALLS_PER_RUN = 5
NAME = "five_calls"
PROMPT = "hi"
ANSWER = "done"


def _decide(messages: Sequence[ModelMessage], _info: AgentInfo) -> ModelResponse:
    answered = sum(isinstance(message, ModelResponse) for message in messages)
    if answered < CALLS_PER_RUN:
        return ModelResponse(parts=[ToolCallPart("lookup", {"q": f"q{answered}"})])
    return ModelResponse(parts=[TextPart(ANSWER)])


async def lookup(q: str) -> str:
    """What the tool answers: 1 KB, whatever is asked."""
    del q
    return STEP_RESULT


def five_calls(capabilities: Sequence[AbstractCapability[object]] = ()) -> Agent[object, str]:
    """The agent, without its tool."""
    return Agent(FunctionModel(_decide), name=NAME, capabilities=capabilities)


def version() -> str:
    """That of Pydantic AI, which the whole comparison depends on."""
    return importlib.metadata.version("pydantic-ai-slim")
