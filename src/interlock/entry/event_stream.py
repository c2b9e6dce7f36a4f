"""A run's events as they happen, as server-sent events.

`id` is the event's `seq`, so a reader that comes back with `Last-Event-ID` goes on where it was.
The stream ends when the run is finished and everything was sent; a reader that comes back after
that gets 204, which tells it to stay away. Source: HTML Living Standard, section 9.2.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from interlock.entry.service import Service
from interlock.journal.event import Entry
from interlock.observe.view import event_view
from interlock.orchestrator.feed import Follower

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
    """Frames of the run's events after `after`, until it is finished or the server stops.

    With `bodies` also fragments of what a model is answering just now, as they come. They are shown
    and not recorded, so they have no id; a reader that is slow loses some and delays nobody.
    """
    if not bodies:
        async for frame in _frames(service, run, after, None):
            yield frame
        return
    with service.feed.follow(run) as follower:
        async for frame in _frames(service, run, after, follower):
            yield frame


async def _frames(
    service: Service, run: str, after: int, follower: Follower | None
) -> AsyncIterator[bytes]:
    look, silent = _SHORTEST_LOOK_SECONDS, 0.0
    while True:
        # In this order, and with nothing between: a fragment is never told after its answer.
        fragments = follower.taken() if follower is not None else []
        entries = service.store.read(run, after, _PAGE)
        for fragment in fragments:
            yield _fragment_frame(fragment)
        for entry in entries:
            yield _frame(entry, bodies=follower is not None)
            after = entry.event.seq
        if entries or fragments:
            look, silent = _SHORTEST_LOOK_SECONDS, 0.0
        elif is_finished(service, run, after) or service.closed.is_set():
            return
        if not entries:
            async for frame in _until_next_look(service, follower, look):
                silent = 0.0
                yield frame
            silent += look
            look = min(look * 2, _LONGEST_LOOK_SECONDS)
            if silent >= _KEEP_ALIVE_SECONDS:
                silent = 0.0
                yield b": still here\n\n"


async def _until_next_look(
    service: Service, follower: Follower | None, seconds: float
) -> AsyncIterator[bytes]:
    """Frames of the fragments that come meanwhile: they cost no look into the journal."""
    until = service.clock.boot_seconds() + seconds
    while not service.closed.is_set():
        left = until - service.clock.boot_seconds()
        if left <= 0:
            return
        await _pause(service, follower, left)
        for fragment in follower.taken() if follower is not None else ():
            yield _fragment_frame(fragment)


async def _pause(service: Service, follower: Follower | None, seconds: float) -> None:
    """Until a fragment comes or the server stops, and for `seconds` at most."""
    ends: list[asyncio.Task[Any]] = [asyncio.create_task(service.closed.wait())]
    if follower is not None:
        ends.append(asyncio.create_task(follower.wait()))
    try:
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()


def _frame(entry: Entry, *, bodies: bool) -> bytes:
    view = event_view(entry, bodies=bodies)
    data = view.model_dump_json(exclude_unset=True)
    return f"id: {view.seq}\nevent: {view.kind}\ndata: {data}\n\n".encode()


def _fragment_frame(fragment: dict[str, Any]) -> bytes:
    # One line: JSON writes a line break as two characters.
    data = json.dumps(fragment, ensure_ascii=False)
    return f"event: fragment\ndata: {data}\n\n".encode()
