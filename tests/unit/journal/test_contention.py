"""Several processes write to one file at once: none of them starves."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from interlock.journal import open_store
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
