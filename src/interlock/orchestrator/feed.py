"""What a run does right now, for whoever follows it: shown, and not recorded.

A fragment is lost when nobody listens, and a slow listener loses the oldest: the journal is the
truth, and this is only sooner.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["Feed", "Follower"]

_MOST_WAITING: Final = 1000


class Follower:
    """One listener: fragments in order, the oldest dropped when it is slow."""

    def __init__(self) -> None:
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MOST_WAITING)
        self._came = asyncio.Event()

    def put(self, fragment: dict[str, Any]) -> None:
        """Add a fragment."""
        self._waiting.append(fragment)
        self._came.set()

    def taken(self) -> list[dict[str, Any]]:
        """All that wait, which are then forgotten."""
        self._came.clear()
        fragments = list(self._waiting)
        self._waiting.clear()
        return fragments

    async def wait(self) -> None:
        """Until there is something to take."""
        await self._came.wait()


class Feed:
    """The fragments of all runs that execute in this process. Used on one event loop."""

    def __init__(self) -> None:
        self._followers: dict[str, list[Follower]] = {}
        self._streams = 0

    def new_stream(self) -> int:
        """A number that tells the fragments of one answer from those of every other."""
        self._streams += 1
        return self._streams

    def followed(self, run: str) -> bool:
        """Whether anybody follows the run."""
        return run in self._followers

    def publish(self, run: str, fragment: dict[str, Any]) -> None:
        """Show a fragment to those who follow the run."""
        for follower in self._followers.get(run, ()):
            follower.put(fragment)

    @contextmanager
    def follow(self, run: str) -> Generator[Follower]:
        """Listen to a run for the length of the block."""
        follower = Follower()
        self._followers.setdefault(run, []).append(follower)
        try:
            yield follower
        finally:
            self._followers[run].remove(follower)
            if not self._followers[run]:
                del self._followers[run]
