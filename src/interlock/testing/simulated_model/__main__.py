"""A simulated model as a process of its own.

    python -m interlock.testing.simulated_model --scenario FILE [--port N] [--ledger FILE]

The first line on the standard output is the address to give to an OpenAI client, once it answers.
SIGTERM and SIGINT stop it, with code 0; a wrong scenario or a port in use ends it with code 2.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from interlock.errors import UsageError
from interlock.testing.simulated_model.model import SimulatedModel
from interlock.testing.simulated_model.scenario_file import read_scenario

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; the exit code."""
    given = _parser().parse_args(arguments)
    try:
        model = SimulatedModel(
            read_scenario(given.scenario), ledger_file=given.ledger, port=given.port
        )
        asyncio.run(_serve(model))
    except (UsageError, OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m interlock.testing.simulated_model")
    parser.add_argument("--scenario", type=Path, required=True, help="YAML file")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--ledger", type=Path, help="file to write the ledger to, or to continue")
    return parser


async def _serve(model: SimulatedModel) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with model:
        sys.stdout.write(f"{model.base_url}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
