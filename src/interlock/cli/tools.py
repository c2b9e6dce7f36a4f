"""`interlock tools`, `tools lock` and `tools diff`: what the application's tools promise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from interlock.cli.exit_code import FAILED
from interlock.cli.options import AppSpec, AsJson
from interlock.cli.output import print_json, print_line, print_table
from interlock.cli.target import required_app

__all__ = ["register"]

_LOCK: Final = Path("tools.lock")
LockFile = Annotated[
    Path, typer.Option("--file", metavar="FILE", help="What the tools promised; tools.lock.")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
    group.callback()(_tools)
    group.command("lock")(_lock)
    group.command("diff")(_diff)
    app.add_typer(group, name="tools")


def _tools(context: typer.Context, app: AppSpec = None, as_json: AsJson = False) -> None:
    """List the application's tools; `lock` writes down what they promise, `diff` compares."""
    if context.invoked_subcommand is not None:
        return
    from interlock.tools.pins import promise, promise_hash

    declared = required_app(app, None).tools
    promised = {name: promise(declared[name]) for name in sorted(declared)}
    if as_json:
        listed = [{"name": n, "hash": promise_hash(p), **p} for n, p in promised.items()]
        print_json({"tools": listed})
        return
    columns = ("tool", "version", "effect", "recovery", "autonomy", "owner", "timeout (s)")
    rows = [
        (
            name,
            each["version"],
            each["effect"],
            each["recovery"],
            each["autonomy"],
            each["owner"],
            f"{each['timeout_seconds']:g}",
        )
        for name, each in promised.items()
    ]
    print_table(columns, rows, "no tools")


def _lock(app: AppSpec = None, file: LockFile = _LOCK) -> None:
    """Write down what the tools promise now, for `diff`."""
    from interlock.tools.pins import write_lock

    declared = required_app(app, None).tools
    write_lock(file, declared.values())
    print_line(f"{file}: {len(declared)} tool{'' if len(declared) == 1 else 's'}")


def _diff(app: AppSpec = None, file: LockFile = _LOCK, as_json: AsJson = False) -> None:
    """Say how the tools differ from the file, and what of that is breaking.

    Ends with 1 when something is breaking, and 0 otherwise.
    """
    from interlock.tools.pins import changes, promise, read_lock

    declared = required_app(app, None).tools
    found = changes(read_lock(file), {name: promise(tool) for name, tool in declared.items()})
    breaking = sum(change.breaking for change in found)
    if as_json:
        print_json({"breaking": bool(breaking), "changes": [change._asdict() for change in found]})
    else:
        for change in found:
            label = "breaking" if change.breaking else "change"
            print_line(f"{change.tool}: {label}: {change.what}")
        print_line(f"{len(found)} changed, {breaking} breaking" if found else "nothing changed")
    if breaking:
        raise typer.Exit(FAILED)
