"""Journals cut short: what a crash leaves, written event by event into another file.

A crash leaves a prefix of a journal. Instead of crashing a process at every instant, a finished
journal is copied up to each of its events, with the times that were recorded, and continued.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from interlock.clock import SystemClock
from interlock.journal import open_store
from interlock.journal.event import Draft, Entry
from interlock.journal.guard import Append, Commit, Committed, UniqueKey
from interlock.journal.store import Store

__all__ = ["RecordedClock", "all_entries", "copy_of"]


class RecordedClock(SystemClock):
    """A clock that stands where the test has put it."""

    def __init__(self) -> None:
        super().__init__()
        self.at_us = 0

    def now_us(self) -> int:
        return self.at_us


def all_entries(store: Store) -> list[Entry]:
    """Every event of the journal in order, with its body."""
    return list(_entries(store))


def _entries(store: Store) -> Iterator[Entry]:
    position = 0
    while events := store.scan(position):
        for event in events:
            position = event.position
            entry = store.entry(position)
            assert entry is not None
            yield entry


def copy_of(entries: Sequence[Entry], path: Path) -> None:
    """Write these events into a new journal: same streams, numbers, epochs, times and bodies."""
    clock = RecordedClock()
    store = open_store(str(path), clock, synchronous="OFF")
    epochs: dict[str, int] = {}
    try:
        for entry in entries:
            clock.at_us = entry.event.at_us
            (result,) = store.commit([_commit(entry, epochs.get(entry.event.stream, 0))])
            assert isinstance(result, Committed), (entry.event.kind, result)
            epochs[entry.event.stream] = entry.event.epoch
    finally:
        store.close()


def _commit(entry: Entry, epoch: int) -> Commit:
    event = entry.event
    draft = Draft(event.kind, event.key, event.header, entry.body, event.version)
    append = Append(
        event.stream,
        (draft,),
        epoch=epoch if event.epoch > 0 else None,
        raise_epoch=event.epoch > epoch,
        after_seq=event.seq - 1,
    )
    claims = tuple(UniqueKey(*pair) for pair in event.header.get("unique", ()))
    return Commit((append,), claims)
