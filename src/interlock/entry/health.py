"""Whether the process lives, and whether it can take work."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from interlock.entry.access import ReadingService
from interlock.entry.problem import RequestError

__all__ = ["health_router"]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """The server takes work."""

    status: Literal["ready"] = "ready"


def health_router() -> APIRouter:
    """`/healthz` and `/readyz`."""
    router = APIRouter(tags=["health"])
    router.add_api_route(
        "/healthz", _alive, response_model=Alive, summary="Whether the process answers"
    )
    router.add_api_route(
        "/readyz", _ready, response_model=Ready, summary="Whether the server takes work"
    )
    return router


async def _alive() -> Alive:
    """Answer as long as the process does. Restart it when this fails."""
    return Alive()


async def _ready(service: ReadingService) -> Ready:
    """Answer 200 while the store is writable, the executor runs and the server is not stopping."""
    complaints = service.not_ready()
    if complaints:
        raise RequestError(
            "not_ready", f"Not ready: {'; '.join(complaints)}.", complaints=complaints
        )
    return Ready()
