"""`interlock verify`: is the journal what was written?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import typer

from interlock.cli.exit_code import FAILED
from interlock.cli.options import AppSpec, AsJson, StoreUrl
from interlock.cli.output import print_json, print_line, progress
from interlock.cli.target import open_for_reading, store_location

__all__ = ["register"]

_MOST_PROBLEMS: Final = 1000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(_verify)


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
        problems = _some(opened.verify())
        if rebuild:
            shown.update("folding the journal afresh")
            problems += _some(opened.rebuild())
    if as_json:
        print_json({"sound": not problems, "problems": problems, "rebuilt": rebuild})
    else:
        for problem in problems:
            print_line(problem)
        print_line(f"{len(problems)} problems" if problems else "the journal is sound")
    if problems:
        raise typer.Exit(FAILED)


def _some(problems: Iterable[str]) -> list[str]:
    return [problem for problem, _ in zip(problems, range(_MOST_PROBLEMS), strict=False)]
