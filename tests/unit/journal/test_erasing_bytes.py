"""An erased body is in no file any more."""

from __future__ import annotations

from pathlib import Path

from interlock.journal import open_store
from tests.conformance.commits import commit, event, write

SECRET = b"the customer's address is 7 Foundry Lane"


def files_with(folder: Path, text: bytes) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if text in file.read_bytes())


def test_no_file_holds_an_erased_body(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "journal.db"))
    large = SECRET + b"." * 50_000 + SECRET
    write(store, commit("a", event(body=b"kept body"), event(body=SECRET), event(body=large)))
    store.close()
    assert files_with(tmp_path, SECRET) == ["journal.db"]
    store = open_store(str(tmp_path / "journal.db"))
    write(store, commit("a", event(body=SECRET)))
    assert files_with(tmp_path, SECRET) == ["journal.db", "journal.db-wal"]
    store.erase([2, 3, 4], by="ada", reason="r")
    assert files_with(tmp_path, SECRET) == []
    assert files_with(tmp_path, b"kept body") == ["journal.db"]
    store.close()
