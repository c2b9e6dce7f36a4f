"""Several processes on one journal, and processes that die."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from interlock.journal import Journal
from interlock.journal.guard import Committed, Result
from interlock.journal.journal import Mode
from tests.conformance.backend import Backend
from tests.conformance.commits import assert_sound, commit, event

WRITER = Path(__file__).with_name("writer_process.py")
MODES: Sequence[Mode] = get_args(Mode)


def writer(*words: str) -> subprocess.Popen[str]:
    """A writing process that says what was acknowledged."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(WRITER), *words], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("mode", MODES)
def test_others_send_mail_while_an_executor_commits(backend: Backend, mode: Mode) -> None:
    store = backend.open()
    senders = [writer("mail", backend.location, f"p{n}", "20") for n in range(3)]

    async def execute() -> int:
        journal, count = Journal(store, mode=mode), 0
        while any(sender.poll() is None for sender in senders):
            results: list[Result] = await asyncio.gather(
                *(
                    journal.commit(commit(f"s{n}", event(body=b"x"), after_seq=count))
                    for n in range(9)
                )
            )
            assert all(isinstance(result, Committed) for result in results)
            count += 1
        await journal.close()
        return count

    count = asyncio.run(execute())
    for sender in senders:
        said, _ = sender.communicate()
        assert (sender.returncode, said) == (0, "sent 60\n")
    assert [head.seq for n in range(9) if (head := store.head(f"s{n}"))] == [count] * 9
    mail = store.mail_since(0)
    assert sorted(m.message_id for m in mail) == sorted(
        f"p{p}-{run}-{n}" for p in range(3) for run in ("r0", "r1", "r2") for n in range(20)
    )
    assert all(m.body == m.message_id.encode() for m in mail)
    assert_sound(store)


def test_processes_that_open_a_new_journal_at_once_all_succeed(backend: Backend) -> None:
    senders = [writer("mail", backend.location, f"p{n}", "1") for n in range(6)]
    said = [sender.communicate()[0] for sender in senders]
    assert said == ["sent 3\n"] * 6
    store = backend.open()
    assert len(store.mail_since(0)) == 18
    assert_sound(store)


@pytest.mark.parametrize("mode", MODES)
def test_what_was_acknowledged_survives_the_death_of_the_process(
    backend: Backend, mode: Mode
) -> None:
    acknowledged: dict[str, int] = {}
    for lines in (1, 40, 400, 7):
        process = writer("append", backend.location, mode)
        assert process.stdout is not None
        for _ in range(lines):
            stream, number = process.stdout.readline().split()
            acknowledged[stream] = int(number)
        process.kill()
        rest, _ = process.communicate()
        complete, _, _ = rest.rpartition("\n")
        for line in complete.splitlines():
            stream, number = line.split()
            acknowledged[stream] = int(number)
        store = backend.open()
        for stream, number in acknowledged.items():
            entries = store.read(stream)
            assert len(entries) >= number
            assert [entry.event.key for entry in entries] == [f"k{n}" for n in range(len(entries))]
            assert all(entry.body == b"x" * 500 for entry in entries)
        assert_sound(store)
