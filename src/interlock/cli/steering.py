"""`interlock cancel`, `signal` and `retry`: messages to runs.

The message is on disk when the command ends; the run takes it as soon as an executor looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.json_argument import json_argument
from interlock.cli.options import AppSpec, AsJson, By, RunId, StoreUrl
from interlock.cli.output import print_json, print_line
from interlock.cli.target import login, open_for_writing, store_location

if TYPE_CHECKING:
    from interlock.orchestrator.client import Client

__all__ = ["MessageId", "register", "send"]

MessageId = Annotated[
    str | None,
    typer.Option("--message-id", metavar="ID", help="A repeat with the same id changes nothing."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("cancel")(_cancel)
    app.command("signal")(_signal)
    app.command("retry")(_retry)


def send(
    location: str,
    run: str,
    sending: Callable[[Client], Awaitable[str]],
    said: str,
    *,
    as_json: bool,
) -> None:
    """Send one message and tell its id."""

    async def sent() -> str:
        async with open_for_writing(location) as client:
            return await sending(client)

    message = asyncio.run(sent())
    if as_json:
        print_json({"run": run, "message": message})
    else:
        print_line(f"{said} (message {message})")


def _cancel(
    run: RunId,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why, for the journal.")
    ] = "cancelled",
    by: By = None,
    message_id: MessageId = None,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Ask a run to cancel: its `finally` blocks run, its children are cancelled."""
    who = login(by)
    send(
        store_location(app, store),
        run,
        lambda client: client.cancel(run, reason=reason, message_id=message_id, by=who),
        f"asked run {run} to cancel",
        as_json=as_json,
    )


def _signal(
    run: RunId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal's name.")],
    payload: Annotated[
        str, typer.Argument(metavar="PAYLOAD", help="JSON, @file, or @- for stdin.")
    ] = "null",
    by: By = None,
    message_id: MessageId = None,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Send a signal to a run: the first wait for its name takes it, now or later."""
    value = json_argument(payload, "PAYLOAD")
    who = login(by)
    send(
        store_location(app, store),
        run,
        lambda client: client.signal(run, name, value, message_id=message_id, by=who),
        f"sent signal {name!r} to run {run}",
        as_json=as_json,
    )


def _retry(
    run: RunId,
    by: By = None,
    message_id: MessageId = None,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Let a parked run go on; what it has done is kept."""
    who = login(by)
    send(
        store_location(app, store),
        run,
        lambda client: client.retry(run, message_id=message_id, by=who),
        f"run {run} goes on as soon as an executor looks",
        as_json=as_json,
    )
