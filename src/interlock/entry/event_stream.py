"""A run's events as they happen, as server-sent events.

`id` is the event's `seq`, so a reader that comes back with `Last-Event-ID` goes on where it was.
The stream ends when the run is finished and everything was sent; a reader that comes back after
that gets 204, which tells it to stay away. Source: HTML Living Standard, section 9.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from interlock.entry.service import Service
from interlock.journal.event import Entry
from interlock.observe.view import event_view

__all__ = ["event_frames", "is_finished"]

_PAGE: Final = 100
_SHORTEST_LOOK_SECONDS: Final = 0.05
_LONGEST_LOOK_SECONDS: Final = 0.5
_KEEP_ALIVE_SECONDS: Final = 15.0


def is_finished(service: Service, run: str, after: int) -> bool:
    """Whether the run is finished and has no event after `after`."""
    row, head = service.client.run(run), service.store.head(run)
    over = row.state in ("completed", "failed", "cancelled")
    return over and (head is None or head.seq <= after)


async def event_frames(
    service: Service, run: str, after: int, *, bodies: bool
) -> AsyncIterator[bytes]:
    """Frames of the run's events after `after`, until it is finished or the server stops."""
    look, silent = _SHORTEST_LOOK_SECONDS, 0.0
    while True:
        entries = service.store.read(run, after, _PAGE)
        for entry in entries:
            yield _frame(entry, bodies=bodies)
            after = entry.event.seq
        if entries:
            look, silent = _SHORTEST_LOOK_SECONDS, 0.0
        elif is_finished(service, run, after) or service.closed.is_set():
            return
        else:
            await _pause(service, look)
            silent += look
            look = min(look * 2, _LONGEST_LOOK_SECONDS)
            if silent >= _KEEP_ALIVE_SECONDS:
                silent = 0.0
                yield b": still here\n\n"


async def _pause(service: Service, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await service.closed.wait()


def _frame(entry: Entry, *, bodies: bool) -> bytes:
    view = event_view(entry, bodies=bodies)
    data = view.model_dump_json(exclude_unset=True)
    return f"id: {view.seq}\nevent: {view.kind}\ndata: {data}\n\n".encode()
