"""SQL files: named, described, and all of them used."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

import interlock.journal
from interlock.journal.projections import PROJECTIONS
from interlock.journal.statements import migrations, parse, statements

PACKAGE = Path(interlock.journal.__file__).parent


def test_every_statement_is_named_somewhere() -> None:
    sources = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    named = set(re.findall(r'"([a-z_]+)"', sources))
    copies = {f"copy_{table}" for table in named}
    assert set(statements("sqlite")) - named - copies == set()


def test_every_projection_has_its_statements() -> None:
    wanted = {name for projection in PROJECTIONS.values() for name in projection.statements}
    assert wanted - set(statements("sqlite")) == set()


def test_every_statement_is_one_statement_that_sqlite_understands() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for migration in migrations("sqlite"):
        connection.executescript(migration.script)
    for name, sql in statements("sqlite").items():
        assert sqlite3.complete_statement(f"{sql};"), name
        if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            names = dict.fromkeys(re.findall(r":(\w+)", sql))
            values = (None,) * sql.count("?")
            connection.execute(f"EXPLAIN {sql}", values or names).fetchall()
    connection.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1;\n-- name: a\n-- b\nSELECT 1;", "text before the first name"),
        ("-- name: a\nSELECT 1;", "has no description"),
        ("-- name: a", "has no description"),
    ],
)
def test_a_statement_without_name_or_description_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(parse("file.sql", text))


def test_a_statement_is_what_follows_its_description() -> None:
    first = "-- name: a\n-- Says one.\n-- And more.\nSELECT 1\nWHERE 2;\n\n"
    text = first + "-- name: b\n-- Two.\nSELECT 3;\n"
    assert list(parse("f", text)) == [("a", "SELECT 1\nWHERE 2"), ("b", "SELECT 3")]


def test_migrations_are_numbered_without_gaps() -> None:
    assert [m.version for m in migrations("sqlite")] == list(
        range(1, len(migrations("sqlite")) + 1)
    )


def test_an_unknown_database_has_no_statements() -> None:
    with pytest.raises(FileNotFoundError):
        statements("oracle")
