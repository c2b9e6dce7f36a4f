"""Verification: reads the journal once and says everything that is wrong with it.

Shared by all databases. It finds events that are missing, moved or rewritten, bodies that do not
belong to their events or are gone without a record of their erasure, and, with checkpoints, a cut
tail and a history that was rewritten as a whole. Memory is bounded by the number of streams (and of
bodies that are gone), not of events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, cast

from interlock.errors import StorageCorruptError
from interlock.journal.checkpoint import Checkpoint, CheckpointLog, digest_heads
from interlock.journal.event import NO_BODY, NO_HASH, Entry, commit_to
from interlock.journal.record import ChangedHead, Record

__all__ = ["Progress", "Verifiable", "verify_all", "verify_chains"]

Progress = Callable[[int], None]
_PAGE = 2000
_ERASED = "bodies_erased"


class Verifiable(Protocol):
    """What verification needs of a store."""

    def records(self, after_position: int = 0, limit: int = 1000) -> list[Record]:
        """Events by position exactly as stored."""
        ...

    def entry(self, position: int) -> Entry | None:
        """One event with its body."""
        ...

    def page_check(self) -> Iterator[str]:
        """The database's own check of itself."""
        ...


def verify_all(
    store: Verifiable, checkpoints: CheckpointLog | None = None, progress: Progress | None = None
) -> Iterator[str]:
    """A sentence per problem of a journal: its file, its chains and its signed checkpoints.

    Nothing when it is sound. `progress` is told each position up to which all was read.
    """
    verified: list[Checkpoint] = []
    try:
        yield from store.page_check()
        if checkpoints is not None:
            yield from checkpoints.problems(verified)
        yield from _Verification(store, verified).problems(progress)
    except StorageCorruptError as error:
        yield error.message


def verify_chains(store: Verifiable, progress: Progress | None = None) -> Iterator[str]:
    """As `verify_all`, without the database's own check and without checkpoints."""
    return _Verification(store, []).problems(progress)


class _End(NamedTuple):
    seq: int
    epoch: int
    hash: bytes


class _Verification:
    def __init__(self, store: Verifiable, checkpoints: list[Checkpoint]) -> None:
        self._store = store
        self._checkpoints = checkpoints
        self._checked = 0
        self._ends: dict[str, _End] = {}
        self._changed: set[str] = set()
        self._missing: set[int] = set()
        self._position = 0
        self._at_us = 0

    def problems(self, progress: Progress | None) -> Iterator[str]:
        while records := self._store.records(self._position, _PAGE):
            for record in records:
                yield from self._place(record)
                yield from self._chain(record)
                yield from self._body(record)
                if record.kind == _ERASED:
                    yield from self._erasure(record)
                yield from self._checkpoint(record.position)
            if progress is not None:
                progress(self._position)
        for position in sorted(self._missing):
            yield f"position {position}: the body is gone, and no event records its erasure"
        for checkpoint in self._checkpoints[self._checked :]:
            yield (
                f"the checkpoint at position {checkpoint.position} is beyond the last event, "
                f"{self._position}: the journal's tail was cut"
            )

    def _place(self, record: Record) -> Iterator[str]:
        position = record.position
        if position != self._position + 1:
            yield f"positions {self._position + 1} to {position - 1}: the events are missing"
        if record.at_us < self._at_us:
            yield f"position {position}: its time is before that of the event before it"
        self._position = position
        self._at_us = max(self._at_us, record.at_us)

    def _chain(self, record: Record) -> Iterator[str]:
        damage = _damaged_field(record)
        if damage is not None:
            yield f"position {record.position}: {damage}"
            return
        where = f"position {record.position}, event {record.seq} of stream {record.stream!r}"
        end = self._ends.get(record.stream) or _End(0, 0, NO_HASH)
        if record.seq != end.seq + 1:
            yield f"{where}: event {end.seq + 1} should follow; events are missing or moved"
        elif record.prev_hash != end.hash:
            yield f"{where}: its previous hash is not that of event {end.seq}; one was rewritten"
        if record.epoch < end.epoch:
            yield f"{where}: its epoch {record.epoch} is below {end.epoch}"
        self._ends[record.stream] = _End(record.seq, record.epoch, record.hash())
        self._changed.add(record.stream)

    def _body(self, record: Record) -> Iterator[str]:
        where = f"position {record.position}"
        if record.salt is None or record.body is None:
            if record.commitment != NO_BODY:
                self._missing.add(record.position)
        elif record.commitment == NO_BODY:
            yield f"{where}: there is a body, but the event has none"
        elif not _belongs(record.salt, record.body, record.commitment):
            yield f"{where}: the body is not the one that the event was written with"

    def _erasure(self, record: Record) -> Iterator[str]:
        for position in _erased_positions(record.header):
            if position in self._missing:
                self._missing.remove(position)
                continue
            entry = self._store.entry(position)
            if entry is not None and entry.body is not None:
                yield f"position {position}: its body was erased, and is there again"

    def _checkpoint(self, position: int) -> Iterator[str]:
        while self._checked < len(self._checkpoints):
            checkpoint = self._checkpoints[self._checked]
            if checkpoint.position > position:
                return
            self._checked += 1
            heads = [
                ChangedHead(stream, self._ends[stream].seq, self._ends[stream].hash)
                for stream in self._changed
            ]
            self._changed.clear()
            if len(heads) != checkpoint.streams or digest_heads(heads) != checkpoint.digest:
                yield (
                    f"the signed checkpoint at position {checkpoint.position} names other ends of "
                    "streams than the journal has: events up to there were rewritten or removed"
                )


def _belongs(salt: object, body: object, commitment: bytes) -> bool:
    if not isinstance(salt, bytes) or not isinstance(body, bytes):
        return False
    return commit_to(salt, body) == commitment


def _damaged_field(record: Record) -> str | None:
    """What of a record has a type that no event has; None when all is well."""
    numbers = (record.seq, record.epoch, record.version, record.at_us)
    texts = (record.stream, record.kind, record.key, record.header)
    hashes = (record.commitment, record.prev_hash)
    if not all(type(number) is int for number in numbers):
        return "a number of the event is not a number"
    if not all(type(text) is str for text in texts):
        return "a text of the event, or its stream, is missing"
    if not all(type(value) is bytes and len(value) == len(NO_HASH) for value in hashes):
        return "a hash of the event is not a hash"
    try:
        header = json.loads(record.header)
    except ValueError:
        header = None
    return None if isinstance(header, dict) else "its header is not a JSON object"


def _erased_positions(header: str) -> list[int]:
    try:
        decoded: Any = json.loads(header)
    except ValueError:
        return []  # reported as damage of the event itself
    match decoded:
        case {"positions": [*positions]}:
            return [at for at in cast("list[object]", positions) if isinstance(at, int)]
        case _:
            return []
