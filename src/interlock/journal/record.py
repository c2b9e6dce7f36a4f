"""Events exactly as they are stored: what verification reads."""

from __future__ import annotations

from typing import NamedTuple

from interlock.journal.event import event_hash

__all__ = ["ChangedHead", "HeadsAt", "Record", "StreamEnd"]


class Record(NamedTuple):
    """One event as stored, its header still text. `salt` and `body` are None without a body."""

    position: int
    stream: str
    seq: int
    epoch: int
    kind: str
    version: int
    key: str
    at_us: int
    header: str
    commitment: bytes
    prev_hash: bytes
    salt: bytes | None
    body: bytes | None

    def hash(self) -> bytes:
        """SHA-256 over the event's fields, from what is stored."""
        return event_hash(
            prev_hash=self.prev_hash,
            commitment=self.commitment,
            stream=self.stream,
            seq=self.seq,
            epoch=self.epoch,
            kind=self.kind,
            version=self.version,
            key=self.key,
            at_us=self.at_us,
            header=self.header,
        )


class StreamEnd(NamedTuple):
    """The stored head of a stream."""

    stream: str
    seq: int
    epoch: int
    hash: bytes


class ChangedHead(NamedTuple):
    """A stream that got events, and the hash of its last one."""

    stream: str
    seq: int
    hash: bytes


class HeadsAt(NamedTuple):
    """The heads that changed, and the position of the journal's last event at that moment."""

    position: int
    heads: list[ChangedHead]
