"""`interlock mcp serve`: the application's offered tools over the standard streams."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.exit_code import DONE, report
from interlock.cli.options import AppSpec, StoreUrl
from interlock.cli.target import required_app
from interlock.config import KEY_VARIABLE, KEYS_FILE_VARIABLE
from interlock.errors import InterlockError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the group, and the group where there is none yet."""
    _group(app).command("serve")(_serve)


def _group(app: typer.Typer) -> typer.Typer:
    for known in app.registered_groups:
        if known.name == "mcp" and known.typer_instance is not None:
            return known.typer_instance
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="The Model Context Protocol: serve offered tools to agents that are not ours.",
    )
    app.add_typer(group, name="mcp")
    return group


def _serve(
    app: AppSpec = None,
    store: StoreUrl = None,
    client: Annotated[
        str, typer.Option(metavar="NAME", help="Who calls, where no key says so.")
    ] = "local",
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            envvar=KEYS_FILE_VARIABLE,
            help=f"Ask for an API key of this file; it is taken from {KEY_VARIABLE}.",
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, max=60, metavar="SECONDS", help="How long a call is waited for.")
    ] = 20.0,
) -> None:
    """Serve an app's offered tools over MCP on standard input and output, until input ends."""
    import os

    from interlock.entry.auth import AuthOptions
    from interlock.entry.mcp_stdio import StdioOptions

    options = StdioOptions(
        auth=AuthOptions.of(keys, None),
        credential=os.environ.get(KEY_VARIABLE, ""),
        client=client,
        wait_seconds=wait,
    )
    _execute(required_app(app, store), options)


def _execute(app: object, options: object) -> None:
    import asyncio
    import logging
    import os
    import sys
    from typing import cast

    from interlock.app import App
    from interlock.entry.mcp_stdio import StdioOptions, serve_stdio
    from interlock.tools.masking.logs import mask_logs

    # Standard output is the protocol's.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    mask_logs(logging.getLogger().handlers)
    code = DONE
    try:
        asyncio.run(serve_stdio(cast("App", app), cast("StdioOptions", options)))
    except InterlockError as error:
        code = report(error)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Standard input may still be read in a thread.
    os._exit(code)
