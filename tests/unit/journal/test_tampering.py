"""Damage and forgery: whatever is done to the file is found, and said in a sentence."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import StorageCorruptError
from interlock.journal import open_store
from interlock.journal.checkpoint import CheckpointLog
from interlock.journal.store import Store
from interlock.journal.verify import verify_all
from tests.conformance.commits import claimed, commit, event, queued, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of two runs with a checkpoint in the middle and one at the end."""
    place = tmp_path / "journal.db"
    store, log = open_store(str(place)), CheckpointLog(str(place), SystemClock())
    write(store, queued("r1"), queued("r2"))
    write(store, claimed("r1"), claimed("r2"))
    for number in range(5):
        body = b'"answer %d"' % number
        write(store, commit("r1", event("step_completed", f"s#{number}", body=body), epoch=1))
    assert log.write(store) is not None
    write(store, commit("r2", event("step_completed", "s#0", body=b"2"), epoch=1))
    write(store, commit("r1", event("run_completed", outcome="resolved"), epoch=1))
    assert log.write(store) is not None
    assert log.write(store) is None
    store.close()
    return place


def problems(path: Path) -> list[str]:
    """What verification says, without and with checkpoints."""
    store = open_store(str(path))
    found = list(verify_all(store, CheckpointLog(str(path), SystemClock())))
    store.close()
    return found


def test_an_honest_journal_has_no_problems(path: Path) -> None:
    assert problems(path) == []
    store = open_store(str(path))
    positions: list[int] = []
    assert list(verify_all(store, progress=positions.append)) == []
    assert positions == [11]
    store.close()


FORGERIES: dict[str, tuple[str, str]] = {
    "an event is rewritten": (
        "UPDATE events SET kind = 'step_failed' WHERE position = 7",
        "position 8, event 6 of stream 'r1': its previous hash is not that of event 5",
    ),
    "the last event is rewritten": (
        "UPDATE events SET header = '{}' WHERE position = 11",
        "the signed checkpoint at position 11 names other ends",
    ),
    "a body is replaced": (
        "UPDATE bodies SET body = '\"yes\"' WHERE position = 6",
        "position 6: the body is not the one that the event was written with",
    ),
    "a body is removed": (
        "DELETE FROM bodies WHERE position = 8",
        "position 8: the body is gone, and no event records its erasure",
    ),
    "a body is added": (
        "INSERT INTO bodies VALUES (3, x'00', x'00')",
        "position 3: there is a body, but the event has none",
    ),
    "a body without an event": ("INSERT INTO bodies VALUES (99, x'00', x'00')", "position 99"),
    "an event is removed from the middle": (
        "DELETE FROM events WHERE position = 7",
        "positions 7 to 7: the events are missing",
    ),
    "the tail is cut": (
        "DELETE FROM events WHERE position > 9",
        "the checkpoint at position 11 is beyond the last event, 9: the journal's tail was cut",
    ),
    "all is cut": ("DELETE FROM events", "the journal's tail was cut"),
    "an epoch falls": (
        "UPDATE events SET epoch = 0 WHERE position = 8",
        "its epoch 0 is below 1",
    ),
    "a time goes back": (
        "UPDATE events SET at_us = 5 WHERE position = 8",
        "position 8: its time is before that of the event before it",
    ),
    "a stream loses its name": (
        "DELETE FROM streams WHERE name = 'r2'",
        "a text of the event, or its stream, is missing",
    ),
    "a header is no JSON": (
        "UPDATE events SET header = 'oops' WHERE position = 8",
        "position 8: its header is not a JSON object",
    ),
    "a number is a text": (
        "UPDATE events SET version = 'one' WHERE position = 8",
        "position 8: a number of the event is not a number",
    ),
    "a hash is short": (
        "UPDATE events SET prev_hash = x'00' WHERE position = 8",
        "position 8: a hash of the event is not a hash",
    ),
}


@pytest.mark.parametrize(("forgery", "sentence"), FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forgery_is_found(path: Path, forgery: str, sentence: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(forgery)
    connection.commit()
    connection.close()
    found = problems(path)
    assert any(sentence in problem for problem in found), found


def test_two_swapped_bodies_are_found(path: Path) -> None:
    connection = sqlite3.connect(path)
    for moved, to in ((6, -1), (7, 6), (-1, 7)):
        connection.execute("UPDATE bodies SET position = ? WHERE position = ?", (to, moved))
    connection.commit()
    connection.close()
    found = problems(path)
    for position in (6, 7):
        assert (
            f"position {position}: the body is not the one that the event was written with" in found
        )


PROJECTIONS = {
    "a run": ("UPDATE runs SET state = 'running' WHERE id = 'r1'", "runs: stored (1, 'r1'"),
    "a run that is gone": ("DELETE FROM runs WHERE id = 'r2'", "runs: stored nothing"),
    "mail out of nothing": (
        "INSERT INTO mail VALUES (1, 'm', 'r1', 'signal', 'go', NULL)",
        "but its events say nothing",
    ),
    "a key": ("INSERT INTO unique_keys VALUES ('s', 'k', 'r1', 1)", "unique_keys: stored"),
    "a budget": ("INSERT INTO budgets VALUES ('a', 1, 1, 1)", "budgets: stored"),
    "a hold": ("INSERT INTO budget_holds VALUES ('h', 'a', 1, 1)", "budget_holds: stored"),
    "an approval": ("INSERT INTO approvals VALUES ('p', 'h', 1, 1, 1)", "approvals: stored"),
}


@pytest.mark.parametrize(("forgery", "sentence"), PROJECTIONS.values(), ids=PROJECTIONS.keys())
def test_a_projection_that_is_no_reading_of_the_events_is_found(
    path: Path, forgery: str, sentence: str
) -> None:
    connection = sqlite3.connect(path)
    connection.execute(forgery)
    connection.commit()
    connection.close()
    store = open_store(str(path))
    found = list(store.rebuild())
    assert any(sentence in problem for problem in found), found
    store.close()


def test_many_differences_are_summed_up(path: Path) -> None:
    connection = sqlite3.connect(path)
    rows = [(n, f"m{n}", "r1", "signal", "go") for n in range(100, 150)]
    connection.executemany("INSERT INTO mail VALUES (?, ?, ?, ?, ?, NULL)", rows)
    connection.commit()
    connection.close()
    store = open_store(str(path))
    found = list(store.rebuild())
    assert len(found) == 21
    assert found[-1] == "mail: 30 more differences"
    store.close()


def rewrite_everything(path: Path) -> None:
    """The same history with one other answer, with hashes that fit: only checkpoints can tell."""
    forged = path.with_name("forged.db")
    store = open_store(str(forged))
    write(store, queued("r1"), queued("r2"))
    write(store, claimed("r1"), claimed("r2"))
    for number in range(5):
        body = b'"forged %d"' % number
        write(store, commit("r1", event("step_completed", f"s#{number}", body=body), epoch=1))
    write(store, commit("r2", event("step_completed", "s#0", body=b"2"), epoch=1))
    write(store, commit("r1", event("run_completed", outcome="resolved"), epoch=1))
    assert list(store.verify()) == []
    store.close()
    forged.replace(path)


def lines_of(path: Path) -> list[str]:
    return Path(f"{path}.checkpoints.jsonl").read_text().splitlines(keepends=True)


def keep_lines(path: Path, keep: Callable[[list[str]], list[str]]) -> None:
    Path(f"{path}.checkpoints.jsonl").write_text("".join(keep(lines_of(path))))


CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a history that was rewritten as a whole": (
        rewrite_everything,
        "the signed checkpoint at position 9 names other ends of streams",
    ),
    "a checkpoint that was removed": (
        lambda path: keep_lines(path, lambda lines: lines[1:]),
        "checkpoint 1: the checkpoint before it was removed or moved",
    ),
    "checkpoints in another order": (
        lambda path: keep_lines(path, lambda lines: lines[::-1]),
        "checkpoint 1: the checkpoint before it was removed or moved",
    ),
    "a checkpoint that was changed": (
        lambda path: keep_lines(path, lambda lines: [lines[0].replace(":9,", ":8,"), lines[1]]),
        "checkpoint 1: its signature does not hold",
    ),
    "a line that is no checkpoint": (
        lambda path: keep_lines(path, lambda lines: ["{}\n", *lines]),
        "checkpoint 1: its signature does not hold",
    ),
    "checkpoints that are gone": (
        lambda path: Path(f"{path}.checkpoints.jsonl").unlink(),
        "are gone: a key says that there were some",
    ),
    "a public key that is gone": (
        lambda path: Path(f"{path}.pub").unlink(),
        "is gone: no checkpoint is proved",
    ),
    "a public key that is none": (
        lambda path: Path(f"{path}.pub").write_text("hello"),
        "is no Ed25519 key in PEM form",
    ),
}


@pytest.mark.parametrize(("forge", "sentence"), CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_checkpoints_find_what_chains_cannot(
    path: Path, forge: Callable[[Path], object], sentence: str
) -> None:
    forge(path)
    found = problems(path)
    assert any(sentence in problem for problem in found), found


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A journal of some hundred pages, all in the database file itself."""
    place = tmp_path / "large.db"
    store = open_store(str(place))
    for number in range(20):
        items = [commit(f"s{n}", event("e", f"k{number}", body=b"b" * 900)) for n in range(20)]
        write(store, *items)
    store.close()
    assert not Path(f"{place}-wal").exists()
    return place


def damaged_pages(path: Path) -> Iterator[int]:
    """Every page that holds events, bodies or their indexes, one at a time, a few per run."""
    pages = path.stat().st_size // 4096
    yield from random.Random(3).sample(range(1, pages), 12)


def use(store: Store) -> None:
    """Read all there is, and write."""
    for stream in range(20):
        store.read(f"s{stream}")
    store.scan(limit=9999)
    write(store, commit("s1", event()))


def answers_wrongly(path: Path) -> bool:
    """Whether a damaged journal goes unnoticed, by those who use it and by verification."""
    try:
        store = open_store(str(path))
    except StorageCorruptError as error:
        return str(path) not in error.message or "Remedy:" not in error.message
    try:
        use(store)
    except StorageCorruptError as error:
        if str(path) not in error.message or "Remedy:" not in error.message:
            return True
    found = list(store.verify())
    store.close()
    return not found


def test_a_damaged_page_is_an_error_or_a_finding_and_never_a_wrong_answer(large: Path) -> None:
    whole = large.read_bytes()
    for page in damaged_pages(large):
        noise = random.Random(page).randbytes(4096)
        large.write_bytes(whole[: page * 4096] + noise + whole[(page + 1) * 4096 :])
        assert not answers_wrongly(large), f"page {page}"
        for leftover in ("-wal", "-shm"):
            Path(f"{large}{leftover}").unlink(missing_ok=True)
