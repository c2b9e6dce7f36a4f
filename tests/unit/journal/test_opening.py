"""Opening: the right file, the right format, or a clear refusal that changes nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.errors import (
    InterlockError,
    InvalidInputError,
    NotFoundError,
    StorageCorruptError,
    StorageFailedError,
    StorageVersionError,
)
from interlock.journal import open_store
from interlock.journal.sqlite.connection import Synchronous, open_writer
from tests.conformance.backend import OwnClock
from tests.conformance.commits import assert_sound, commit, event, write

DUMP = Path(__file__).with_name("format_1.sql")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal may be."""
    return tmp_path / "journal.db"


def execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_new_file_becomes_a_journal_that_opens_again(path: Path) -> None:
    store = open_store(str(path))
    write(store, commit("a", event()))
    store.close()
    store.close()
    again = open_store(f"sqlite:///{path}", create=False)
    assert len(again.read("a")) == 1
    again.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA application_id").fetchone() == (1229734731,)
    assert dict(connection.execute("SELECT name, value FROM meta"))["format"] == "1"
    connection.close()


@pytest.mark.parametrize(("level", "number"), [("FULL", 2), ("OFF", 0)])
def test_durability_is_full_unless_a_simulation_says_otherwise(
    path: Path, level: Synchronous, number: int
) -> None:
    connection = open_writer(
        str(path), clock=OwnClock(), synchronous=level, create=True, wait=timedelta(0)
    )
    assert connection.execute("PRAGMA synchronous").fetchone() == (number,)
    assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
    connection.close()


def test_an_absent_file_is_not_made_unasked(path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no journal at '.*journal\.db'"):
        open_store(str(path), create=False)
    assert not path.exists()


def newer(path: Path) -> None:
    open_store(str(path)).close()
    execute(path, "UPDATE meta SET value = '99' WHERE name = 'format'")


def other_program(path: Path) -> None:
    execute(path, "CREATE TABLE customers (id)", "INSERT INTO customers VALUES (1)")


def text_file(path: Path) -> None:
    path.write_text("Dear diary, this is no database. " * 50)


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (newer, StorageVersionError, "has format 99, but this version of Interlock knows"),
        (other_program, InvalidInputError, "database of another program (tables: customers)"),
        (text_file, StorageCorruptError, "the file is not a database"),
        (folder, StorageFailedError, "cannot be opened"),
    ],
)
def test_what_is_no_journal_of_ours_is_left_as_it_is(
    path: Path, make: Callable[[Path], None], error: type[InterlockError], message: str
) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(error) as found:
        open_store(str(path))
    assert message in found.value.message
    assert repr(str(path)) in found.value.message
    assert path.is_dir() or path.read_bytes() == before


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageFailedError, match="check the path, the owner and the permissions"):
        open_store(str(tmp_path / "nowhere" / "journal.db"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_named(path: Path) -> None:
    open_store(str(path)).close()
    path.chmod(0o400)
    with pytest.raises(StorageFailedError, match="permissions"):
        open_store(str(path))


def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch()
    store = open_store(str(path))
    write(store, commit("a", event()))
    store.close()


def test_a_journal_of_format_1_opens_reads_and_goes_on(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(DUMP.read_text())
    connection.close()
    store = open_store(str(path))
    assert_sound(store)
    assert [e.kind for e in store.scan()] == [
        "run_queued",
        "run_claimed",
        "mail_sent",
        "effect_intended",
        "effect_completed",
        "step_completed",
        "run_completed",
        "bodies_erased",
    ]
    row = store.run("r1")
    assert row is not None
    assert (row.state, row.outcome, row.tenant) == ("completed", "resolved", "acme")
    first, *_, last = store.read("r1")
    assert (first.body, first.erased) == (None, True)
    assert last.body == b'{"answer": 42}'
    write(store, commit("r2", event("run_queued", agent="triage"), epoch=0, after_seq=0))
    assert_sound(store)
    store.close()
