"""API keys: only hashes are kept, and a key is good until it expires or is revoked."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from interlock.entry.auth_keys import KEY_PREFIX, ApiKey, KeyFile
from interlock.errors import ConflictError, InvalidInputError, NotFoundError
from interlock.tools.masking import mask_text
from tests.support.local import MovableClock


def new(file: KeyFile, name: str = "ana", **more: object) -> tuple[str, ApiKey]:
    """A person's key of one tenant for a day."""
    given: dict[str, object] = {
        "kind": "person",
        "tenant": "acme",
        "roles": ("read",),
        "expires_in": timedelta(days=1),
    }
    return file.new(name, **{**given, **more})  # type: ignore[arg-type]


def test_the_file_keeps_no_key_and_others_cannot_read_it(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json", MovableClock())
    key, entry = new(file)
    text = file.path.read_text()
    assert key not in text
    assert key.rpartition("_")[2] not in text
    assert entry.hash in text
    assert file.path.stat().st_mode & 0o077 == 0


def test_a_key_names_whom_it_was_made_for(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json", MovableClock())
    key, entry = new(file, roles=("read", "read", "billing-team"))
    new(file, "bela")
    found = file.find(key)
    assert found == entry
    assert found is not None
    identity = found.identity()
    assert (identity.name, identity.tenant, identity.client) == ("ana", "acme", "ana")
    assert identity.roles == {"read", "billing-team"}
    assert key not in repr(found) + repr(identity)
    assert entry.hash not in repr(found)


@pytest.mark.parametrize("spoil", [lambda key: key[:-1] + "!", lambda key: key + "x", str.upper])
def test_another_key_is_none(tmp_path: Path, spoil: Callable[[str], str]) -> None:
    file = KeyFile(tmp_path / "keys.json", MovableClock())
    key, _ = new(file)
    assert file.find(spoil(key)) is None
    assert file.find("") is None
    assert file.find(f"{KEY_PREFIX}\udc80") is None


def test_it_expires(tmp_path: Path) -> None:
    clock = MovableClock()
    file = KeyFile(tmp_path / "keys.json", clock)
    key, entry = new(file)
    _, lasting = new(file, expires_in=None)
    assert entry.state(file.now()) == "valid"
    clock.move(timedelta(days=1))
    found = file.find(key)
    assert found is not None
    assert found.state(file.now()) == "expired"
    assert lasting.state(file.now()) == "valid"


def test_another_process_sees_that_it_is_revoked(tmp_path: Path) -> None:
    clock = MovableClock()
    server, other = (KeyFile(tmp_path / "keys.json", clock) for _ in range(2))
    key, entry = new(other)
    assert server.find(key) is not None
    other.revoke(entry.id)
    found = server.find(key)
    assert found is not None
    assert found.state(server.now()) == "revoked"
    with pytest.raises(ConflictError):
        other.revoke(entry.id)
    with pytest.raises(NotFoundError):
        other.revoke("aaaaaaaaaa")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a\nb", "x" * 201])
def test_a_name_that_would_confuse_the_log_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="name"):
        new(KeyFile(tmp_path / "keys.json", MovableClock()), name)
    assert not (tmp_path / "keys.json").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"keys": [{"id": "x"}]}'])
def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=re.escape(str(path))):
        KeyFile(path, MovableClock()).keys()


def test_a_key_is_masked_wherever_it_is_written(tmp_path: Path) -> None:
    key, _ = new(KeyFile(tmp_path / "keys.json", MovableClock()))
    for text in (f"key {key}", f"Bearer {key}", f'{{"k": "{key}"}}'):
        assert key.rpartition("_")[2] not in mask_text(text)
