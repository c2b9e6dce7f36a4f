"""The books of the refund service: every refund that it paid, on disk before it is answered."""

import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

__all__ = ["Ledger", "Refund"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS refund (
    id INTEGER PRIMARY KEY, reference TEXT NOT NULL, ticket TEXT NOT NULL,
    account TEXT NOT NULL, cents INTEGER NOT NULL CHECK (cents > 0)
);
CREATE INDEX IF NOT EXISTS refund_of_reference ON refund (reference);
"""
_ROWS = "SELECT id, reference, ticket, account, cents FROM refund WHERE {} ORDER BY id"


@dataclass(frozen=True, kw_only=True)
class Refund:
    """Money that was paid back, in integer cents.

    `reference` is what the payer calls it: nothing keeps them from paying twice under the same one.
    """

    id: str
    reference: str
    ticket: str
    account: str
    cents: int

    def as_json(self) -> dict[str, object]:
        """The refund as the service answers it."""
        return asdict(self)


class Ledger:
    """Refunds in one SQLite file. It belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def pay(self, *, reference: str, ticket: str, account: str, cents: int) -> str:
        """Pay, and answer the refund's id. Each call pays again."""
        made = self._database.execute(
            "INSERT INTO refund (reference, ticket, account, cents) VALUES (?, ?, ?, ?)",
            (reference, ticket, account, cents),
        )
        return str(made.lastrowid)

    def find(self, *, reference: str = "", ticket: str = "") -> list[Refund]:
        """Refunds with a reference or for a ticket, in order; all without either."""
        where = "(? = '' OR reference = ?) AND (? = '' OR ticket = ?)"
        rows = self._database.execute(_ROWS.format(where), (reference, reference, ticket, ticket))
        return [
            Refund(id=str(id), reference=named, ticket=about, account=account, cents=cents)
            for id, named, about, account, cents in rows
        ]
