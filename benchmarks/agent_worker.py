"""The executor that the scenarios with models start, ask and kill.

It speaks lines of JSON like :mod:`benchmarks.worker`: ``start`` begins runs of an agent, each under
its own input as a key, so that a repeat starts nothing twice; ``counts`` tells the runs by state,
and how many wait for a person.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.counting_client import CountingClient
from benchmarks.model_agents import build_app
from benchmarks.processes import module_command
from benchmarks.worker import emit, requests
from benchmarks.worker_process import open_child
from interlock import ExecutorOptions, LocalExecutor, StartOptions

__all__ = ["open_agent_worker"]

_GRACE = timedelta(seconds=1)
_ALL = 1_000_000


def open_agent_worker(store: Path, *arguments: object, quiet: bool = False):  # noqa: ANN201
    """A worker on the folder's store."""
    words = ["--store", store, *arguments]
    command = module_command("benchmarks.agent_worker", *(str(word) for word in words))
    return open_child(command, quiet=quiet)


async def execute(options: argparse.Namespace) -> None:
    """Execute runs and answer requests until killed."""
    queue = requests()
    counting = CountingClient(options.counting) if options.counting else None
    app = build_app(
        options.store, model_url=options.model, counting=counting, day_usd=options.day_usd
    )
    given = ExecutorOptions(concurrency=options.concurrency)
    async with app.executor(given, grace=_GRACE) as executor:
        emit("ready")
        while True:
            emit("answer", value=await _answer(executor, await queue.get()))


async def _answer(executor: LocalExecutor, request: Mapping[str, Any]) -> object:
    match request["do"]:
        case "start":
            starts = (
                executor.start(request["agent"], given, StartOptions(idempotency_key=given))
                for given in request["inputs"]
            )
            return [handle.id for handle in await asyncio.gather(*starts)]
        case "counts":
            asked = {task.run for task in executor.store.inbox(("open",), _ALL)}
            return {**executor.store.run_counts(), "with a person": len(asked)}
        case other:
            raise ValueError(f"the worker does not know {other!r}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="the folder of the store")
    parser.add_argument("--model", required=True, help="the base URL of the simulated model")
    parser.add_argument("--counting", help="the URL of the counting server")
    parser.add_argument("--day-usd", type=Decimal, help="the daily budget of the agent racer")
    parser.add_argument("--concurrency", type=int, default=50, help="the executor's")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(execute(_options())))
