"""Runs over HTTP: start, list, read, follow, signal, cancel, retry."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from interlock.entry.access import (
    Caller,
    IdempotencyKey,
    OpenService,
    Operator,
    Reader,
    ReadingService,
    Starter,
)
from interlock.entry.event_stream import event_frames, is_finished
from interlock.entry.problem import RequestError
from interlock.entry.requests import (
    CancelRequest,
    EventsQuery,
    RetryRequest,
    RunsQuery,
    ShowQuery,
    SignalRequest,
    StartQuery,
    StartRequest,
)
from interlock.entry.service import Service
from interlock.entry.submission import submit
from interlock.errors import InvalidInputError
from interlock.journal.rows import RunFilter, RunRow
from interlock.observe.view import (
    EventList,
    RunList,
    RunView,
    event_view,
    run_summary,
    run_view,
)

__all__ = ["MessageView", "StartedView", "runs_router"]

_FINISHED = ("completed", "failed", "cancelled")
_EVENT_STREAM = "text/event-stream"


class StartedView(RunView):
    """A run that was started. `created` is false when an idempotency key found an earlier one."""

    created: bool


class MessageView(BaseModel):
    """A message that is in the run's mailbox, on disk; the run takes it when it looks."""

    run: str
    message: str = Field(description="id of the message; a repeat with it changes nothing")


def runs_router() -> APIRouter:
    """The paths about runs."""
    router = APIRouter(prefix="/v1", tags=["runs"])
    add = router.add_api_route
    add(
        "/agents/{agent}/runs",
        _start,
        methods=["POST"],
        status_code=202,
        response_model=StartedView,
        summary="Start a run",
        responses={
            200: {"model": StartedView, "description": "The run is finished"},
            202: {
                "description": "The run is queued, executing, waiting or parked",
                "headers": {"Location": {"schema": {"type": "string"}}},
            },
        },
    )
    add("/runs", _list, response_model=RunList, summary="List runs, newest first")
    add("/runs/{run}", _show, response_model=RunView, summary="Show a run")
    add(
        "/runs/{run}/events",
        _events,
        response_model=EventList,
        response_model_exclude_unset=True,
        summary="List a run's events, or follow them as server-sent events",
        responses={
            200: {"content": {_EVENT_STREAM: {"schema": {"type": "string"}}}},
            204: {"description": "The run is finished and there is nothing more to follow"},
        },
    )
    _add_messages(router)
    return router


def _add_messages(router: APIRouter) -> None:
    messages = (
        ("/runs/{run}/cancel", _cancel, "Ask a run to cancel"),
        ("/runs/{run}/signals/{name}", _signal, "Send a signal to a run"),
        ("/runs/{run}/retry", _retry, "Let a parked run go on"),
    )
    for path, handler, summary in messages:
        router.add_api_route(
            path,
            handler,
            methods=["POST"],
            status_code=202,
            response_model=MessageView,
            summary=summary,
        )


async def _start(
    service: OpenService,
    caller: Starter,
    key: IdempotencyKey,
    agent: str,
    body: StartRequest,
    query: Annotated[StartQuery, Query()],
    response: Response,
) -> StartedView:
    """Start a run of an agent. Safe to repeat with an `Idempotency-Key`.

    Answers 202 at once, or with `wait_seconds` as soon as the run has come to an end: 200 when it
    is finished.
    """
    caller.check_reveal(query.reveal)
    tenant = caller.starting_tenant(body.tenant)
    options = body.options(key, tenant=tenant, by=caller.by(""))
    try:
        started = await submit(service.client, agent, body.input, options)
    except InvalidInputError as error:
        raise _within("input", error) from error
    row = await service.when_ended(started.run, query.wait_seconds)
    response.headers["Location"] = f"/v1/runs/{row.id}"
    response.status_code = 200 if row.state in _FINISHED else 202
    return StartedView(
        **_view(service, row, reveal=query.reveal).model_dump(), created=started.created
    )


def _within(part: str, error: InvalidInputError) -> InvalidInputError:
    """The error with its fields named from the request's root."""
    problems: list[dict[str, str]] = error.fields.get("problems", [])
    named = [{**problem, "field": _joined(part, problem["field"])} for problem in problems]
    return InvalidInputError(error.message, **{**error.fields, "problems": named})


def _joined(part: str, field: str) -> str:
    return part if field == "(whole)" else f"{part}.{field}"


def _view(service: Service, row: RunRow, *, reveal: bool) -> RunView:
    return run_view(service.store, row, service.clock.now_us(), reveal=reveal)


async def _list(
    service: ReadingService, caller: Reader, query: Annotated[RunsQuery, Query()]
) -> RunList:
    """List runs, newest first, a page at a time."""
    if query.before:
        caller.run(query.before)
    if caller.tenant and query.tenant not in ("", caller.tenant):
        return RunList(runs=[], next=None)
    where = RunFilter(
        states=tuple(query.state),
        agent=query.agent,
        tenant=caller.tenant or query.tenant,
        parent=query.parent,
        before=query.before,
        limit=query.limit + 1,
    )
    rows = service.store.runs(where)
    page = rows[: query.limit]
    following = page[-1].id if len(rows) > query.limit else None
    return RunList(runs=[run_summary(row) for row in page], next=following)


async def _show(
    service: ReadingService, caller: Reader, run: str, query: Annotated[ShowQuery, Query()]
) -> RunView:
    """Show one run: what it waits for, or its result or failure."""
    caller.check_reveal(query.reveal)
    return _view(service, caller.run(run), reveal=query.reveal)


async def _events(
    service: ReadingService,
    caller: Reader,
    run: str,
    query: Annotated[EventsQuery, Query()],
    request: Request,
) -> Response | EventList:
    """List a run's events in order.

    With `Accept: text/event-stream` they come as they happen, until the run is finished; a reader
    that lost the stream goes on with `Last-Event-ID`. With `bodies` it also gets, as events named
    `fragment` without an id, what a model is answering just now.
    """
    caller.check_reveal(query.reveal)
    caller.run(run)
    if _EVENT_STREAM in request.headers.get("accept", ""):
        return _stream(service, run, query, request.headers.get("last-event-id"))
    entries = service.store.read(run, query.after, query.limit + 1)
    page = entries[: query.limit]
    following = page[-1].event.seq if len(entries) > query.limit else None
    shown = [event_view(e, bodies=query.bodies, reveal=query.reveal) for e in page]
    return EventList(events=shown, next=following)


def _stream(service: Service, run: str, query: EventsQuery, last: str | None) -> Response:
    after = query.after
    if last:
        if not (last.isascii() and last.isdigit() and len(last) < 19):
            raise RequestError(
                "malformed_request", "Last-Event-ID: send the `id` of the last event you have."
            )
        after = int(last)
        if is_finished(service, run, after):
            return Response(status_code=204)
    frames = event_frames(service, run, after, bodies=query.bodies, reveal=query.reveal)
    return StreamingResponse(frames, media_type=_EVENT_STREAM)


def _acting(caller: Caller, run: str, claimed: str) -> str:
    """By whom a message to a run is, which has to be one that they see."""
    by = caller.by(claimed)
    if caller.tenant:
        caller.run(run)
    return by


async def _cancel(
    service: OpenService,
    caller: Operator,
    key: IdempotencyKey,
    run: str,
    body: CancelRequest | None = None,
) -> MessageView:
    """Ask a run to cancel: its `finally` blocks run and its children are cancelled.

    Safe to repeat with an `Idempotency-Key`.
    """
    given = body or CancelRequest()
    by = _acting(caller, run, given.by)
    message = await service.client.cancel(run, reason=given.reason, message_id=key, by=by)
    return MessageView(run=run, message=message)


async def _signal(
    service: OpenService,
    caller: Starter,
    key: IdempotencyKey,
    run: str,
    name: str,
    body: SignalRequest | None = None,
) -> MessageView:
    """Send a signal: the first wait for its name takes it, now or later.

    Safe to repeat with an `Idempotency-Key`.
    """
    given = body or SignalRequest()
    by = _acting(caller, run, given.by)
    message = await service.client.signal(run, name, given.payload, message_id=key, by=by)
    return MessageView(run=run, message=message)


async def _retry(
    service: OpenService,
    caller: Operator,
    key: IdempotencyKey,
    run: str,
    body: RetryRequest | None = None,
) -> MessageView:
    """Let a parked run go on; what it has done is kept. Safe to repeat with a key."""
    given = body or RetryRequest()
    by = _acting(caller, run, given.by)
    message = await service.client.retry(run, message_id=key, by=by)
    return MessageView(run=run, message=message)
