"""The program: its commands, and how its errors end it.

Exit codes: 0 done; 1 what was asked about failed, is not there or cannot be done now; 2 the command
was used wrongly; 3 the store cannot go on; 130 interrupted. Errors are one line on the standard
error stream, a code and a message, never a traceback.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from interlock.cli import (
    api_keys,
    budget,
    contracts,
    effects,
    inbox,
    mcp,
    policy,
    runs,
    serving,
    serving_mcp,
    starting,
    steering,
    tools,
    vault,
    verifying,
)
from interlock.cli.exit_code import INTERRUPTED, report
from interlock.cli.output import remark
from interlock.errors import InterlockError

__all__ = ["app", "main"]


class _Program(TyperGroup):
    """Turns our errors into a line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InterlockError as error:
            raise typer.Exit(report(error)) from error
        except KeyboardInterrupt:
            remark("interrupted")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="interlock",
    cls=_Program,
    help="Run agents in production: durable runs, effects that happen once, one journal.",
    no_args_is_help=True,
    # Plain help: the formatted one takes longer to load than the whole program.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"interlock {version('interlock')}")
        raise typer.Exit


@app.callback()
def _root(
    _version_wanted: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Run agents in production: durable runs, effects that happen once, one journal."""


_COMMANDS = (
    serving,
    starting,
    runs,
    steering,
    inbox,
    effects,
    budget,
    verifying,
    contracts,
    tools,
    policy,
    mcp,
    vault,
    api_keys,
    serving_mcp,
)
for _commands in _COMMANDS:
    _commands.register(app)


def main() -> None:
    """Run the program with the process's arguments, and end the process."""
    app()
