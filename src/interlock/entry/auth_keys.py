"""API keys: a file that holds only their hashes, and what a key proves.

A key is `ilk_<id>_<secret>` with 256 random bits in the secret, so its SHA-256 is enough: nobody
can try them all. The file is read again whenever it changes, so a revoked key is refused by the
next request. It is written as a whole beside itself and moved into place, under a lock.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import os
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from interlock.base.codec import describe
from interlock.clock import Clock
from interlock.entry.auth_identity import Identity, Kind
from interlock.errors import ConflictError, InvalidInputError, NotFoundError

__all__ = ["KEY_PREFIX", "ApiKey", "KeyFile"]

KEY_PREFIX: Final = "ilk_"
_KEY: Final = re.compile(r"ilk_(?P<id>[a-z2-7]{10})_[A-Za-z0-9_-]{43}", re.ASCII)
_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 6
# No text has it as its SHA-256: what is compared where no key has the id.
_NO_HASH: Final = "0" * 64

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s/\x00-\x1f\x7f]+$")]


class ApiKey(BaseModel):
    """One key as the file has it. `tenant` null is every tenant; `hash` is of the whole key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z2-7]{10}$")
    name: Name
    kind: Kind
    tenant: Annotated[str, Field(min_length=1, max_length=200)] | None
    roles: tuple[Name, ...]
    hash: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None

    def state(self, now: datetime) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"

    def identity(self) -> Identity:
        """Whom it names."""
        return Identity(
            name=self.name,
            kind=self.kind,
            tenant=self.tenant,
            roles=frozenset(self.roles),
            client=self.name,
            credential=f"key {self.id}",
        )


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[ApiKey, ...] = ()


class KeyFile:
    """The keys in one file. A file that does not exist has none and is made by the first."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._seen: tuple[int, ...] = ()
        self._keys: dict[str, ApiKey] = {}

    def keys(self) -> list[ApiKey]:
        """All keys, the oldest first. Raises `InvalidInputError` for a file that cannot be used."""
        return list(self._current().values())

    def find(self, key: str) -> ApiKey | None:
        """The entry of a key that was presented, whatever its state; None for no key of ours.

        It takes as long whether or not there is one with its id. Raises `InvalidInputError`.
        """
        parts = _KEY.fullmatch(key)
        entry = self._current().get(parts["id"]) if parts is not None else None
        known = entry.hash if entry is not None else _NO_HASH
        return entry if hmac.compare_digest(known, _hash(key)) else None

    def new(
        self,
        name: str,
        *,
        kind: Kind,
        tenant: str | None,
        roles: tuple[str, ...],
        expires_in: timedelta | None,
    ) -> tuple[str, ApiKey]:
        """Make a key: the key, which is kept nowhere, and its entry. Raises `InvalidInputError`."""
        key_id = base64.b32encode(self._clock.random_bytes(_ID_BYTES)).decode().lower()[:10]
        secret = base64.urlsafe_b64encode(self._clock.random_bytes(_SECRET_BYTES)).decode()
        key = f"{KEY_PREFIX}{key_id}_{secret.rstrip('=')}"
        now = self.now()
        try:
            entry = ApiKey(
                id=key_id,
                name=name,
                kind=kind,
                tenant=tenant,
                roles=tuple(dict.fromkeys(roles)),
                hash=_hash(key),
                created_at=now,
                expires_at=None if expires_in is None else now + expires_in,
            )
        except ValidationError as error:
            raise InvalidInputError(f"key for {name!r}: {describe(error)}") from error
        with self._writing() as keys:
            keys[key_id] = entry
        return key, entry

    def revoke(self, key_id: str) -> ApiKey:
        """Refuse a key from now on. Raises `NotFoundError`, or `ConflictError` for one that is."""
        with self._writing() as keys:
            entry = keys.get(key_id)
            if entry is None:
                raise NotFoundError(f"no key {key_id!r} in {str(self.path)!r}.", key=key_id)
            if entry.revoked_at is not None:
                raise ConflictError(f"key {key_id} was revoked already.", key=key_id)
            keys[key_id] = revoked = entry.model_copy(update={"revoked_at": self.now()})
        return revoked

    def now(self) -> datetime:
        """Now, to the second."""
        return datetime.fromtimestamp(self._clock.now_us() // 1_000_000, UTC)

    def _current(self) -> dict[str, ApiKey]:
        try:
            status = self.path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._keys = self._read()
                self._seen = seen
        except FileNotFoundError:
            self._keys, self._seen = {}, ()
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from error
        return self._keys

    def _read(self) -> dict[str, ApiKey]:
        try:
            found = _Keys.model_validate_json(self.path.read_bytes())
        except ValidationError as error:
            raise self._unreadable(describe(error)) from None
        return {key.id: key for key in found.keys}

    def _unreadable(self, why: str) -> InvalidInputError:
        return InvalidInputError(
            f"the file of keys {str(self.path)!r} cannot be used: {why}. Give one that "
            "`interlock key new` has made.",
            file=str(self.path),
        )

    @contextmanager
    def _writing(self) -> Generator[dict[str, ApiKey]]:
        with self._locked():
            keys = dict(self._current())
            yield keys
            self._write(keys)

    @contextmanager
    def _locked(self) -> Generator[None]:
        try:
            descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, keys: dict[str, ApiKey]) -> None:
        text = json.dumps(_Keys(keys=tuple(keys.values())).model_dump(mode="json"), indent=2)
        beside = self.path.with_name(f"{self.path.name}.new")
        with suppress(FileNotFoundError):
            beside.unlink()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
