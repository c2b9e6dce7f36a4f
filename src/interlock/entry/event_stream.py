"""A run's events as they happen, as server-sent events.

`id` is the event's `seq`, so a reader that comes back with `Last-Event-ID` goes on where it was.
The stream ends when the run is finished and everything was sent; a reader that comes back after
that gets 204, which tells it to stay away. Source: HTML Living Standard, section 9.2.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final

from interlock.entry.service import Service
from interlock.journal.event import Entry
from interlock.observe.view import event_view
from interlock.orchestrator.feed import Follower
from interlock.tools.masking import mask_value
from interlock.tools.masking.pieces import MaskedPieces

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
    service: Service, run: str, after: int, *, bodies: bool, reveal: bool = False
) -> AsyncIterator[bytes]:
    """Frames of the run's events after `after`, until it is finished or the server stops.

    With `bodies` also fragments of what a model is answering just now, as they come. They are shown
    and not recorded, so they have no id; a reader that is slow loses some and delays nobody.
    """
    writer = _Writer(reveal=reveal, bodies=bodies)
    if not bodies:
        async for frame in _frames(service, run, after, None, writer):
            yield frame
        return
    with service.feed.follow(run) as follower:
        async for frame in _frames(service, run, after, follower, writer):
            yield frame


async def _frames(
    service: Service, run: str, after: int, follower: Follower | None, writer: _Writer
) -> AsyncIterator[bytes]:
    look, silent = _SHORTEST_LOOK_SECONDS, 0.0
    while True:
        # In this order, and with nothing between: a fragment is never told after its answer.
        fragments = follower.taken() if follower is not None else []
        entries = service.store.read(run, after, _PAGE)
        for frame in writer.fragments(fragments):
            yield frame
        for entry in entries:
            yield writer.event(entry)
            after = entry.event.seq
        if entries or fragments:
            look, silent = _SHORTEST_LOOK_SECONDS, 0.0
        elif is_finished(service, run, after) or service.closed.is_set():
            return
        if not entries:
            async for frame in _until_next_look(service, follower, look, writer):
                silent = 0.0
                yield frame
            silent += look
            look = min(look * 2, _LONGEST_LOOK_SECONDS)
            if silent >= _KEEP_ALIVE_SECONDS:
                silent = 0.0
                yield b": still here\n\n"


async def _until_next_look(
    service: Service, follower: Follower | None, seconds: float, writer: _Writer
) -> AsyncIterator[bytes]:
    """Frames of the fragments that come meanwhile: they cost no look into the journal."""
    until = service.clock.boot_seconds() + seconds
    while not service.closed.is_set():
        left = until - service.clock.boot_seconds()
        if left <= 0:
            return
        await _pause(service, follower, left)
        for frame in writer.fragments(follower.taken() if follower is not None else ()):
            yield frame


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


class _Writer:
    """Writes the frames of one stream, masked unless the reader wants what is recorded."""

    def __init__(self, *, reveal: bool, bodies: bool) -> None:
        self._reveal = reveal
        self._bodies = bodies
        # By stream: the pieces of an answer that were not lost, in order, and how many there were.
        self._coming: dict[int, tuple[int, MaskedPieces]] = {}

    def event(self, entry: Entry) -> bytes:
        """An event's frame."""
        view = event_view(entry, bodies=self._bodies, reveal=self._reveal)
        data = view.model_dump_json(exclude_unset=True)
        return f"id: {view.seq}\nevent: {view.kind}\ndata: {data}\n\n".encode()

    def fragments(self, fragments: Iterable[dict[str, Any]]) -> Iterator[bytes]:
        """The frames of what may be shown of the fragments."""
        for fragment in fragments:
            text = fragment["text"] if self._reveal else self._masked(fragment)
            if text:
                shown = {name: fragment[name] for name in ("kind", "ask", "stream")}
                # One line: JSON writes a line break as two characters.
                data = json.dumps({**mask_value(shown), "text": text}, ensure_ascii=False)
                yield f"event: fragment\ndata: {data}\n\n".encode()

    def _masked(self, fragment: dict[str, Any]) -> str:
        """What may be shown by now; after a piece that was not heard, from a whole line on."""
        stream, piece = fragment["stream"], fragment["piece"]
        heard, pieces = self._coming.get(stream, (0, MaskedPieces()))
        if heard != piece:
            pieces = MaskedPieces(torn=True)
        text = pieces.add(fragment["text"])
        if fragment["last"]:
            self._coming.pop(stream, None)
            return text + pieces.rest()
        self._coming[stream] = (piece + 1, pieces)
        return text
