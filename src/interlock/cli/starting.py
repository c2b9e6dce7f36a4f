"""`interlock run`: start a run and see it through, here or by the server that is up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from interlock.cli.exit_code import FAILED
from interlock.cli.json_argument import json_argument
from interlock.cli.options import AppSpec, AsJson, StoreUrl
from interlock.cli.output import print_json, print_line, progress, remark
from interlock.cli.target import required_app
from interlock.errors import RunFailedError, StorageLockedError

if TYPE_CHECKING:
    from interlock.app import App, LocalExecutor
    from interlock.journal.store import Store
    from interlock.observe.view import RunView
    from interlock.orchestrator.client import Client
    from interlock.orchestrator.start import StartOptions

__all__ = ["register"]

_ENDED = ("completed", "failed", "cancelled", "parked")
_SHORTEST_LOOK_SECONDS = 0.02
_LONGEST_LOOK_SECONDS = 0.5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(_run)


class _Request(NamedTuple):
    """What to start."""

    app: App
    agent: str
    value: Any
    options: StartOptions


class _Answer(NamedTuple):
    """What became of it."""

    run: RunView
    created: bool


def _run(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name.")],
    input: Annotated[
        str, typer.Option("--input", metavar="JSON|@FILE", help="Its input; @- reads stdin.")
    ] = "null",
    app: AppSpec = None,
    store: StoreUrl = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the result, or only queue the run.")
    ] = True,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key answers the same run.")
    ] = None,
    tenant: Annotated[str, typer.Option(metavar="NAME", help="The run's tenant.")] = "default",
    priority: Annotated[
        int, typer.Option(min=-1000, max=1000, metavar="N", help="Higher goes first.")
    ] = 0,
    start_after: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="Not before; see below.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="Cancelled if not finished by then.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a run. Executes it here, or lets the server that is up do it, and says which.

    A moment is a date and time with its zone (2026-05-01T12:30:00Z) or a time from now (90s, 15m,
    2h, 3d).
    """
    from interlock.entry.moment import parse_moment
    from interlock.orchestrator.start import StartOptions

    value = json_argument(input, "--input")
    options = StartOptions(
        tenant=tenant,
        priority=priority,
        start_after=parse_moment(start_after, "--start-after") if start_after else None,
        deadline=parse_moment(deadline, "--deadline") if deadline else None,
        idempotency_key=idempotency_key,
    )
    request = _Request(required_app(app, store), agent, value, options)
    if wait:
        _report(asyncio.run(_see_through(request)), as_json=as_json)
    else:
        _report_queued(asyncio.run(_queue(request)), as_json=as_json)


# Doing it.


async def _queue(request: _Request) -> _Answer:
    async with request.app.client() as client:
        return await _submitted(request, client)


async def _submitted(request: _Request, client: Client) -> _Answer:
    from interlock.entry.submission import submit

    started = await submit(client, request.agent, request.value, request.options)
    return _Answer(_view(client.journal.store, started.run), started.created)


async def _see_through(request: _Request) -> _Answer:
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        try:
            local = await stack.enter_async_context(request.app.executor())
        except StorageLockedError as locked:
            holder = locked
        else:
            return await _execute_here(request, local)
    return await _let_execute(request, holder)


async def _execute_here(request: _Request, local: LocalExecutor) -> _Answer:
    answer = await _submitted(request, local.client)
    remark(f"run {answer.run.id} executes here: no other executor is up")
    ended = asyncio.ensure_future(local.executor.when_ended(answer.run.id))
    return await _watched(answer, local.store, ended)


async def _let_execute(request: _Request, locked: StorageLockedError) -> _Answer:
    async with request.app.client() as client:
        answer = await _submitted(request, client)
        who = f"process {locked.fields['pid']}" if "pid" in locked.fields else "another process"
        remark(f"run {answer.run.id} is queued: {who} executes the runs of this store")
        store = client.journal.store
        return await _watched(answer, store, asyncio.create_task(_until_ended(store, answer)))


async def _until_ended(store: Store, answer: _Answer) -> None:
    look = _SHORTEST_LOOK_SECONDS
    while _view(store, answer.run.id).state not in _ENDED:
        await asyncio.sleep(look)
        look = min(look * 1.5, _LONGEST_LOOK_SECONDS)


async def _watched(answer: _Answer, store: Store, ended: asyncio.Future[Any]) -> _Answer:
    """Show what the run waits for until it has ended."""
    run = answer.run.id
    try:
        with progress(f"run {run}") as shown:
            while not ended.done():
                shown.update(_in_short(_view(store, run)))
                await asyncio.wait({ended}, timeout=_LONGEST_LOOK_SECONDS)
    except asyncio.CancelledError:
        remark(
            f"run {run} is not finished; the next `interlock serve` goes on with it. What is in "
            "flight may still end; interrupt once more not to wait for it"
        )
        raise
    ended.result()
    return answer._replace(run=_view(store, run))


def _in_short(run: RunView) -> str:
    waits = ", ".join(wait.what for wait in run.waits)
    return f"run {run.id} is {run.state}{f', waiting for {waits}' if waits else ''}"


def _view(store: Store, run: str) -> RunView:
    from interlock.clock import SystemClock
    from interlock.observe.explain import find_run
    from interlock.observe.view import run_view

    return run_view(store, find_run(store, run), SystemClock().now_us())


# Telling it.


def _report(answer: _Answer, *, as_json: bool) -> None:
    run = answer.run
    completed = run.state == "completed"
    if as_json:
        _print_started(answer)
        if not completed:
            raise typer.Exit(FAILED)
    elif completed:
        print_json(run.result)
    else:
        raise RunFailedError(run.explanation, run=run.id)


def _report_queued(answer: _Answer, *, as_json: bool) -> None:
    if as_json:
        _print_started(answer)
    else:
        print_line(answer.run.id)
        found = "" if answer.created else " (found by its idempotency key)"
        remark(f"{answer.run.explanation}{found}")


def _print_started(answer: _Answer) -> None:
    print_json({**answer.run.model_dump(mode="json"), "created": answer.created})
