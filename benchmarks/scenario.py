"""What all scenarios share on the command line and in what they hand back."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.engine import ENGINES
from benchmarks.machine import describe
from benchmarks.report import Target, print_machine, print_table, print_targets, write_json

__all__ = ["DEFAULT_DIRECTORY", "Outcome", "play", "say", "scenario_arguments"]

DEFAULT_DIRECTORY = Path("build/bench")
"""On the checkout's own disk: a temporary folder may lie in memory, where a sync costs nothing."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a scenario showed: rows of a table, targets, and everything for the JSON."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    targets: Sequence[Target]
    answer: Mapping[str, object] = field(default_factory=dict)


def scenario_arguments(
    name: str, description: str, engines: Sequence[str] = tuple(ENGINES)
) -> argparse.ArgumentParser:
    """The arguments every scenario takes; a scenario adds its own figures."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--engine", choices=list(engines), default="interlock")
    parser.add_argument(
        "--directory", type=Path, default=DEFAULT_DIRECTORY, help="where stores lie"
    )
    parser.add_argument("--json", type=Path, default=DEFAULT_DIRECTORY / f"{name}.json")
    parser.add_argument(
        "--time-limit-seconds", type=float, default=1800.0, help="given up after that"
    )
    return parser


def play(
    options: argparse.Namespace, scenario: Callable[[argparse.Namespace, Path], Awaitable[Outcome]]
) -> int:
    """Play a scenario in an empty folder within its time and report; 1 on a missed target."""
    options.directory.mkdir(parents=True, exist_ok=True)
    machine = describe(options.directory)
    print_machine(machine)
    with tempfile.TemporaryDirectory(
        dir=options.directory, ignore_cleanup_errors=True
    ) as directory:
        outcome = asyncio.run(_within(options, scenario, Path(directory).resolve()))
    print_table(outcome.title, outcome.heads, outcome.rows)
    print_targets(outcome.targets)
    answer = {"engine": options.engine, "machine": machine.to_json(), **outcome.answer}
    write_json(options.json, answer | {"targets": [each.to_json() for each in outcome.targets]})
    return int(not all(each.met for each in outcome.targets))


async def _within(
    options: argparse.Namespace,
    scenario: Callable[[argparse.Namespace, Path], Awaitable[Outcome]],
    directory: Path,
) -> Outcome:
    async with asyncio.timeout(options.time_limit_seconds):
        return await scenario(options, directory)


def say(line: str) -> None:
    """Progress, on standard error."""
    print(line, file=sys.stderr, flush=True)
