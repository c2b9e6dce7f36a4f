"""The same ten-step workload at 1,000, 10,000 and 100,000 finished runs in the database.

The stores are grown once and copied aside at each size. Then each round measures every size in
turn on a fresh copy (the largest store is measured in place, where a window adds next to
nothing), so that a drift of the machine does not pass for growth; ratios are taken within a round,
and their median over the rounds is judged.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.report import Target
from benchmarks.scenario import Outcome, play, say, scenario_arguments
from benchmarks.worker_process import open_worker

FALL_MAX = 0.15


async def growth(options: argparse.Namespace, directory: Path) -> Outcome:
    """Grow, then measure in rounds."""
    sizes = sorted(options.sizes)
    stores = await _grow(options, directory, sizes)
    shown: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(options.rounds):
        for size in sizes if number % 2 == 0 else reversed(sizes):
            measured = await _window(options, directory, stores[size], size, keep=size == sizes[-1])
            shown[size].append(measured)
            say(f"round {number + 1}: {size:,} finished runs: {measured:,.0f} steps/s")
            if size == sizes[-1]:
                options.first_of_largest += options.window_runs
    return _outcome(options, shown)


async def _grow(
    options: argparse.Namespace, directory: Path, sizes: Sequence[int]
) -> Mapping[int, Path]:
    growing = directory / "growing"
    growing.mkdir()
    finished = 0
    stores: dict[int, Path] = {}
    for size in sizes:
        await _load(options, growing, first=finished, runs=size - finished)
        finished = size
        stores[size] = growing
        if size != sizes[-1]:
            stores[size] = Path(shutil.copytree(growing, directory / f"at-{size}"))
        say(f"grown to {size:,} finished runs")
    options.first_of_largest = finished
    return stores


async def _window(
    options: argparse.Namespace, directory: Path, store: Path, size: int, *, keep: bool
) -> float:
    """Steps a second of one window on this store."""
    if keep:
        return await _load(options, store, first=options.first_of_largest, runs=options.window_runs)
    copy = Path(shutil.copytree(store, directory / "window"))
    os.sync()  # Else the copy is still being written to disk while the engine is measured.
    try:
        return await _load(options, copy, first=size, runs=options.window_runs)
    finally:
        shutil.rmtree(copy)


async def _load(options: argparse.Namespace, store: Path, *, first: int, runs: int) -> float:
    arguments = ("--runs", runs, "--first", first, "--at-once", options.concurrency)
    arguments += ("--concurrency", options.concurrency)
    async with open_worker("load", options.engine, store, *arguments) as worker:
        loaded = await worker.event("loaded", seconds=options.time_limit_seconds)
        await worker.wait()
        return float(loaded["steps_per_second"])


def _outcome(options: argparse.Namespace, shown: Mapping[int, Sequence[float]]) -> Outcome:
    medians = {size: statistics.median(values) for size, values in shown.items()}
    # Within a round, since the machine drifts between rounds.
    smallest = shown[min(shown)]
    against = {
        size: statistics.median(
            value / least for value, least in zip(values, smallest, strict=True)
        )
        for size, values in shown.items()
    }
    fall = 1 - min(against.values())
    rows = [
        [f"{size:,}", f"{medians[size]:,.0f}", f"{ratio - 1:+.1%}"]
        for size, ratio in against.items()
    ]
    return Outcome(
        title=f"ten-step runs on a growing store, {options.engine}, {options.concurrency} at once",
        heads=["finished runs", "steps/s", "against the smallest"],
        rows=rows,
        targets=[
            Target(
                name=f"throughput from {min(medians):,} to {max(medians):,} finished runs",
                wanted=f"falls by less than {FALL_MAX:.0%}",
                measured=f"falls by {fall:.1%}",
                met=fall < FALL_MAX,
            )
        ],
        answer={"steps_per_second": {str(size): list(values) for size, values in shown.items()}},
    )


def main() -> int:
    """Run the scenario from the command line."""
    parser = scenario_arguments("growth", __doc__ or "")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--window-runs", type=int, default=2_000, help="runs of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=50, help="runs at once")
    return play(parser.parse_args(), growth)


if __name__ == "__main__":
    sys.exit(main())
