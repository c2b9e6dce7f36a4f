"""Requests to a simulated model: by Pydantic AI's real provider, and bare ones by httpx."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from openai import AsyncOpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

__all__ = [
    "PATIENCE_SECONDS",
    "answered",
    "chat",
    "client",
    "events",
    "provider_model",
    "says",
    "with_results",
]

PATIENCE_SECONDS = 60.0


@asynccontextmanager
async def provider_model(
    base_url: str, name: str = "small", *, timeout_seconds: float = PATIENCE_SECONDS
) -> AsyncGenerator[OpenAIChatModel]:
    """A model as a product uses it: the real provider and client, without the client's retries."""
    async with AsyncOpenAI(
        base_url=base_url, api_key="not-a-secret", max_retries=0, timeout=timeout_seconds
    ) as openai:
        yield OpenAIChatModel(name, provider=OpenAIProvider(openai_client=openai))


def client(url: str) -> httpx.Client:
    """A client that takes nothing from the environment."""
    return httpx.Client(base_url=url, timeout=PATIENCE_SECONDS, trust_env=False)


def chat(text: str = "hello", *more: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The body of a request: one user message, those that follow it, and further fields."""
    return {"model": "small", "messages": [says(text), *more], **fields}


def says(text: str, role: str = "user") -> dict[str, Any]:
    """A message."""
    return {"role": role, "content": text}


def with_results(*results: tuple[str, str], first: int = 0) -> list[dict[str, Any]]:
    """An assistant message that calls tools, and what each answered: (tool, text)."""
    named = [(f"c{n}", tool, text) for n, (tool, text) in enumerate(results, start=first)]
    calls = [
        {"id": id_, "type": "function", "function": {"name": tool, "arguments": "{}"}}
        for id_, tool, _ in named
    ]
    answers = [{"role": "tool", "tool_call_id": id_, "content": text} for id_, _, text in named]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *answers]


def answered(response: httpx.Response) -> dict[str, Any]:
    """The message of a successful answer."""
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]


def events(content: bytes) -> Iterator[dict[str, Any]]:
    """The events of a whole stream; fails unless it ends as it should."""
    frames: Sequence[bytes] = content.split(b"\n\n")
    assert frames[-2:] == [b"data: [DONE]", b""]
    for frame in frames[:-2]:
        yield json.loads(frame.removeprefix(b"data: "))
