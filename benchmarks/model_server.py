"""The simulated model of a scenario as a process of its own, which a killed executor leaves alone.

Its ledger is the evidence: every request, whether it was answered, and what it was billed, is in a
file before the first byte of the answer. It prints its address as a line of JSON and ends with its
process group when standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.agent_scripts import SCRIPTS
from benchmarks.leash import leash_to_stdin
from benchmarks.processes import module_command
from benchmarks.worker_process import open_child
from interlock.testing.simulated_model import SimulatedModel

__all__ = ["open_model"]


@asynccontextmanager
async def open_model(script: str, ledger: Path) -> AsyncIterator[str]:
    """The base URL of a simulated model that follows the script, until the block ends."""
    command = module_command("benchmarks.model_server", "--script", script, "--ledger", str(ledger))
    async with open_child(command) as child:
        yield str((await child.event("ready"))["base_url"])


async def _serve(script: str, ledger: Path) -> None:
    async with SimulatedModel(SCRIPTS[script], ledger_file=ledger) as model:
        print(json.dumps({"event": "ready", "base_url": model.base_url}), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--script", choices=list(SCRIPTS), required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    options = parser.parse_args()
    leash_to_stdin()
    asyncio.run(_serve(options.script, options.ledger))


if __name__ == "__main__":
    main()
