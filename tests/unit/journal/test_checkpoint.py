"""Signed checkpoints: what they hold, and how they are kept."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from interlock.clock import spawn_thread
from interlock.errors import StorageCorruptError
from interlock.journal import open_store
from interlock.journal.checkpoint import CheckpointLog
from interlock.journal.store import Store
from interlock.journal.verify import verify_all
from tests.conformance.backend import START_US, OwnClock
from tests.conformance.commits import commit, event, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "journal.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A journal of two events."""
    opened = open_store(str(path))
    write(opened, commit("b", event()), commit("a", event()))
    yield opened
    opened.close()


def log_of(path: Path) -> CheckpointLog:
    return CheckpointLog(str(path), OwnClock())


def test_a_line_can_be_checked_with_nothing_but_the_public_key(store: Store, path: Path) -> None:
    log_of(path).write(store)
    write(store, commit("a", event()))
    log_of(path).write(store)
    public = load_pem_public_key(Path(f"{path}.pub").read_bytes())
    assert isinstance(public, Ed25519PublicKey)
    first, second = Path(f"{path}.checkpoints.jsonl").read_text().splitlines()
    ends = [
        (e.event.stream, e.event.seq, e.event.hash().hex()) for s in "ab" for e in store.read(s)
    ]
    for line, prev, position, heads in (
        (first, "", 2, [ends[0], ends[2]]),
        (second, first, 3, [ends[1]]),
    ):
        fields = json.loads(line)
        assert (fields["position"], fields["at_us"], fields["streams"]) == (
            position,
            START_US,
            len(heads),
        )
        text = "".join(json.dumps(list(head)) + "\n" for head in heads)
        assert fields["digest"] == sha256(text.encode()).hexdigest()
        assert fields["prev"] == sha256(prev.encode()).hexdigest()
        signature = bytes.fromhex(fields.pop("signature"))
        public.verify(signature, json.dumps(list(fields.values()), separators=(",", ":")).encode())


def test_only_the_owner_can_read_the_key(store: Store, path: Path) -> None:
    log_of(path).write(store)
    assert stat.S_IMODE(Path(f"{path}.key").stat().st_mode) == 0o600
    before = Path(f"{path}.key").read_bytes()
    write(store, commit("a", event()))
    log_of(path).write(store)
    assert Path(f"{path}.key").read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir() if "db." in file.name) == [
        "journal.db.checkpoints.jsonl",
        "journal.db.key",
        "journal.db.pub",
    ]


def test_nothing_new_writes_nothing(path: Path) -> None:
    store = open_store(str(path))
    assert log_of(path).write(store) is None
    assert not Path(f"{path}.checkpoints.jsonl").exists()
    assert not Path(f"{path}.key").exists()
    store.close()


def test_a_line_that_was_never_finished_is_replaced(store: Store, path: Path) -> None:
    log_of(path).write(store)
    place = Path(f"{path}.checkpoints.jsonl")
    whole = place.read_text()
    place.write_text(whole + whole[:40] + "?" * 900)
    assert list(verify_all(store, log_of(path))) == []
    write(store, commit("a", event()))
    log_of(path).write(store)
    assert place.read_text().startswith(whole)
    assert len(place.read_text().splitlines()) == 2
    assert list(verify_all(store, log_of(path))) == []


def test_after_a_line_that_is_no_checkpoint_none_is_added(store: Store, path: Path) -> None:
    place = Path(f"{path}.checkpoints.jsonl")
    place.write_text("something else\n")
    with pytest.raises(StorageCorruptError, match="is no checkpoint"):
        log_of(path).write(store)
    assert place.read_text() == "something else\n"


def test_a_key_that_is_none_is_named(store: Store, path: Path) -> None:
    Path(f"{path}.key").write_text("secret")
    with pytest.raises(StorageCorruptError, match=r"journal\.db\.key' is no Ed25519 key") as found:
        log_of(path).write(store)
    assert "secret" not in found.value.message


def test_the_key_is_what_signs_after_an_erasure(store: Store, path: Path) -> None:
    write(store, commit("a", event(body=b"personal")))
    log_of(path).write(store)
    store.erase([3], by="ada", reason="r")
    assert list(verify_all(store, log_of(path))) == []


def test_two_that_write_at_once_do_not_spoil_each_others_lines(store: Store, path: Path) -> None:
    other = open_store(str(path))
    for number in range(20):
        write(store, commit("a", event("e", str(number))))
        threads = [
            spawn_thread(partial(log_of(path).write, opened), name="checkpoint")  # pyright: ignore[reportArgumentType]
            for opened in (store, other)
        ]
        for thread in threads:
            thread.join()
    assert len(Path(f"{path}.checkpoints.jsonl").read_text().splitlines()) == 20
    assert list(verify_all(store, log_of(path))) == []
    other.close()


def test_the_journal_does_not_load_cryptography() -> None:
    code = "import sys, interlock.journal.verify; assert 'cryptography' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
