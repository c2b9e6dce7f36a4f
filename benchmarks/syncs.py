"""How often each contestant really syncs to disk for a step, counted by strace.

``python -m benchmarks.syncs`` runs the contestants one run at a time under ``strace`` and divides
the calls of fsync and fdatasync by the steps. With one or more a step, a step can be on disk before
the next starts; with fewer it cannot. Tracing slows everything down: the figures are no speeds.
PostgreSQL is left out, since its server is not a child of the contestant.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.load import STEPS_PER_RUN
from benchmarks.own_contestant import OwnContestant, last_json
from benchmarks.processes import ProcessFailedError, module_command, run_to_end
from benchmarks.report import print_table
from benchmarks.roster import Place, enlist, find_restate_server

_LIMIT_SECONDS = 180.0
_CALLS = re.compile(r"^.*\b(?:fsync|fdatasync)\(", re.MULTILINE)
_RUNS = 20
_WARM_UP_RUNS = 3


def main() -> int:
    """Count, print; 1 without strace."""
    options = _options()
    strace = shutil.which("strace")
    if strace is None:
        print("skipped: there is no strace on this machine", file=sys.stderr)
        return 1
    options.directory.mkdir(parents=True, exist_ok=True)
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory(dir=options.directory, ignore_cleanup_errors=True) as folder:
        place = _place(options, Path(folder).resolve())
        for entry in enlist(place):
            if entry.skipped or not isinstance(entry.measure, OwnContestant):
                continue
            rows.append(_row(entry.name, entry.measure, strace, place.directory))
    print_table("syncs while one run at a time is made", ["", "syncs", "steps", "a step"], rows)
    return 0


def _row(name: str, contestant: OwnContestant, strace: str, directory: Path) -> list[str]:
    with tempfile.TemporaryDirectory(dir=directory, ignore_cleanup_errors=True) as folder:
        store = Path(folder)
        try:
            idle, steps_idle = _count(contestant, strace, store, runs=1)
            busy, steps_busy = _count(contestant, strace, store, runs=1 + _RUNS)
        except ProcessFailedError as error:
            return [name, "–", "–", f"failed: {error}"]
    # The difference of two loads leaves out what starting and stopping sync.
    syncs, steps = busy - idle, steps_busy - steps_idle
    return [name, str(syncs), str(steps), f"{syncs / steps:.2f}"]


def _count(
    contestant: OwnContestant, strace: str, directory: Path, *, runs: int
) -> tuple[int, int]:
    store = directory / f"store-{runs}"
    store.mkdir()
    log = directory / f"syncs-{runs}"
    bounds = ["--concurrency", "1", "--seconds", "0", "--runs-min", "1", "--runs-max", str(runs)]
    bounds += ["--alone-seconds", "0", "--alone-runs-min", str(runs)]
    own = ["--directory", str(store), *bounds, *contestant.arguments]
    module = f"benchmarks.contestants.{contestant.module}"
    traced = module_command(module, *own, python=contestant.python)
    command = [strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(log), *traced]
    printed = run_to_end(command, directory=directory, seconds=_LIMIT_SECONDS)
    last_json(command, printed)
    return len(_CALLS.findall(log.read_text())), (runs + 1 + _WARM_UP_RUNS) * STEPS_PER_RUN


def _place(options: argparse.Namespace, directory: Path) -> Place:
    python = options.peers_python
    python = python.absolute() if python is not None and python.exists() else None
    return Place(
        peers_python=python,
        scripts=None,
        restate_server=find_restate_server(python),
        postgres=None,
        directory=directory,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.syncs", description=__doc__)
    parser.add_argument(
        "--peers-python", type=Path, help="the interpreter of the peers' environment"
    )
    parser.add_argument("--directory", type=Path, default=Path("build/bench"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
