"""Where a journal is."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import InvalidInputError
from interlock.journal import open_store
from interlock.journal.location import database_path


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:///folder/relative.db", "folder/relative.db"),
        ("sqlite:////absolute/file.db", "/absolute/file.db"),
        ("sqlite:///with%20space.db", "with space.db"),
        ("plain.db", "plain.db"),
        ("/plain/%20.db", "/plain/%20.db"),
        (Path("folder/plain.db"), "folder/plain.db"),
    ],
)
def test_urls_and_plain_paths(location: str | Path, path: str) -> None:
    assert database_path(location) == path


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://host/db",
        "mysql://host/db",
        "sqlite://host/db",
        "sqlite:file.db",
        "sqlite://",
        "file:journal.db",
        "https://x/y",
    ],
)
def test_other_places_are_refused_with_the_remedy(location: str) -> None:
    with pytest.raises(InvalidInputError, match=r"sqlite:///file\.db"):
        database_path(location)


@pytest.mark.parametrize(
    "location", ["", "sqlite:///", ":memory:", "sqlite:///:memory:", "a\0b", "sqlite:///a?mode=ro"]
)
def test_what_names_no_file_is_refused(location: str) -> None:
    with pytest.raises(InvalidInputError):
        database_path(location)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(InvalidInputError) as found:
        database_path("postgresql://ada:secret@host/db")
    assert "secret" not in found.value.message
    assert "postgresql://host/db" in found.value.message


def test_a_url_opens_the_same_file_as_its_path(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path}/a%20b.db").close()
    open_store(str(tmp_path / "a b.db"), create=False).close()
