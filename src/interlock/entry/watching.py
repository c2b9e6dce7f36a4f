"""Calls where another process executes the runs: started here, and watched in the journal."""

from __future__ import annotations

import asyncio
from typing import Final

from interlock.clock import Clock
from interlock.journal.rows import RunRow
from interlock.journal.store import Store
from interlock.orchestrator.client import Client

__all__ = ["JournalHost"]

_ENDED: Final = ("completed", "failed", "cancelled", "parked")
_SHORTEST_LOOK_SECONDS: Final = 0.02
_LONGEST_LOOK_SECONDS: Final = 0.5


class JournalHost:
    """A `CallHost` that executes nothing."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.client = client
        self._clock = clock

    @property
    def store(self) -> Store:
        """The journal, to be read."""
        return self.client.journal.store

    def check_open(self) -> None:
        """Raise the failure of the journal, if there is one."""
        if self.client.journal.failure is not None:
            raise self.client.journal.failure

    def stop_if_failed(self) -> None:
        """Nothing ends: every later call is refused with the failure."""

    async def when_ended(self, run: str, seconds: float) -> RunRow:
        """The run's row once it is finished or parked, and after `seconds` at the latest."""
        end = self._clock.boot_seconds() + seconds
        look = _SHORTEST_LOOK_SECONDS
        while (row := self.client.run(run)).state not in _ENDED:
            left = end - self._clock.boot_seconds()
            if left <= 0:
                break
            await asyncio.sleep(min(look, left))
            look = min(look * 1.5, _LONGEST_LOOK_SECONDS)
        return row
