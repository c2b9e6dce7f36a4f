"""10,000 runs are interrupted by SIGKILL; how long until all are finished after the restart?

Every run has done five of ten steps and is inside its sixth when the process is killed. The clock
runs from the start of the new process to the moment its last run has finished, imports and
recovery included.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from benchmarks.engine import Gate
from benchmarks.report import Target
from benchmarks.scenario import Outcome, play, say, scenario_arguments
from benchmarks.worker_process import Child, open_worker

FINISHED_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.1


async def crash_many(options: argparse.Namespace, directory: Path) -> Outcome:
    """Start, kill, restart, and time it."""
    gate = directory / "gate"
    store = directory / "store"
    store.mkdir()
    started_seconds = await _start_and_kill(options, store, gate)
    gate.touch()
    seconds, counts = await _restart(options, store, gate)
    met = counts["finished"] == options.runs and seconds <= FINISHED_SECONDS_MAX
    return Outcome(
        title=f"{options.runs:,} runs interrupted by SIGKILL, {options.engine}",
        heads=["", "seconds", "runs"],
        rows=[
            ["brought to the middle", f"{started_seconds:.1f}", f"{options.runs:,}"],
            ["restart until finished", f"{seconds:.1f}", f"{counts['finished']:,}"],
        ],
        targets=[
            Target(
                name=f"{options.runs:,} runs finished after the restart",
                wanted=f"within {FINISHED_SECONDS_MAX:.0f} s",
                measured=f"{counts['finished']:,} in {seconds:.1f} s",
                met=met,
            )
        ],
        answer={"runs": options.runs, "restart_seconds": seconds, "counts": counts},
    )


async def _start_and_kill(options: argparse.Namespace, store: Path, gate: Path) -> float:
    began = time.perf_counter()
    # As many slots as runs, so that all of them are interrupted and not only the first few.
    arguments = (
        "--agent",
        "held",
        "--runs",
        options.runs,
        "--gate",
        gate,
        "--concurrency",
        options.runs,
    )
    async with open_worker("serve", options.engine, store, *arguments) as worker:
        await worker.event("started", seconds=options.time_limit_seconds)
        await _until_arrived(Gate(path=gate), options.runs)
        counts = await worker.ask("counts")
        say(f"killing the process: {counts}")
        if counts["finished"]:
            raise RuntimeError(f"{counts['finished']} runs passed the closed gate")
        await worker.kill()
    return time.perf_counter() - began


async def _until_arrived(gate: Gate, runs: int) -> None:
    """Until every run stands before the gate."""
    while not gate.arrivals.exists() or gate.arrivals.stat().st_size < runs:
        await asyncio.sleep(_POLL_SECONDS)


async def _restart(
    options: argparse.Namespace, store: Path, gate: Path
) -> tuple[float, dict[str, int]]:
    began = time.perf_counter()
    arguments = ("--gate", gate, "--concurrency", options.concurrency)
    async with open_worker("serve", options.engine, store, *arguments) as worker:
        await worker.event("started", seconds=options.time_limit_seconds)
        say(f"restarted after {time.perf_counter() - began:.1f} s")
        counts = await _until_finished(worker, options)
        return time.perf_counter() - began, counts


async def _until_finished(worker: Child, options: argparse.Namespace) -> dict[str, int]:
    while True:
        counts: dict[str, int] = await worker.ask("counts")
        if counts["finished"] + counts["other"] >= options.runs:
            return counts
        await asyncio.sleep(_POLL_SECONDS)


def main() -> int:
    """Run the scenario from the command line."""
    parser = scenario_arguments("crash_many", __doc__ or "")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument(
        "--concurrency", type=int, default=50, help="runs at once after the restart"
    )
    return play(parser.parse_args(), crash_many)


if __name__ == "__main__":
    sys.exit(main())
