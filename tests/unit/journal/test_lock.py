"""The executor's lock: one at a time, whoever it is, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.errors import StorageLockedError
from interlock.journal.lock import ExecutorLock, lock_holder
from tests.conformance.backend import OwnClock

HOLDING = """
import sys
from interlock.journal.lock import ExecutorLock
lock = ExecutorLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Where a database would be."""
    return str(tmp_path / "journal.db")


def holder(database: str) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, database],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_second_executor_is_told_who_the_first_is_and_since_when(database: str) -> None:
    process = holder(database)
    with pytest.raises(StorageLockedError) as found:
        ExecutorLock(database).acquire()
    described = lock_holder(database)
    assert described["pid"] == process.pid
    for part in ("pid", "host", "program", "since"):
        assert str(described[part]) in found.value.message
    assert "stop that one" in found.value.message
    assert found.value.fields["pid"] == process.pid
    end(process)


def test_the_lock_ends_with_its_process_however_it_ends(database: str) -> None:
    end(holder(database))
    with ExecutorLock(database) as lock:
        assert lock.held()


def test_two_locks_of_one_process_exclude_each_other(database: str) -> None:
    first, second = ExecutorLock(database, OwnClock()), ExecutorLock(database)
    first.acquire()
    first.acquire()
    with pytest.raises(StorageLockedError, match="since 2023-11-14T22:13:20"):
        second.acquire()
    assert not second.held()
    first.release()
    first.release()
    second.acquire()
    assert second.held()
    assert not first.held()
    second.release()


def test_a_lock_file_that_was_replaced_is_not_held(database: str) -> None:
    with ExecutorLock(database) as lock:
        assert lock.held()
        Path(f"{database}.executor").unlink()
        assert not lock.held()
        with ExecutorLock(database) as other:
            assert other.held()
            assert not lock.held()


def test_a_started_program_does_not_inherit_the_lock(database: str) -> None:
    lock = ExecutorLock(database)
    lock.acquire()
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE, close_fds=False,
    )  # fmt: skip
    lock.release()
    with ExecutorLock(database) as again:
        assert again.held()
    child.communicate(b"")


FORKING = """
import os, sys, time
from interlock.journal.lock import ExecutorLock
lock = ExecutorLock(sys.argv[1])
lock.acquire()
if os.fork() == 0:
    print("held", os.getpid(), lock.held(), flush=True)
    sys.stdin.read()
else:
    time.sleep(600)
"""


def test_a_forked_child_that_outlives_the_executor_does_not_keep_the_lock(database: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKING, database],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    said, child, held = process.stdout.readline().split()
    assert (said, held) == ("held", "False")
    process.kill()
    process.wait()
    os.kill(int(child), 0)
    with ExecutorLock(database) as again:
        assert again.held()
    process.communicate("")


@pytest.mark.parametrize("content", ["", "not json", "[1]", '{"pid": 1}'])
def test_a_holder_that_does_not_say_who_it_is_is_another_process(
    database: str, content: str
) -> None:
    process = holder(database)
    Path(f"{database}.executor").write_text(content)
    assert lock_holder(database) == {}
    with pytest.raises(StorageLockedError, match="executed by another process"):
        ExecutorLock(database).acquire()
    end(process)


def test_nobody_holds_a_lock_that_was_never_taken(database: str) -> None:
    assert lock_holder(database) == {}
    assert not ExecutorLock(database).held()
