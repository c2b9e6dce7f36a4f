"""Reading back whether a commit took place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.errors import StorageFailedError
from interlock.journal.judge import Batch
from interlock.journal.sqlite.connection import open_writer
from interlock.journal.sqlite.outcome import was_written
from interlock.journal.sqlite.writing import Writing
from tests.conformance.backend import OwnClock
from tests.conformance.commits import commit, event

WAIT = timedelta(seconds=1)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the journal is."""
    return str(tmp_path / "journal.db")


@pytest.fixture
def writer(path: str) -> Iterator[sqlite3.Connection]:
    """A writing connection with one event."""
    opened = open_writer(path, clock=OwnClock(), synchronous="OFF", create=True, wait=WAIT)
    staged(opened, "kept")
    opened.execute("COMMIT")
    yield opened
    opened.close()


def staged(connection: sqlite3.Connection, body: str) -> Batch:
    """A group of two events that is written but not committed."""
    connection.execute("BEGIN IMMEDIATE")
    group = [commit("a", event()), commit("b", event(body=body.encode()))]
    _, batch = Writing(connection, OwnClock()).stage(group)
    return batch


def test_a_group_is_found_only_when_it_was_committed(path: str, writer: sqlite3.Connection) -> None:
    batch = staged(writer, "new")
    assert not was_written(path, batch, WAIT)
    writer.execute("COMMIT")
    assert was_written(path, batch, WAIT)


def test_another_group_in_its_place_is_not_taken_for_it(
    path: str, writer: sqlite3.Connection
) -> None:
    batch = staged(writer, "lost")
    writer.execute("ROLLBACK")
    other = staged(writer, "other")
    writer.execute("COMMIT")
    assert [row[0] for row in other.events] == [row[0] for row in batch.events]
    assert was_written(path, other, WAIT)
    assert not was_written(path, batch, WAIT)


def test_a_group_that_wrote_nothing_is_as_good_as_written(path: str) -> None:
    assert was_written(path, Batch(), WAIT)


def test_a_file_that_cannot_be_read_leaves_the_outcome_unknown(
    path: str, writer: sqlite3.Connection
) -> None:
    batch = staged(writer, "new")
    writer.execute("COMMIT")
    writer.close()
    Path(path).write_bytes(b"no database" * 1000)
    with pytest.raises(StorageFailedError, match="whether it was written is not known"):
        was_written(path, batch, WAIT)
