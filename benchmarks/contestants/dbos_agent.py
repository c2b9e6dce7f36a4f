# pyright: basic, reportMissingImports=false
"""Pydantic AI on DBOS: the agent with `DBOSDurability` in a workflow, its tool a step.

On SQLite as shipped (a rollback journal), or with ``--journal-mode wal``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dbos import DBOS
from pydantic_ai.durable_exec.dbos import DBOSDurability

from benchmarks.contestants import five_calls
from benchmarks.contestants.dbos_steps import dbos_options, durability_of_dbos, launched
from benchmarks.contestants.entry import Durability, run

agent = five_calls.five_calls([DBOSDurability()])
agent.tool_plain(DBOS.step()(five_calls.lookup))


@DBOS.workflow()
async def ask() -> str:
    return (await agent.run(five_calls.PROMPT)).output


class DbosAgent:
    """Workflows of the agent in this process."""

    version = f"{importlib.metadata.version('dbos')}, pydantic-ai {five_calls.version()}"

    async def run_once(self) -> None:
        assert await ask() == five_calls.ANSWER

    async def durability(self) -> Durability:
        return durability_of_dbos()


@asynccontextmanager
async def open_dbos(options: argparse.Namespace) -> AsyncIterator[DbosAgent]:
    """DBOS launched, with the workflow that asks the agent."""
    with launched(options):
        yield DbosAgent()


if __name__ == "__main__":
    run(open_dbos, dbos_options(__doc__ or ""))
