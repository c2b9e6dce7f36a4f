"""Where a group is synced: on the loop while the disk is quick, in a thread when it is not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.clock import thread_name
from interlock.journal import Journal
from interlock.journal.sqlite.store import SqliteStore
from tests.conformance.backend import OwnClock
from tests.conformance.commits import commit, event

LOOP, THREAD = "MainThread", "interlock-journal"


class WatchedStore(SqliteStore):
    """The real store, which notes the thread of each sync."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            str(path), clock=OwnClock(), synchronous="OFF", create=True, wait=timedelta(seconds=1)
        )
        self.synced_on: list[str] = []

    def sync(self) -> None:
        self.synced_on.append(thread_name())
        super().sync()


@dataclass
class DiskClock(OwnClock):
    """A clock on which each sync takes as long as `takes` says, in turn; then no time at all."""

    takes: tuple[float, ...] = ()
    readings: int = 0
    now: float = 0.0

    def boot_seconds(self) -> float:
        began, ended = divmod(self.readings, 2)
        if ended and began < len(self.takes):
            self.now += self.takes[began]
        self.readings += 1
        return self.now


@pytest.mark.parametrize(
    ("takes", "expected"),
    [
        ((), [THREAD] + [LOOP] * 9),
        ((0.002,) * 10, [THREAD] * 10),
        ((0.0, 0.05, 0.0, 0.05), [THREAD, LOOP, THREAD, LOOP, THREAD] + [LOOP] * 5),
        ((0.002,) * 3, [THREAD] * 7 + [LOOP] * 3),
        ((0.0,) * 3 + (0.05,) + (0.0,) * 6, [THREAD] + [LOOP] * 9),
    ],
    ids=["quick", "slow", "wavering", "slow, then quick", "one that is slow among quick ones"],
)
def test_a_quick_disk_is_synced_on_the_loop(
    tmp_path: Path, takes: tuple[float, ...], expected: list[str]
) -> None:
    store = WatchedStore(tmp_path / "journal.db")

    async def main() -> None:
        journal = Journal(store, clock=DiskClock(takes=takes))
        for number in range(10):
            await journal.commit(commit("a", event(), after_seq=number))
        await journal.close()

    asyncio.run(main())
    assert store.synced_on == expected
    assert len(store.read("a")) == 10
    store.close()


@pytest.mark.parametrize(("mode", "name"), [("thread", THREAD), ("inline", LOOP)])
def test_the_other_modes_keep_to_their_place(tmp_path: Path, mode: str, name: str) -> None:
    store = WatchedStore(tmp_path / "journal.db")

    async def main() -> None:
        journal = Journal(store, mode=mode, clock=OwnClock())  # pyright: ignore[reportArgumentType]
        for _ in range(6):
            await journal.commit(commit("a", event()))
        await journal.close()

    asyncio.run(main())
    assert store.synced_on == [name] * 6
    store.close()
