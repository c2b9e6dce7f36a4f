"""Interlock: the agent deployed as it is, on SQLite; its tool a read or a write."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.contestants import five_calls
from benchmarks.contestants.entry import Durability, arguments, run
from benchmarks.contestants.interlock_steps import durability_of
from interlock import App, ExecutorOptions, LocalExecutor
from interlock.contract import Contract


class InterlockAgent:
    """Runs of the deployed agent in this process."""

    def __init__(self, executor: LocalExecutor) -> None:
        self._executor = executor

    @property
    def version(self) -> str:
        """The package's version, and that of the agent's library."""
        own = importlib.metadata.version("interlock")
        return f"{own}, pydantic-ai {five_calls.version()}"

    async def run_once(self) -> None:
        """One run, from its start to its result."""
        handle = await self._executor.start(five_calls.NAME, five_calls.PROMPT)
        assert await handle.result() == five_calls.ANSWER

    async def durability(self) -> Durability:
        """What holds for the store's own writing connection."""
        return durability_of(self._executor)


@asynccontextmanager
async def open_interlock(options: argparse.Namespace) -> AsyncIterator[InterlockAgent]:
    """Interlock on a new file in the directory."""
    agent = five_calls.five_calls()
    agent.tool_plain(metadata={"interlock": {"effect": options.effect}})(five_calls.lookup)
    app = App("bench", store=f"sqlite:///{options.directory / 'interlock.db'}")
    app.deploy(agent, Contract(agent=five_calls.NAME))
    async with app.executor(ExecutorOptions(concurrency=options.concurrency)) as executor:
        yield InterlockAgent(executor)


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument("--effect", choices=["read", "write"], default="read", help="the tool's")
    return parser.parse_args()


if __name__ == "__main__":
    run(open_interlock, _options())
