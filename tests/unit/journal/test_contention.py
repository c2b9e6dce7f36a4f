"""Several processes write to one file at once: none of them starves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from interlock.clock import SystemClock
from interlock.journal import Journal, open_store
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit, Committed

GREEDY = """
import sys
from interlock.journal import open_store
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit

store = open_store(sys.argv[1])
print("ready", flush=True)
while True:
    store.commit([Commit((Append(sys.argv[2], (Draft("noise_made"),)),))])
"""


def test_a_writer_is_not_starved_by_processes_that_never_stop(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.db")
    store = open_store(path, lock_wait=timedelta(seconds=5))
    greedy = [
        subprocess.Popen(
            [sys.executable, "-c", GREEDY, path, name], stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    try:
        for process in greedy:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for _ in range(200):
            (result,) = store.commit([Commit((Append("mine", (Draft("word_said"),)),))])
            assert isinstance(result, Committed)
    finally:
        for process in greedy:
            process.kill()
            process.communicate()
        store.close()


def test_looking_for_changes_while_a_thread_waits_for_the_lock_disturbs_nothing(
    tmp_path: Path,
) -> None:
    """A statement beside a BEGIN that fails, on one connection, makes it look as if it began."""
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    stores = [open_store(url, SystemClock()) for _ in range(3)]

    async def main() -> None:
        journals = [Journal(store, mode="split") for store in stores]
        writing = asyncio.gather(
            *(_write_often(journal, f"s{n}") for n, journal in enumerate(journals))
        )
        while not writing.done():
            for store in stores:
                store.changes()
            await asyncio.sleep(0)
        await writing
        for journal in journals:
            await journal.close()

    asyncio.run(main())
    assert [len(stores[0].read(f"s{n}", limit=1000)) for n in range(3)] == [200] * 3
    assert list(stores[0].verify()) == []
    for store in stores:
        store.close()


async def _write_often(journal: Journal, stream: str) -> None:
    for _ in range(200):
        append = Append(stream, (Draft("noted", header={"a": 1}, body=b"y" * 500),))
        await journal.commit(Commit((append,)))
