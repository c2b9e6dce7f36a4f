"""The caller of one request: whether it is still there, and waiting no longer than it is."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Literal, Self

from starlette.types import Receive

__all__ = ["Caller", "Gone"]

Gone = Literal["caller_left", "stopped"]


class Caller:
    """Watches, within an `async with`, for the caller's leaving and the server's stop."""

    def __init__(self, receive: Receive, stopping: asyncio.Event) -> None:
        self._receive = receive
        self._stopping = stopping

    async def __aenter__(self) -> Self:
        """Begin to watch. The request's body must have been read."""
        self._leaving = asyncio.create_task(self._left())
        self._stop = asyncio.create_task(self._stopping.wait())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Watch no longer."""
        for task in (self._leaving, self._stop):
            task.cancel()

    @property
    def gone(self) -> Gone | None:
        """Why there is nobody to answer any more; None while there is."""
        if self._stopping.is_set():
            return "stopped"
        return "caller_left" if self._leaving.done() else None

    async def stays(self, seconds: float | None) -> None:
        """Wait so long, but not once the caller is gone. None waits until then; 0 not at all."""
        if seconds == 0:
            return
        await asyncio.wait(
            (self._leaving, self._stop), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )

    async def hung_up(self) -> None:
        """Wait until the connection is closed."""
        await asyncio.wait((self._leaving,))

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
