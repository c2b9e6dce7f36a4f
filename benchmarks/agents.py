"""``python -m benchmarks.agents``: one agent with five tool calls, bare, on Interlock and on DBOS.

Six requests to a model and five calls of a tool are eleven durable operations a run. Bare Pydantic
AI records nothing, and is what a run costs in any case; the same version of it runs in all of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.comparison import Comparison, Round, compare
from benchmarks.figures import Bounds, Entry
from benchmarks.machine import Machine, describe
from benchmarks.report import Target, print_machine, print_table, print_targets, write_json
from benchmarks.roster import Place, enlist_agents
from benchmarks.scenario import DEFAULT_DIRECTORY, say

COST_MAX = 1.4
PEER_FACTOR_MIN = 4.0
_HEADS = [
    "",
    "version",
    "runs/s",
    "p50 ms",
    "alone p50 ms",
    "processor ms",
    "times bare",
    "processor, times bare",
    "interlock is",
    "durable by",
]


def main() -> int:
    """Compare, print, write the JSON; 1 when ``--check`` is given and a target is missed."""
    options = _options()
    options.directory.mkdir(parents=True, exist_ok=True)
    machine = describe(options.directory)
    print_machine(machine)
    with tempfile.TemporaryDirectory(
        dir=options.directory, ignore_cleanup_errors=True
    ) as directory:
        comparison = _compare(options, Path(directory).resolve())
    return _report(options, machine, comparison)


def _compare(options: argparse.Namespace, directory: Path) -> Comparison:
    bounds = Bounds(
        concurrency=options.concurrency,
        seconds=options.seconds,
        alone_seconds=options.alone_seconds,
        limit_seconds=options.limit_seconds,
    )
    # absolute() and not resolve(): resolving the link would leave the virtual environment.
    python = options.peers_python
    python = python.absolute() if python is not None and python.exists() else None
    place = Place(
        peers_python=python,
        scripts=options.peers,
        restate_server=None,
        postgres=None,
        directory=directory,
    )
    entries = [each for each in enlist_agents(place) if _chosen(each, options.only)]
    return compare(entries, bounds, rounds=options.rounds, directory=directory, say=say)


def _chosen(entry: Entry, only: list[str] | None) -> bool:
    return only is None or entry.role == "limit" or any(word in entry.name for word in only)


def _report(options: argparse.Namespace, machine: Machine, comparison: Comparison) -> int:
    print_table(
        f"an agent with five tool calls, {options.concurrency} at once and alone, "
        f"medians of {options.rounds} rounds",
        _HEADS,
        [_row(comparison, name) for name in comparison.names()],
    )
    for name, reason in comparison.absent.items():
        print(f"not in the table: {name}: {reason}")
    judged = _targets(comparison)
    print_targets(judged)
    answer = {"machine": machine.to_json(), "targets": [each.to_json() for each in judged]}
    write_json(options.json, answer | comparison.to_json())
    return int(options.check and not all(each.met for each in judged))


def _row(comparison: Comparison, name: str) -> list[str]:
    last = comparison.last(name)
    factor = comparison.product_factor(name)
    unsynced = " NOT SYNCED" if last.synced is False else ""
    return [
        name,
        last.version,
        _number(comparison.median(name, lambda figures: figures.runs_per_second), 1),
        _number(comparison.median(name, lambda figures: figures.p50_ms), 1),
        _number(comparison.median(name, lambda figures: figures.alone_p50_ms), 1),
        _number(comparison.median(name, lambda figures: figures.processor_ms), 1),
        _number(_cost(comparison, name), 2),
        _number(_processor_cost(comparison, name), 2),
        _number(factor, 2) + ("" if factor is None else "x"),
        last.durability + unsynced,
    ]


def _cost(comparison: Comparison, name: str) -> float | None:
    """How many times longer its runs take than bare ones, by throughput."""
    share = comparison.share_of_limit(name)
    return 1 / share if share else None


def _processor_cost(comparison: Comparison, name: str) -> float | None:
    """How many times the processor time of a bare run its runs take; no script prints its own."""

    def within(each: Round) -> float | None:
        own, bare = (each[one].processor_ms if one in each else None for one in (name, "bare"))
        return own / bare if own and bare else None

    return comparison.ratio(within)


def _targets(comparison: Comparison) -> list[Target]:
    cost, factor = _cost(comparison, "interlock"), comparison.product_factor("dbos, sqlite")
    return [
        Target(
            name=f"times the cost of {comparison.limit}",
            wanted=f"at most {COST_MAX}",
            measured=_number(cost, 2),
            met=None if cost is None else cost <= COST_MAX,
        ),
        Target(
            name="times the throughput of dbos, sqlite",
            wanted=f"at least {PEER_FACTOR_MIN:.0f}",
            measured=_number(factor, 2),
            met=None if factor is None else factor >= PEER_FACTOR_MIN,
        ),
    ]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.agents",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--peers", type=Path, help="a folder of peers' scripts, run as they are")
    parser.add_argument(
        "--peers-python", type=Path, help="the interpreter of the peers' environment"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="only contestants whose name has a WORD"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=20, help="runs at once")
    parser.add_argument(
        "--seconds", type=float, default=6.0, help="the load of many, for each, each round"
    )
    parser.add_argument(
        "--alone-seconds", type=float, default=1.0, help="the load of one at a time"
    )
    parser.add_argument(
        "--limit-seconds", type=float, default=180.0, help="after which a contestant is given up"
    )
    parser.add_argument(
        "--directory", type=Path, default=DEFAULT_DIRECTORY, help="where the stores lie"
    )
    parser.add_argument("--json", type=Path, default=DEFAULT_DIRECTORY / "agents.json")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
