"""Events exactly as they are stored: what verification reads."""

from __future__ import annotations

from typing import NamedTuple

from interlock.journal.event import event_hash

__all__ = ["ChangedHead", "HeadsAt", "Record"]


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
            self.prev_hash,
            self.commitment,
            self.stream,
            self.seq,
            self.epoch,
            self.kind,
            self.version,
            self.key,
            self.at_us,
            self.header,
        )


class ChangedHead(NamedTuple):
    """A stream that got events, and the hash of its last one."""

    stream: str
    seq: int
    hash: bytes


class HeadsAt(NamedTuple):
    """The heads that changed, and the position of the journal's last event at that moment."""

    position: int
    heads: list[ChangedHead]
