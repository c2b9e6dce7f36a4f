"""A journal whose disk takes virtual time: what happens meanwhile goes into the next group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from interlock.errors import StorageError
from interlock.journal.guard import Commit, Result
from interlock.journal.journal import Done, Journal
from interlock.journal.store import Store

__all__ = ["SimulatedJournal"]


class SimulatedJournal(Journal):
    """The real journal, with virtual time in the place of its thread.

    `delay_us()` is how long the disk takes for a group; 0 writes it at once, on the loop.
    """

    def __init__(self, store: Store, delay_us: Callable[[], int]) -> None:
        super().__init__(store, mode="thread")
        self._delay_us = delay_us

    def _in_thread(
        self, group: Sequence[tuple[Commit, Done]], work: Callable[[], list[Result]]
    ) -> None:
        def write() -> None:
            outcome: list[Result] | StorageError
            try:
                outcome = work()
            except StorageError as error:
                outcome = error
            self._finish(group, outcome)

        delay_us = self._delay_us()
        if delay_us == 0:
            write()
        else:
            asyncio.get_running_loop().call_later(delay_us / 1e6, write)
