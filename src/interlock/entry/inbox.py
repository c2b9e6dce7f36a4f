"""Questions to people over HTTP: list them, answer them, and say what became of an effect."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from interlock.entry.access import IdempotencyKey, OpenService, ReadingService
from interlock.entry.requests import DecisionRequest, EffectsQuery, InboxQuery, ResolutionRequest
from interlock.entry.runs import MessageView
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


async def _list_tasks(service: ReadingService, query: Annotated[InboxQuery, Query()]) -> TaskList:
    """List inbox tasks with what they ask; only open ones unless states are given."""
    rows = service.store.inbox(tuple(query.state) or ("open",), query.limit)
    return TaskList(tasks=[task_view(service.store, row, reveal=query.reveal) for row in rows])


async def _decide(service: OpenService, task: str, body: DecisionRequest) -> TaskView:
    """Answer an inbox task. It is decided when this answers, and nobody can decide it again."""
    await service.client.decide(task, body.choice, note=body.note, value=body.value, by=body.by)
    return task_view(service.store, service.client.inbox_task(task))


async def _list_effects(
    service: ReadingService, query: Annotated[EffectsQuery, Query()]
) -> EffectList:
    """List effects with their states."""
    rows = service.store.effects(tuple(query.state), query.run, query.limit)
    return EffectList(effects=[effect_view(row) for row in rows])


async def _resolve(
    service: OpenService, key: IdempotencyKey, effect_key: str, body: ResolutionRequest
) -> MessageView:
    """Say what became of an effect. The run takes the word when it looks."""
    message = await service.client.resolve(
        effect_key, body.verdict, result=body.result, message_id=key, by=body.by
    )
    return MessageView(run=service.client.effect(effect_key).run, message=message)
