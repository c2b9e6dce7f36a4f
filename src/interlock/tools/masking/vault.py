"""The vault: personal values under typed handles: a model sees `iban#1`, and a tool the IBAN.

Each value is encrypted with the data key of the person it is kept for, and each data key is wrapped
by a key that only the environment has (AES-256-GCM, NIST SP 800-38D, with fresh 96-bit nonces; run
and handle are bound to it as associated data). Erasing a person destroys the data key: what the
journal says of the handles stays and verifies, and no backup of the vault opens any more with it.

A handle is stable: the same value has the same one in the whole run, whenever it is asked for. It
is on disk before it is answered, so that a replay finds the handles that the journal has.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock.clock import Clock, Mutex
from interlock.errors import BodyErasedError, VaultError
from interlock.journal.sqlite.vault import SqliteVault, StoredValue
from interlock.tools.masking.found import KINDS, Kind
from interlock.tools.masking.recognise import normal, recognise
from interlock.tools.masking.vault_keys import VaultKeys

__all__ = ["HANDLE", "RunVault", "Vault", "open_vault", "vault_path"]

HANDLE: Final = re.compile(rf"(?<![A-Za-z0-9_])({'|'.join(KINDS)})#(\d{{1,9}})(?![A-Za-z0-9])")
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
# The owner of the key under which digests are made: it is nobody's, and never erased.
_INDEX: Final = b"index"


class Vault:
    """All runs' values of one store."""

    def __init__(self, table: SqliteVault, keys: VaultKeys, clock: Clock) -> None:
        self._table = table
        self._keys = keys
        self._clock = clock
        # Tools that are no coroutines seal and reveal in threads of their own.
        self._free = Mutex()
        self._index = table.change(lambda: self._data_key(_INDEX))

    def for_run(self, run: str, person: str, kinds: Collection[Kind] = KINDS) -> RunVault:
        """The values of one run, kept for a person (by the name that erases them)."""
        return RunVault(self, run, self._owner(person), kinds)

    def shown(self, run: str, value: Any) -> Any:
        """A run's recorded JSON value as its tools are given it, for a person with the right.

        What was erased, and what only looks like a handle, stays as it is. Repeatable.
        """
        return self.for_run(run, "").show_value(value)

    def erase(self, person: str) -> int:
        """Erase what is kept for a person, and the value itself if `person` is one (an address).

        Answers how many values are gone for good. Repeatable.
        """
        digests = {self.digest(kind, normal(kind, person)) for kind in KINDS}

        def erase() -> int:
            found = self._table.erase_owner(self._owner(person), self._clock.now_us())
            return found + sum(self._table.erase_values(digest) for digest in digests)

        return self._table.change(erase)

    def rotate(self) -> int:
        """Wrap every data key with the current key; answers how many were under another."""

        def rotate() -> int:
            old = [one for one in self._table.all_keys() if one[1] != self._keys.current]
            for owner, key_id, wrapped in old:
                key = self._unwrap(owner, key_id, wrapped)
                self._table.change_key(owner, self._keys.current, self._wrap(owner, key))
            return len(old)

        return self._table.change(rotate)

    def reference(self, person: str) -> str:
        """A person in the journal: a keyed digest, which tells nothing without the vault."""
        return self._owner(person).hex()[:32]

    def digest(self, kind: Kind, value: str) -> bytes:
        """What a value is found by: HMAC-SHA-256, keyed."""
        return hmac.digest(self._index, f"{kind}:{value}".encode(), hashlib.sha256)

    def close(self) -> None:
        """Release the file. Repeatable."""
        self._table.close()

    def _owner(self, person: str) -> bytes:
        return hmac.digest(self._index, f"person:{person}".encode(), hashlib.sha256)

    @contextmanager
    def alone(self) -> Generator[None]:
        """No other thread uses the vault during the block."""
        self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    # What `RunVault` asks, within or outside of a transaction.

    def stored(self, run: str) -> Sequence[StoredValue]:
        """A run's values as they are stored."""
        return self._table.values(run)

    def keep(self, run: str, owner: bytes, found: Mapping[tuple[Kind, bytes], str]) -> None:
        """Give each new value its handle, and have all of them on disk.

        Another process, or an earlier claim of the run, may have done so before.
        """

        def keep() -> None:
            there = self._table.values(run)
            known = {one.digest for one in there}
            last = dict.fromkeys(KINDS, 0)
            for one in there:
                kind, _, number = one.handle.partition("#")
                last[cast("Kind", kind)] = max(last[cast("Kind", kind)], int(number))
            key = AESGCM(self._data_key(owner))
            for (kind, digest), value in found.items():
                if digest not in known:
                    last[kind] += 1
                    handle = f"{kind}#{last[kind]}"
                    sealed = self._encrypt(key, value.encode(), _bound(run, handle))
                    self._table.add_value(run, StoredValue(handle, owner, digest, sealed))

        self._table.change(keep)

    def open(self, run: str, stored: StoredValue) -> str:
        """A value. Raises `BodyErasedError` when it was erased."""
        key = None if stored.sealed is None else self._table.key(stored.owner)
        if stored.sealed is None or key is None or key.wrapped is None:
            raise BodyErasedError(
                f"run {run}: the value of {stored.handle!r} was erased from the vault, and the run "
                "needs it to continue. Cancel the run, or start a new one.",
                run=run,
                handle=stored.handle,
            )
        data_key = AESGCM(self._unwrap(stored.owner, key.key_id, key.wrapped))
        return self._decrypt(data_key, stored.sealed, _bound(run, stored.handle)).decode()

    # Keys.

    def _data_key(self, owner: bytes) -> bytes:
        found = self._table.key(owner)
        if found is None:
            key = self._clock.random_bytes(_KEY_BYTES)
            wrapped = self._wrap(owner, key)
            self._table.add_key(owner, self._keys.current, wrapped, self._clock.now_us())
            return key
        if found.wrapped is None:
            raise BodyErasedError(
                "what the vault kept for this person was erased, and nothing more is kept under "
                "the same name. Start the run for a person under another name."
            )
        return self._unwrap(owner, found.key_id, found.wrapped)

    def _wrap(self, owner: bytes, key: bytes) -> bytes:
        current = AESGCM(self._keys.named(self._keys.current))
        return self._encrypt(current, key, owner)

    def _unwrap(self, owner: bytes, key_id: str, wrapped: bytes) -> bytes:
        return self._decrypt(AESGCM(self._keys.named(key_id)), wrapped, owner, key_id)

    def _encrypt(self, key: AESGCM, value: bytes, bound_to: bytes) -> bytes:
        nonce = self._clock.random_bytes(_NONCE_BYTES)
        return nonce + key.encrypt(nonce, value, bound_to)

    def _decrypt(self, key: AESGCM, sealed: bytes, bound_to: bytes, key_id: str = "") -> bytes:
        try:
            return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
        except InvalidTag:
            why = f"key {key_id!r} is another one than it was" if key_id else "its file is damaged"
            raise VaultError(
                f"the vault cannot be opened: {why}. Give the key that sealed it, or restore the "
                "vault's file.",
                key_id=key_id,
            ) from None


def _bound(run: str, handle: str) -> bytes:
    return f"{run}/{handle}".encode()


def vault_path(journal_path: str) -> str:
    """The file of the vault beside a journal."""
    return f"{journal_path}-vault"


def open_vault(journal_path: str, environment: Mapping[str, str], clock: Clock) -> Vault:
    """The vault beside a journal. Raises `VaultError` without a key, or with a wrong one."""
    keys = VaultKeys.from_environment(environment)
    return Vault(SqliteVault(vault_path(journal_path)), keys, clock)


class RunVault:
    """One run's handles and values."""

    def __init__(self, vault: Vault, run: str, owner: bytes, kinds: Collection[Kind]) -> None:
        self.run = run
        self._vault = vault
        self._owner = owner
        self._kinds = kinds
        self._by_handle: dict[str, StoredValue] = {}
        self._by_digest: dict[bytes, str] = {}
        self._opened: dict[str, str] = {}
        self._read()

    def _read(self) -> None:
        self._by_handle = {one.handle: one for one in self._vault.stored(self.run)}
        self._by_digest = {
            one.digest: one.handle for one in self._by_handle.values() if one.digest is not None
        }

    def erased(self) -> bool:
        """Whether a value of the run is gone."""
        return any(one.sealed is None for one in self._by_handle.values())

    def seal(self, text: str) -> str:
        """The text with handles for its values. What only looks like a handle is none any more.

        Raises `BodyErasedError` for a new value where others of the run were erased: what they
        were cannot be told any more, so a replay would give them other handles.
        """
        with self._vault.alone():
            return self._sealed(text)

    def _sealed(self, text: str) -> str:
        text = HANDLE.sub(r"\1 #\2", text)
        found = recognise(text, self._kinds)
        if not found:
            return text
        keys: list[tuple[Kind, bytes]] = []
        new: dict[tuple[Kind, bytes], str] = {}
        for one in found:
            value = text[one.start : one.end]
            key = (one.kind, self._vault.digest(one.kind, normal(one.kind, value)))
            keys.append(key)
            if key[1] not in self._by_digest:
                new.setdefault(key, value)
        if new:
            self._refuse_erased()
            self._vault.keep(self.run, self._owner, new)
            self._read()
        parts: list[str] = []
        end = 0
        for one, (_, digest) in zip(found, keys, strict=True):
            parts += (text[end : one.start], self._by_digest[digest])
            end = one.end
        return "".join((*parts, text[end:]))

    def reveal(self, text: str) -> str:
        """The text with the values of its handles; one that the run does not have stays as it is.

        Raises `BodyErasedError` for a value that was erased.
        """
        if "#" not in text:
            return text
        with self._vault.alone():
            return HANDLE.sub(lambda match: self._value(match[0]), text)

    def _refuse_erased(self) -> None:
        if self.erased():
            raise BodyErasedError(
                f"run {self.run}: values of it were erased from the vault, and it needs them to "
                "continue. Cancel the run, or start a new one.",
                run=self.run,
            )

    def _value(self, handle: str) -> str:
        stored = self._by_handle.get(handle)
        if stored is None:
            return handle
        if handle not in self._opened:
            self._opened[handle] = self._vault.open(self.run, stored)
        return self._opened[handle]

    def show_value(self, value: Any) -> Any:
        """A JSON value with each of its texts revealed, but for what was erased."""

        def shown(match: re.Match[str]) -> str:
            try:
                return self._value(match[0])
            except BodyErasedError:
                return match[0]

        with self._vault.alone():
            return _mapped(value, functools.partial(HANDLE.sub, shown))

    def seal_value(self, value: Any) -> Any:
        """A JSON value with each of its texts sealed; names of fields stay."""
        return _mapped(value, self.seal)

    def reveal_value(self, value: Any) -> Any:
        """A JSON value with each of its texts revealed."""
        return _mapped(value, self.reveal)


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {name: _mapped(item, change) for name, item in items}
    if isinstance(value, (list, tuple)):
        return [_mapped(item, change) for item in cast("Sequence[Any]", value)]
    return value
