"""The file of the vault beside a SQLite journal: wrapped keys and sealed values, nothing in clear.

A file of its own, so that a copy of the journal is no copy of the values, and an erased value is in
no old page of the journal. Each change is on disk when its call returns.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from interlock.journal.sqlite.failure import translated
from interlock.journal.statements import statements

__all__ = ["SqliteVault", "StoredKey", "StoredValue"]

T = TypeVar("T")
_WAIT_SECONDS = 10.0


class StoredKey(NamedTuple):
    """A wrapped data key; `wrapped` is None once it is erased."""

    key_id: str
    wrapped: bytes | None
    erased_at_us: int | None


class StoredValue(NamedTuple):
    """A sealed value; digest and value are None once it is erased."""

    handle: str
    owner: bytes
    digest: bytes | None
    sealed: bytes | None


class SqliteVault:
    """The tables of one vault. Used from one thread at a time, by any number of processes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._sql = statements("vault")
        existed = Path(path).exists()
        with translated(path):
            self._connection = sqlite3.connect(
                path, isolation_level=None, timeout=_WAIT_SECONDS, check_same_thread=False
            )
            self._pragma("synchronous_full")
            self._pragma("secure_delete")
            if not existed:
                Path(path).chmod(0o600)
            self.change(self._create)

    def _pragma(self, name: str) -> None:
        self._connection.execute(statements("sqlite")[name]).fetchall()

    def _create(self) -> None:
        for name in ("keys", "values", "values_by_digest", "values_by_owner"):
            self._connection.execute(self._sql[f"create_{name}"])

    def change(self, work: Callable[[], T]) -> T:
        """Do the work in one transaction that nobody else writes in."""
        sql = statements("sqlite")
        with translated(self.path):
            self._connection.execute(sql["begin_write"])
            try:
                result = work()
                self._connection.execute(sql["commit"])
            finally:
                if self._connection.in_transaction:
                    self._connection.execute(sql["rollback"])
        return result

    def key(self, owner: bytes) -> StoredKey | None:
        """An owner's data key."""
        row = self._execute("key_of", owner=owner).fetchone()
        return None if row is None else StoredKey(*row)

    def all_keys(self) -> Sequence[tuple[bytes, str, bytes]]:
        """Every data key that is not erased: owner, key id, wrapped key."""
        return self._execute("all_keys").fetchall()

    def add_key(self, owner: bytes, key_id: str, wrapped: bytes, now_us: int) -> None:
        """Keep a new owner's data key, unless there is one."""
        self._execute("add_key", owner=owner, key_id=key_id, wrapped=wrapped, now_us=now_us)

    def change_key(self, owner: bytes, key_id: str, wrapped: bytes) -> None:
        """Keep the same data key wrapped by another key."""
        self._execute("change_key", owner=owner, key_id=key_id, wrapped=wrapped)

    def values(self, run: str) -> Sequence[StoredValue]:
        """A run's values."""
        return [StoredValue(*row) for row in self._execute("values_of", run=run)]

    def add_value(self, run: str, value: StoredValue) -> None:
        """Keep a value under its handle."""
        self._execute("add_value", run=run, **value._asdict())

    def erase_owner(self, owner: bytes, now_us: int) -> int:
        """Erase an owner's data key and values for good; answers how many values."""
        self._execute("erase_key", owner=owner, now_us=now_us)
        return self._execute("erase_values_of_owner", owner=owner).rowcount

    def erase_values(self, digest: bytes) -> int:
        """Erase one value wherever it is kept; answers in how many places."""
        return self._execute("erase_values", digest=digest).rowcount

    def close(self) -> None:
        """Release the file. Repeatable."""
        self._connection.close()

    def _execute(self, name: str, **values: Any) -> sqlite3.Cursor:
        named: Mapping[str, Any] = values
        return self._connection.execute(self._sql[name], named)
