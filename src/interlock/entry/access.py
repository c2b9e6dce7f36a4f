"""How a handler gets at what it needs from a request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from interlock.entry.idempotency_key import parse_idempotency_key
from interlock.entry.service import Service

__all__ = ["IdempotencyKey", "OpenService", "ReadingService"]

# All of these are coroutines: FastAPI would call plain functions in threads, and the store must be
# read on the loop's thread only.


async def _reading(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _open(request: Request) -> Service:
    service: Service = request.app.state.service
    service.check_open()
    return service


async def _key(request: Request) -> str | None:
    return parse_idempotency_key(request.headers.getlist("idempotency-key"))


ReadingService = Annotated[Service, Depends(_reading)]
OpenService = Annotated[Service, Depends(_open)]
IdempotencyKey = Annotated[str | None, Depends(_key)]
