"""The small protocol between the comparison and a contestant.

A contestant's module calls :func:`run` with a function that opens it. The process loads it with
one run at a time, then with many at once, prints one JSON object as the last line of its output,
and ends. Its process group dies with the process that started it, so nothing is left behind when
a comparison is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.leash import leash_to_stdin
from benchmarks.load import LoadPlan, Measured, drive

__all__ = ["Contestant", "Durability", "arguments", "run"]

WARM_UP_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class Durability:
    """How a contestant keeps a step, read from the running system and not from its documentation.

    ``synced``: a step's result is on disk (fsync or fdatasync) before the next step starts.
    """

    setting: str
    synced: bool


class Contestant(Protocol):
    """One durable system, opened on an empty store."""

    @property
    def version(self) -> str:
        """The version of the package or server that is measured."""
        ...

    async def run_once(self) -> None:
        """Start one new ten-step run and return when it has ended."""
        ...

    async def durability(self) -> Durability:
        """How this very instance makes steps durable."""
        ...


Opener = Callable[[argparse.Namespace], AbstractAsyncContextManager[Contestant]]


def arguments(description: str) -> argparse.ArgumentParser:
    """The arguments every contestant takes; a module may add its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--directory", type=Path, required=True, help="an empty directory for the store"
    )
    parser.add_argument("--concurrency", type=int, default=50, help="runs at once")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="length of the load of many at once"
    )
    parser.add_argument("--runs-min", type=int, default=100)
    parser.add_argument("--runs-max", type=int, default=50_000)
    parser.add_argument(
        "--alone-seconds", type=float, default=1.5, help="length of the load of one at a time"
    )
    parser.add_argument("--alone-runs-min", type=int, default=20)
    parser.add_argument(
        "--leash", action="store_true", help="end, with the process group, when stdin closes"
    )
    return parser


def run(opener: Opener, options: argparse.Namespace) -> None:
    """Open the contestant, load it, print the JSON line."""
    if options.leash:
        leash_to_stdin()
    answer = asyncio.run(_measure(opener, options))
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def _measure(opener: Opener, options: argparse.Namespace) -> dict[str, object]:
    async with opener(options) as contestant:
        for _ in range(WARM_UP_RUNS):
            await contestant.run_once()
        durability = await contestant.durability()
        alone = await drive(contestant.run_once, _alone_plan(options))
        many = await drive(contestant.run_once, _many_plan(options))
        return _answer(contestant.version, durability, alone=alone, many=many)


def _alone_plan(options: argparse.Namespace) -> LoadPlan:
    return LoadPlan(
        concurrency=1,
        seconds=options.alone_seconds,
        runs_min=options.alone_runs_min,
        runs_max=options.runs_max,
    )


def _many_plan(options: argparse.Namespace) -> LoadPlan:
    return LoadPlan(
        concurrency=options.concurrency,
        seconds=options.seconds,
        runs_min=options.runs_min,
        runs_max=options.runs_max,
    )


def _answer(
    version: str, durability: Durability, *, alone: Measured, many: Measured
) -> dict[str, object]:
    return {
        "version": version,
        "durability": durability.setting,
        "synced": durability.synced,
        "alone": alone.to_json(),
        "many": many.to_json(),
    }
