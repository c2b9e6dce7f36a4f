"""Conversations with a model for the tests: what a provider accepts, and the same once more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    RetryFeedbackPart,
    RetryInfo,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.usage import RequestUsage

__all__ = ["conversations", "had_again", "orphans", "turn"]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
arguments = st.dictionaries(st.text(max_size=4), values, max_size=3)
words = st.text(max_size=30)


@st.composite
def conversations(draw: st.DrawFn) -> list[ModelMessage]:
    """Turns of a user, answers and calls of a model with their answers; perhaps an open end."""
    messages: list[ModelMessage] = []
    for number in range(draw(st.integers(1, 6))):
        messages.extend(turn(draw, system=number == 0 and draw(st.booleans())))
    if draw(st.booleans()):
        del messages[draw(st.integers(1, len(messages))) :]
    return messages


def turn(draw: st.DrawFn, *, system: bool) -> list[ModelMessage]:
    """One turn: the user speaks, the model calls tools some times, and answers."""
    parts: list[Any] = [SystemPromptPart(draw(words))] if system else []
    parts.append(UserPromptPart(draw(words)))
    instructions = draw(st.none() | words)
    messages: list[ModelMessage] = [ModelRequest(parts=parts, instructions=instructions)]
    for _ in range(draw(st.integers(0, 3))):
        calls = [
            ToolCallPart(draw(st.sampled_from(("find", "pay"))), draw(arguments))
            for _ in range(draw(st.integers(1, 3)))
        ]
        said: list[Any] = [ThinkingPart(draw(words))] if draw(st.booleans()) else []
        messages.append(ModelResponse(parts=[*said, TextPart(draw(words)), *calls]))
        answered = draw(st.permutations(calls))
        answers: list[Any] = [
            ToolReturnPart(call.tool_name, draw(values), tool_call_id=call.tool_call_id)
            for call in answered
        ]
        # A person may speak beside the answers of tools: no turn begins there.
        more: list[Any] = [UserPromptPart(draw(words))] if draw(st.booleans()) else []
        messages.append(ModelRequest(parts=[*answers, *more], instructions=instructions))
    messages.append(ModelResponse(parts=[TextPart(draw(words))]))
    if draw(st.booleans()):
        retry = RetryFeedbackPart("once more", retry=RetryInfo(cause="model_retry"))
        messages.append(ModelRequest(parts=[retry]))
        messages.append(ModelResponse(parts=[TextPart(draw(words))]))
    return messages


def had_again(messages: Sequence[ModelMessage], salt: str) -> list[ModelMessage]:
    """The same conversation at another time, with other generated ids and another usage."""
    later = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=len(salt))
    again: list[ModelMessage] = []
    for message in messages:
        parts: list[Any] = []
        for part in message.parts:
            change: dict[str, Any] = {}
            if hasattr(part, "timestamp"):
                change["timestamp"] = later
            if isinstance(part, (ToolCallPart, ToolReturnPart)):
                change["tool_call_id"] = f"{salt}-{part.tool_call_id}"
            if isinstance(part, (TextPart, ThinkingPart, ToolCallPart)):
                change |= {
                    "id": f"msg_{salt}",
                    "provider_name": "p",
                    "provider_details": {"s": salt},
                }
            parts.append(dataclasses.replace(part, **change))
        common: dict[str, Any] = {
            "parts": parts, "timestamp": later, "run_id": salt, "conversation_id": f"c-{salt}",
            "metadata": {"trace": salt},
        }  # fmt: skip
        if isinstance(message, ModelResponse):
            common |= {
                "usage": RequestUsage(input_tokens=len(salt)),
                "provider_response_id": salt,
                "provider_details": {"salt": salt},
            }
        again.append(dataclasses.replace(message, **common))
    return again


def orphans(messages: Sequence[ModelMessage]) -> list[str]:
    """Ids of tools' answers without a call before them."""
    asked: set[str] = set()
    found: list[str] = []
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                asked.add(part.tool_call_id)
            elif isinstance(part, ToolReturnPart) and part.tool_call_id not in asked:
                found.append(part.tool_call_id)
    return found
