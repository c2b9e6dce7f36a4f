"""``python -m benchmarks``: ten-step runs of Interlock, its limit and its peers in turn."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.comparison import Comparison, compare, targets
from benchmarks.figures import Bounds, Entry
from benchmarks.machine import Machine, describe
from benchmarks.postgres import Postgres, open_postgres
from benchmarks.processes import ProcessFailedError
from benchmarks.report import print_machine, print_table, print_targets, write_json
from benchmarks.roster import Place, enlist, find_restate_server

DEFAULT_DIRECTORY = Path("build/bench")
"""On the checkout's own disk: a temporary folder may lie in memory, where a sync costs nothing."""


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
    )
    with _postgres(options, directory) as postgres:
        entries = enlist(_place(options, postgres, directory))
        chosen = [each for each in entries if _chosen(each, options.only)]
        for each in chosen:
            if each.skipped:
                print(f"skipped: {each.name}: {each.skipped}")
        return compare(chosen, bounds, rounds=options.rounds, directory=directory, say=_say)


def _report(options: argparse.Namespace, machine: Machine, comparison: Comparison) -> int:
    print_table(
        f"ten-step runs, {options.concurrency} at once and alone, "
        f"medians of {options.rounds} rounds",
        [
            "",
            "version",
            "runs/s",
            "steps/s",
            "p50 ms",
            "p99 ms",
            "alone p50 ms",
            "of limit",
            "interlock is",
            "durable by",
        ],
        [_row(comparison, name) for name in comparison.names()],
    )
    for name, reason in comparison.absent.items():
        print(f"not in the table: {name}: {reason}")
    judged = targets(comparison)
    print_targets(judged)
    answer = {"machine": machine.to_json(), "targets": [each.to_json() for each in judged]}
    write_json(options.json, answer | comparison.to_json())
    return int(options.check and not all(each.met for each in judged))


def _row(comparison: Comparison, name: str) -> list[str]:
    share, factor, last = (
        comparison.share_of_limit(name),
        comparison.product_factor(name),
        comparison.last(name),
    )
    unsynced = " NOT SYNCED" if last.synced is False else ""
    return [
        name,
        last.version,
        _number(comparison.median(name, lambda figures: figures.runs_per_second), 1),
        _number(comparison.median(name, lambda figures: figures.steps_per_second), 0),
        _number(comparison.median(name, lambda figures: figures.p50_ms), 1),
        _number(comparison.median(name, lambda figures: figures.p99_ms), 1),
        _number(comparison.median(name, lambda figures: figures.alone_p50_ms), 1),
        "–" if share is None else f"{share:.3f}",
        "–" if factor is None else f"{factor:.2f}x",
        last.durability + unsynced,
    ]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _chosen(entry: Entry, only: list[str] | None) -> bool:
    return only is None or entry.role == "limit" or any(word in entry.name for word in only)


def _place(options: argparse.Namespace, postgres: Postgres | None, directory: Path) -> Place:
    python = options.peers_python
    # absolute() and not resolve(): resolving the link would leave the virtual environment.
    python = python.absolute() if python is not None and python.exists() else None
    return Place(
        peers_python=python,
        scripts=options.peers,
        restate_server=options.restate_server or find_restate_server(python),
        postgres=postgres,
        directory=directory,
    )


@contextmanager
def _postgres(options: argparse.Namespace, directory: Path) -> Iterator[Postgres | None]:
    with ExitStack() as stack:
        postgres = None
        if options.postgres and options.peers_python is not None:
            try:
                opened = open_postgres(options.peers_python.absolute(), directory)
                postgres = stack.enter_context(opened)
            except (ProcessFailedError, OSError) as error:
                _say(f"no PostgreSQL: {error}")
        yield postgres


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--peers", type=Path, help="a folder of peers' scripts, run as they are")
    parser.add_argument(
        "--peers-python", type=Path, help="the interpreter of the peers' environment"
    )
    parser.add_argument(
        "--restate-server", help="the executable; otherwise looked for beside the peers"
    )
    parser.add_argument("--postgres", action="store_true", help="also the peers on PostgreSQL")
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="only contestants whose name has a WORD"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=50, help="runs at once")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="the load of many, for each, each round"
    )
    parser.add_argument(
        "--alone-seconds", type=float, default=1.5, help="the load of one at a time"
    )
    parser.add_argument(
        "--directory", type=Path, default=DEFAULT_DIRECTORY, help="where the stores lie"
    )
    parser.add_argument("--json", type=Path, default=DEFAULT_DIRECTORY / "ten_steps.json")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
