"""Events: what the journal is made of, and how they are chained.

An `Event` is immutable. Its place is `(stream, seq)`, gapless from 1; `position` is a global order
that follows commit order. A body lives beside its event as salt and bytes; the event holds only
`commitment = SHA-256(salt ‖ body)`, so that a body can be erased and the chain still verifies.

Headers hold what the projections need and never personal data; they are not erased.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

__all__ = [
    "NO_BODY",
    "NO_HASH",
    "Draft",
    "Entry",
    "Event",
    "Header",
    "commit_to",
    "encode_header",
    "event_hash",
]

Header = Mapping[str, Any]
NO_HASH = bytes(32)
NO_BODY = bytes(32)
_NO_HEADER: Header = {}
_encode_any = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_quote = json.encoder.encode_basestring_ascii


class Draft(NamedTuple):
    """An event before the store gives it its place, time and hash.

    `kind` is past tense; `version` is that of the kind's format; `key` is the operation's key
    within its run (or the message id of a mail), or empty. `header` is a JSON object without
    personal data. `body` is the payload as bytes (JSON in UTF-8), or None for no body.
    """

    kind: str
    key: str = ""
    header: Header = _NO_HEADER
    body: bytes | None = None
    version: int = 1


class Event(NamedTuple):
    """One event as it stands in the journal. `at_us` is microseconds since 1970 (UTC)."""

    stream: str
    seq: int
    position: int
    epoch: int
    kind: str
    version: int
    key: str
    at_us: int
    header: Header
    commitment: bytes
    prev_hash: bytes

    def hash(self) -> bytes:
        """This event's SHA-256, which the stream's next event holds as `prev_hash`."""
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
            header=encode_header(self.header),
        )


class Entry(NamedTuple):
    """An event with its body. `body` is None where there is none, or where it was erased."""

    event: Event
    body: bytes | None
    erased: bool = False


def encode_header(header: Header) -> str:
    """The header as it is stored and hashed: JSON, sorted keys, no white space, ASCII only.

    Raises `TypeError` or `ValueError` for what JSON cannot say (a set, NaN).
    """
    if not header:
        return "{}"
    parts: list[str] = []
    for name in sorted(header):
        value: object = header[name]
        if type(value) is str:
            parts.append(f"{_quote(name)}:{_quote(value)}")
        elif type(value) is int:
            parts.append(f"{_quote(name)}:{value}")
        elif value is None:
            parts.append(f"{_quote(name)}:null")
        else:
            return _encode_any(header)
    return "{" + ",".join(parts) + "}"


def commit_to(salt: bytes, body: bytes) -> bytes:
    """SHA-256 over salt and body: hides the body, and binds the event to it."""
    return sha256(salt + body).digest()


def event_hash(
    prev_hash: bytes,
    commitment: bytes,
    stream: str,
    seq: int,
    epoch: int,
    kind: str,
    version: int,
    key: str,
    at_us: int,
    header: str,
) -> bytes:
    """SHA-256 over the previous hash, the commitment and the event's fields as a JSON array.

    The first two have 32 bytes each and a JSON array is self-delimiting, so no two different
    events share their hashed bytes. `position` is left out: it is the store's, not the stream's.
    """
    fields = (
        f"[{_quote(stream)}, {seq}, {epoch}, {_quote(kind)}, {version}, {_quote(key)}, {at_us}, "
        f"{_quote(header)}]"
    )
    return sha256(prev_hash + commitment + fields.encode()).digest()
