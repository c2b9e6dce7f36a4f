"""The agents of the golden journal of asks: FROZEN CODE, as the code of a run under way is.

Change nothing here: what is recorded otherwise gets agents of its own beside these.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from interlock import App, Run
from interlock.contract import Contract

__all__ = ["Verdict", "declare_asking"]


class Verdict(BaseModel):
    """A structured answer."""

    city: str
    degrees: int


def _results(messages: list[ModelMessage]) -> list[str]:
    parts = (part for message in messages for part in message.parts)
    return [str(part.content) for part in parts if isinstance(part, ToolReturnPart)]


def _think(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    done = _results(messages)
    if not done:
        calls = [
            ToolCallPart("degrees", {"city": "Oslo"}, tool_call_id="a"),
            ToolCallPart("note", {"text": "asked"}, tool_call_id="b"),
        ]
        return ModelResponse(parts=[TextPart("I look."), *calls])
    if len(done) == 2:
        output = info.output_tools[0].name
        return ModelResponse(parts=[ToolCallPart(output, {"city": "Oslo"}, tool_call_id="c")])
    answer = {"city": "Oslo", "degrees": -3}
    output = info.output_tools[0].name
    return ModelResponse(parts=[ToolCallPart(output, answer, tool_call_id="d")])


def _chat(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    return ModelResponse(parts=[TextPart(f"message {len(messages)}")])


def _mute(_messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    return ModelResponse(parts=[])


def declare_asking(app: App, calls: Counter[str]) -> None:
    """`judges` ends by itself, `chats` in two runs, and `stuck` waits for a person."""

    def counted(name: str, function: Any) -> FunctionModel:
        def think(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            calls[f"model {name}"] += 1
            return function(messages, info)

        return FunctionModel(think, model_name=name)

    judge = Agent(
        counted("judge", _think), name="judge", output_type=Verdict, instructions="Judge."
    )

    @judge.tool_plain(metadata={"interlock": {"effect": "read"}})
    async def degrees(city: str) -> int:
        calls[f"degrees {city}"] += 1
        return -3

    @judge.tool_plain
    def note(text: str) -> str:
        calls[f"note {text}"] += 1
        return "noted"

    @app.agent("judges")
    async def judges(run: Run, question: str) -> Verdict:
        return await run.ask(judge, question, context=["Oslo is cold."])

    terms = {"agent": "judges", "budgets": {"run": {"tokens": 100_000, "tool_calls": 9}}}
    app.contracts["judges"] = Contract.model_validate(terms)
    app.deploy(Agent(counted("chat", _chat), name="chats"))
    app.deploy(Agent(counted("mute", _mute), name="stuck"))
