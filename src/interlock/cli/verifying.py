"""`interlock verify`: is the journal what was written?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from interlock.cli.exit_code import FAILED
from interlock.cli.options import AppSpec, AsJson, StoreUrl
from interlock.cli.output import Progress, print_json, print_line, progress
from interlock.cli.target import open_for_reading, store_location

if TYPE_CHECKING:
    from interlock.journal.checkpoint import CheckpointLog
    from interlock.journal.store import Store

__all__ = ["register"]

_MOST_PROBLEMS: Final = 1000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(_verify)


class _Findings(NamedTuple):
    """What was read, and what is wrong with it."""

    events: int
    checkpoints: int
    problems: list[str]


def _verify(
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Also fold the journal afresh and compare every table."),
    ] = False,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check the journal: gaps, hashes, recorded bodies and signed checkpoints.

    Ends with 0 when it is sound, 1 when something is wrong with it, 3 when it cannot be read.
    """
    location = store_location(app, store)
    with open_for_reading(location) as opened, progress("checking the journal") as shown:
        found = _check(location, opened, shown, rebuild=rebuild)
    if as_json:
        print_json({"sound": not found.problems, "rebuilt": rebuild, **found._asdict()})
    else:
        _print(found)
    if found.problems:
        raise typer.Exit(FAILED)


def _check(location: str, store: Store, shown: Progress, *, rebuild: bool) -> _Findings:
    from interlock.clock import SystemClock
    from interlock.journal.checkpoint import CheckpointLog
    from interlock.journal.location import database_path
    from interlock.journal.verify import verify_all

    log = CheckpointLog(database_path(location), SystemClock())
    read = [0]

    def reached(position: int) -> None:
        read[0] = position
        shown.update(f"checked {position:,} events")

    problems = _some(verify_all(store, log, reached))
    if rebuild:
        shown.update("folding the journal afresh")
        problems += _some(store.rebuild())
    return _Findings(read[0], _count(log), problems)


def _count(log: CheckpointLog) -> int:
    """How many checkpoints hold; their problems are told already."""
    from interlock.journal.checkpoint import Checkpoint

    verified: list[Checkpoint] = []
    for _ in log.problems(verified):
        pass
    return len(verified)


def _some(problems: Iterable[str]) -> list[str]:
    return [problem for problem, _ in zip(problems, range(_MOST_PROBLEMS), strict=False)]


def _print(found: _Findings) -> None:
    for problem in found.problems:
        print_line(problem)
    if found.problems:
        print_line(f"{len(found.problems)} problems in {found.events:,} events")
        return
    print_line(f"the journal is sound: {found.events:,} events, {found.checkpoints} checkpoints")
    if not found.checkpoints:
        print_line("without a signed checkpoint, a journal whose end was cut off looks sound too")
