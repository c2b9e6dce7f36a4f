"""Disks that fail: a full one, one that takes no more of a file, and a held lock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.errors import StorageFullError, StorageLockedError
from interlock.journal import open_store
from interlock.journal.guard import Committed
from interlock.journal.store import Store
from tests.conformance.commits import assert_sound, commit, event, write

FILLING = Path(__file__).with_name("filling_process.py")
BODY = b"x" * 20_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True)
    if not mounted or mounted.returncode:
        pytest.skip("a small file system can be mounted only with the rights of root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def write_for_ever(store: Store) -> None:
    """Write until it fails; the error says how much was acknowledged."""
    acknowledged = 0
    try:
        while True:
            write(store, commit("a", event(body=BODY), after_seq=acknowledged))
            acknowledged += 1
    except StorageFullError as error:
        error.add_note(f"{acknowledged} acknowledged")
        raise


def test_a_full_disk_stops_clearly_and_loses_nothing_acknowledged(small_disk: Path) -> None:
    path = small_disk / "journal.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    store = open_store(str(path))
    with pytest.raises(StorageFullError) as found:
        write_for_ever(store)
    acknowledged = len(store.read("a"))
    assert acknowledged > 10
    assert repr(str(path)) in found.value.message
    assert "no space is left" in found.value.message
    assert "free space" in found.value.message
    assert found.value.__notes__ == [f"{acknowledged} acknowledged"]
    ballast.unlink()
    write(store, commit("a", event(body=BODY), after_seq=acknowledged))
    store.close()
    again = open_store(str(path))
    assert len(again.read("a")) == acknowledged + 1
    assert_sound(again)
    again.close()


def test_a_file_that_takes_no_more_ends_the_process_and_the_next_start_recovers(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(FILLING), str(path)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert said["error"] == "StorageFailedError"
    assert "the disk reported an error" in said["message"]
    assert repr(str(path)) in said["message"]
    assert said["later"] == ["StorageFailedError"] * 2
    store = open_store(str(path))
    assert len(store.read("a")) >= said["acknowledged"] > 10
    assert_sound(store)
    write(store, commit("a", event(), after_seq=len(store.read("a"))))
    store.close()


def test_a_lock_that_is_not_given_back_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.db")
    holder = open_store(path)
    write(holder, commit("a", event()))
    store = open_store(path, lock_wait=timedelta(milliseconds=30))
    holder.stage([commit("a", event())])
    for _ in range(2):
        with pytest.raises(StorageLockedError) as found:
            store.commit([commit("b", event())])
        assert "another process holds its lock" in found.value.message
        assert "end its transaction" in found.value.message
    with pytest.raises(StorageLockedError):
        store.stage([commit("b", event())], patient=False)
    with pytest.raises(StorageLockedError):
        store.erase([1], by="ada", reason="r")
    assert len(store.read("a")) == 1
    holder.sync()
    (result,) = store.commit([commit("b", event())])
    assert isinstance(result, Committed)
    assert_sound(store)
    holder.close()
    store.close()
