"""Signed checkpoints: what the ends of all streams were, outside the database.

A chain without a key shows that an event was changed, but not that the tail was cut or that the
whole was written anew. A checkpoint line holds the position, a digest over the ends of the streams
that changed since the line before, the hash of that line, and an Ed25519 signature (RFC 8032) over
all of it. The lines are in `<database>.checkpoints.jsonl`, the private key in `<database>.key`
(readable by its owner alone), the public key in `<database>.pub`. Whoever keeps copies of the lines
and of the public key elsewhere can prove what the journal was; who can write all three files can
not be caught by them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from interlock.clock import Clock
from interlock.errors import StorageCorruptError
from interlock.journal.record import ChangedHead, HeadsAt

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

__all__ = ["Checkpoint", "CheckpointLog", "HasHeads", "digest_heads"]

_FIRST = sha256(b"").hexdigest()
_EVERYBODY_READS = 0o644
_TAIL_BYTES = 4096


class HasHeads(Protocol):
    """What a checkpoint is taken of."""

    def heads_since(self, after_position: int) -> HeadsAt:
        """The streams that have events after a position, all as of one moment."""
        ...


class Checkpoint(NamedTuple):
    """One line. `streams` counts, and `digest` covers, what changed since the line before; `prev`
    is the SHA-256 of that line. Times are microseconds since 1970 (UTC).
    """

    position: int
    at_us: int
    streams: int
    digest: str
    prev: str
    signature: str

    def signed(self) -> bytes:
        """The bytes that the signature covers: all other fields as JSON."""
        return json.dumps(self[:-1], separators=(",", ":")).encode()

    def line(self) -> str:
        """The line as it is stored, without its end."""
        return json.dumps(self._asdict(), separators=(",", ":"))


def digest_heads(heads: Iterable[ChangedHead]) -> str:
    """SHA-256 over stream, seq and hash of each, sorted by stream, as JSON lines."""
    digest = sha256()
    for stream, seq, hashed in sorted(heads):
        digest.update(json.dumps([stream, seq, hashed.hex()]).encode() + b"\n")
    return digest.hexdigest()


class CheckpointLog:
    """The checkpoints of one database, beside it. Safe between threads and processes."""

    def __init__(self, database: str, clock: Clock) -> None:
        self.path = Path(f"{database}.checkpoints.jsonl")
        self.key_path = Path(f"{database}.key")
        self.public_path = Path(f"{database}.pub")
        self._clock = clock
        self._key: Ed25519PrivateKey | None = None

    def write(self, store: HasHeads) -> Checkpoint | None:
        """Add a checkpoint and sync it; None when nothing changed since the last one.

        Costs two passes over the events since then. Creates the keys when there are none. May be
        repeated. Raises `StorageCorruptError` when the last line or the key cannot be read, and
        `OSError` when the disk does not take it.
        """
        position, _ = self._read_last()
        if store.heads_since(position).position <= position:
            return None
        key = self._private_key()
        with _locked(self.path) as descriptor:
            position, prev = self._read_last()
            now = store.heads_since(position)
            if now.position <= position:
                return None
            checkpoint = self._signed(now, prev, key)
            _append_line(descriptor, checkpoint.line())
        return checkpoint

    def _signed(self, now: HeadsAt, prev: str, key: Ed25519PrivateKey) -> Checkpoint:
        unsigned = Checkpoint(
            position=now.position,
            at_us=self._clock.now_us(),
            streams=len(now.heads),
            digest=digest_heads(now.heads),
            prev=prev,
            signature="",
        )
        return unsigned._replace(signature=key.sign(unsigned.signed()).hex())

    def problems(self, verified: list[Checkpoint]) -> Iterator[str]:
        """Check signatures and the chain of lines; fills `verified` with the lines that hold."""
        lines = self._lines()
        if not self.public_path.exists():
            if lines:
                yield f"the public key {str(self.public_path)!r} is gone: no checkpoint is proved"
            return
        if not lines and self.key_path.exists():
            yield f"the checkpoints {str(self.path)!r} are gone: a key says that there were some"
        public = self._public_key()
        prev, position = _FIRST, 0
        for number, line in enumerate(lines, start=1):
            checkpoint = _parse(line)
            if checkpoint is None or not _is_signed(checkpoint, public):
                yield f"checkpoint {number}: its signature does not hold"
            elif checkpoint.prev != prev or checkpoint.position <= position:
                yield f"checkpoint {number}: the checkpoint before it was removed or moved"
                return
            else:
                verified.append(checkpoint)
                position = checkpoint.position
            prev = _hash_line(line)

    def _lines(self) -> list[str]:
        """Complete lines; a last one without its end was never acknowledged."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        return text.split("\n")[:-1]

    def _last_line(self) -> str | None:
        """The last complete line, without reading the whole file."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                tail = file.read()
        except FileNotFoundError:
            return None
        lines = tail.decode("utf-8", errors="replace").split("\n")[:-1]
        return lines[-1] if lines else None

    def _read_last(self) -> tuple[int, str]:
        last = self._last_line()
        if last is None:
            return 0, _FIRST
        checkpoint = _parse(last)
        if checkpoint is None:
            raise StorageCorruptError(
                f"The last line of {str(self.path)!r} is no checkpoint, so none can follow it. "
                "Remedy: keep a copy of the file for inquiry, then remove it; a new one begins.",
                path=str(self.path),
            )
        return checkpoint.position, _hash_line(last)

    def _private_key(self) -> Ed25519PrivateKey:
        if self._key is None:
            if not self.key_path.exists():
                self._create_key()
            self._key = self._load_key()
            self._publish()
        return self._key

    def _create_key(self) -> None:
        """Make a key; when another process makes one at the same moment, one of the two stays."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        with _draft_of(self.key_path, pem) as draft, contextlib.suppress(FileExistsError):
            self.key_path.hardlink_to(draft)

    def _load_key(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(self.key_path.read_bytes(), password=None)
        except ValueError as error:
            raise self._bad_key(self.key_path) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise self._bad_key(self.key_path)
        return key

    def _publish(self) -> None:
        if self.public_path.exists() or self._key is None:
            return
        from cryptography.hazmat.primitives import serialization

        pem = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with _draft_of(self.public_path, pem) as draft, contextlib.suppress(FileExistsError):
            draft.chmod(_EVERYBODY_READS)
            self.public_path.hardlink_to(draft)

    def _public_key(self) -> Ed25519PublicKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(self.public_path.read_bytes())
        except ValueError as error:
            raise self._bad_key(self.public_path) from error
        if not isinstance(key, Ed25519PublicKey):
            raise self._bad_key(self.public_path)
        return key

    def _bad_key(self, path: Path) -> StorageCorruptError:
        return StorageCorruptError(
            f"{str(path)!r} is no Ed25519 key in PEM form. Remedy: restore it from a backup; "
            "without it the checkpoints so far cannot be proved.",
            path=str(path),
        )


def _is_signed(checkpoint: Checkpoint, public: Ed25519PublicKey) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(bytes.fromhex(checkpoint.signature), checkpoint.signed())
    except (InvalidSignature, ValueError):
        return False
    return True


def _parse(line: str) -> Checkpoint | None:
    """A line, or None when it is none."""
    try:
        fields: Any = json.loads(line)
        checkpoint = Checkpoint(**fields)
    except (ValueError, TypeError):
        return None
    wanted = (int, int, int, str, str, str)
    if not all(type(value) is kind for value, kind in zip(checkpoint, wanted, strict=True)):
        return None
    return checkpoint


def _hash_line(line: str) -> str:
    return sha256(line.encode()).hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Generator[int]:
    """The file, made when it is absent, while nobody else adds to it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _EVERYBODY_READS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _append_line(descriptor: int, line: str) -> None:
    """Add a line and sync it, in the place of a last one that was never finished."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - _TAIL_BYTES)
    end = start + os.pread(descriptor, _TAIL_BYTES, start).rfind(b"\n") + 1
    os.ftruncate(descriptor, end)
    os.pwrite(descriptor, f"{line}\n".encode(), end)
    os.fsync(descriptor)


@contextlib.contextmanager
def _draft_of(path: Path, content: bytes) -> Generator[Path]:
    """A synced file beside `path` that its owner alone may read, gone afterwards."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
        yield Path(name)
    finally:
        os.close(descriptor)
        Path(name).unlink()
