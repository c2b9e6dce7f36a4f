"""The databases that the suite runs over, and a clock that a test owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Literal

from interlock.journal import open_store
from interlock.journal.store import Store

START_US = 1_700_000_000_000_000


@dataclass
class OwnClock:
    """Time that stands still until the test moves it, and repeatable randomness."""

    at_us: int = START_US
    dice: Random = field(default_factory=lambda: Random(7))

    def now_us(self) -> int:
        return self.at_us

    def boot_seconds(self) -> float:
        return self.at_us / 1e6

    def random_bytes(self, size: int) -> bytes:
        return self.dice.randbytes(size)

    def pass_seconds(self, seconds: float) -> None:
        self.at_us += int(seconds * 1_000_000)


@dataclass
class Backend:
    """One database of a test. `location` opens the same one from another process."""

    location: str
    clock: OwnClock = field(default_factory=OwnClock)
    opened: list[Store] = field(default_factory=list)

    def open(
        self,
        *,
        synchronous: Literal["FULL", "OFF"] = "OFF",
        create: bool = True,
        lock_wait: timedelta = timedelta(seconds=10),
    ) -> Store:
        """Another handle on the database; closed with the test."""
        store = open_store(
            self.location, self.clock, synchronous=synchronous, create=create, lock_wait=lock_wait
        )
        self.opened.append(store)
        return store

    def close(self) -> None:
        for store in self.opened:
            store.close()


BACKENDS = ("sqlite",)


def make_backend(name: str, folder: Path) -> Backend:
    """An empty database of one kind."""
    assert name == "sqlite"
    return Backend(location=f"sqlite:///{folder / 'journal.db'}")
