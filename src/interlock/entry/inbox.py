"""Questions to people over HTTP: list them, answer them, and say what became of an effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query

from interlock.entry.access import Decider, IdempotencyKey, OpenService, Reader, ReadingService
from interlock.entry.requests import (
    DecisionRequest,
    EffectsQuery,
    InboxQuery,
    ResolutionRequest,
    ShowQuery,
)
from interlock.entry.runs import MessageView
from interlock.entry.service import Service
from interlock.observe.view import (
    EffectList,
    TaskList,
    TaskView,
    effect_view,
    task_view,
)

__all__ = ["effects_router", "inbox_router"]


def inbox_router() -> APIRouter:
    """The paths about inbox tasks."""
    router = APIRouter(prefix="/v1/inbox", tags=["inbox"])
    router.add_api_route(
        "", _list_tasks, response_model=TaskList, summary="List questions to people, oldest first"
    )
    router.add_api_route("/{task}", _show_task, response_model=TaskView, summary="Show a question")
    router.add_api_route(
        "/{task}/decision",
        _decide,
        methods=["POST"],
        response_model=TaskView,
        summary="Answer a question",
    )
    return router


def effects_router() -> APIRouter:
    """The paths about effects."""
    router = APIRouter(prefix="/v1/effects", tags=["effects"])
    router.add_api_route(
        "", _list_effects, response_model=EffectList, summary="List effects, newest first"
    )
    router.add_api_route(
        "/{effect_key}/resolution",
        _resolve,
        methods=["POST"],
        status_code=202,
        response_model=MessageView,
        summary="Say what became of an effect whose outcome is unknown",
    )
    return router


async def _list_tasks(
    service: ReadingService, caller: Reader, query: Annotated[InboxQuery, Query()]
) -> TaskList:
    """List inbox tasks with what they ask, a page at a time; only open ones without states."""
    caller.check_reveal(query.reveal)
    if query.after:
        caller.task(query.after)
    states = tuple(query.state) or ("open",)
    rows = service.store.inbox(states, query.limit + 1, tenant=caller.tenant, after=query.after)
    page = rows[: query.limit]
    unseal = _unsealing(service)
    shown = [task_view(service.store, row, reveal=query.reveal, unseal=unseal) for row in page]
    return TaskList(tasks=shown, next=page[-1].id if len(rows) > query.limit else None)


async def _show_task(
    service: ReadingService, caller: Reader, task: str, query: Annotated[ShowQuery, Query()]
) -> TaskView:
    """Show an inbox task. With `reveal` the card of an approval has the values themselves."""
    caller.check_reveal(query.reveal)
    row = caller.task(task)
    return task_view(service.store, row, reveal=query.reveal, unseal=_unsealing(service))


def _unsealing(service: Service) -> Callable[[str, Any], Any] | None:
    vault = service.local.executor.vault
    return None if vault is None else vault.shown


async def _decide(
    service: OpenService, caller: Decider, task: str, body: DecisionRequest
) -> TaskView:
    """Answer an inbox task. It is decided when this answers, and nobody can decide it again.

    It takes a person who has the role that is asked; they cannot give another's name.
    """
    by = caller.by(body.by)
    caller.check_holds(caller.task(task), by)
    await service.client.decide(task, body.choice, note=body.note, value=body.value, by=by)
    return task_view(service.store, service.client.inbox_task(task))


async def _list_effects(
    service: ReadingService, caller: Reader, query: Annotated[EffectsQuery, Query()]
) -> EffectList:
    """List effects with their states, a page at a time."""
    if query.before:
        caller.effect(query.before)
    rows = service.store.effects(
        tuple(query.state),
        query.run,
        query.limit + 1,
        tenant=caller.tenant,
        before=query.before,
    )
    page = rows[: query.limit]
    following = page[-1].effect_key if len(rows) > query.limit else None
    return EffectList(effects=[effect_view(row) for row in page], next=following)


async def _resolve(
    service: OpenService,
    caller: Decider,
    key: IdempotencyKey,
    effect_key: str,
    body: ResolutionRequest,
) -> MessageView:
    """Say what became of an effect. The run takes the word when it looks."""
    by = caller.by(body.by)
    caller.effect(effect_key)
    message = await service.client.resolve(
        effect_key, body.verdict, result=body.result, message_id=key, by=by
    )
    return MessageView(run=service.client.effect(effect_key).run, message=message)
