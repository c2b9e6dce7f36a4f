"""Pydantic AI with nothing durable: what the agent costs by itself."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic_ai import Agent

from benchmarks.contestants import five_calls
from benchmarks.contestants.entry import Durability, arguments, run


class BareAgent:
    """Runs of the agent in this process."""

    version = f"pydantic-ai {five_calls.version()}"

    def __init__(self, agent: Agent[object, str]) -> None:
        self._agent = agent

    async def run_once(self) -> None:
        result = await self._agent.run(five_calls.PROMPT)
        assert result.output == five_calls.ANSWER

    async def durability(self) -> Durability:
        return Durability(setting="nothing", synced=False)


@asynccontextmanager
async def open_bare(_options: argparse.Namespace) -> AsyncIterator[BareAgent]:
    """The agent with its tool."""
    agent = five_calls.five_calls()
    agent.tool_plain(five_calls.lookup)
    yield BareAgent(agent)


if __name__ == "__main__":
    run(open_bare, arguments(__doc__ or "").parse_args())
