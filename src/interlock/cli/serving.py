"""`interlock serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.exit_code import DONE, report
from interlock.cli.options import AppSpec, StoreUrl
from interlock.cli.output import print_line, remark
from interlock.cli.target import required_app
from interlock.config import KEYS_FILE_VARIABLE, TOKENS_FILE_VARIABLE
from interlock.errors import InterlockError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(_serve)


def _serve(
    app: AppSpec = None,
    store: StoreUrl = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    concurrency: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many runs execute at once.")
    ] = 200,
    grace: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long operations may take to end."),
    ] = 30.0,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further name that requests may ask for; repeatable."),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            envvar=KEYS_FILE_VARIABLE,
            help="Ask callers for an API key of this file (`interlock key new` makes it).",
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            envvar=TOKENS_FILE_VARIABLE,
            help="Ask callers for an OAuth token; the file says whose are taken.",
        ),
    ] = None,
    mcp_wait: Annotated[
        float,
        typer.Option(
            min=0, max=60, metavar="SECONDS", help="How long a call over MCP is waited for."
        ),
    ] = 20.0,
) -> None:
    """Execute an app's runs and serve the HTTP API until SIGTERM or Ctrl-C, then drain."""
    from datetime import timedelta

    from interlock.entry.auth import AuthOptions
    from interlock.entry.hosts import is_loopback
    from interlock.entry.server import ServeOptions

    loaded = required_app(app, store)
    options = ServeOptions(
        host=host,
        port=port,
        auth=AuthOptions.of(keys, tokens),
        mcp_wait_seconds=mcp_wait,
        hosts=tuple(allow_host or ()),
        concurrency=concurrency,
        grace=timedelta(seconds=grace),
    )
    if not is_loopback(host):
        remark(
            f"WARNING: {host} may be reached from other machines, and what is sent is not "
            "encrypted: put a proxy in front that speaks TLS, or callers' keys can be read."
        )
    _execute(loaded, options)


def _execute(app: object, options: object) -> None:
    import asyncio
    import logging
    import os
    import sys
    from typing import cast

    from interlock.app import App
    from interlock.entry.server import ServeOptions, serve
    from interlock.tools.masking.logs import mask_logs

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    mask_logs(logging.getLogger().handlers)
    # Of their own accord these two log every request, with addresses that may hold secrets.
    for library in ("uvicorn", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # What it warns of names sessions, and who knows a session's name is one step nearer to it.
    logging.getLogger("mcp").setLevel(logging.ERROR)
    loaded = cast("App", app)
    agents = ", ".join(sorted(loaded.agents)) or "none"

    def announce(address: str) -> None:
        print_line(
            f"interlock serves app {loaded.name!r} at {address} (store {loaded.store}; agents: "
            f"{agents})"
        )

    code = DONE
    try:
        asyncio.run(serve(loaded, cast("ServeOptions", options), announce))
        print_line("interlock has stopped")
    except InterlockError as error:
        code = report(error)
    # A synchronous step whose thread is still running would hold the interpreter's end for as long
    # as it likes; its run is recovered at the next start.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
