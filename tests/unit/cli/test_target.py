"""Where a command finds its store."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.cli.target import login, required_app, store_location
from interlock.config import DEFAULT_STORE, STORE_VARIABLE, store_url
from interlock.errors import InvalidInputError
from tests.support.serving import APP

OF_APP = "sqlite:///of_app.db"


@pytest.mark.parametrize(
    ("given", "variable", "of_app", "found"),
    [
        ("a", "b", "c", "a"),
        (None, "b", "c", "b"),
        (None, None, "c", "c"),
        (None, "", "c", "c"),
        ("", "b", None, "b"),
        (None, None, None, DEFAULT_STORE),
    ],
)
def test_the_nearest_word_wins(
    given: str | None, variable: str | None, of_app: str | None, found: str
) -> None:
    environment = {} if variable is None else {STORE_VARIABLE: variable}
    assert store_url(given, environment, of_app) == found


def test_an_app_is_not_loaded_where_its_store_is_not_needed() -> None:
    assert store_location("no_such_module:app", "given.db") == "given.db"
    assert store_location(None, None) == DEFAULT_STORE
    with pytest.raises(InvalidInputError, match="no_such_module"):
        store_location("no_such_module:app", None)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("desk.py:app", "give the module and not its file: --app desk:app"),
        ("desk.py", "--app desk:app"),
        (":app", "'' is no name of a Python module"),
        ("./desk:app", "is no name of a Python module"),
        ("leaves:app", "SystemExit: 4"),
        ("tests.support.serving:ROOT", "an interlock App is needed"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_told(
    spec: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaves.py").write_text("raise SystemExit(4)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInputError) as caught:
        required_app(spec, None)
    assert told in caught.value.message


def test_the_store_given_is_the_apps() -> None:
    assert required_app(APP, "given.db").store == "given.db"


def test_a_name_that_is_given_is_taken_as_it_is() -> None:
    assert login("ana") == "ana"
    assert login("") == ""
