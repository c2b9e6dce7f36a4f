"""SQL lives in `.sql` files: named statements, each with a description, and migrations.

A statement file holds any number of statements. Each begins with a line `-- name: the_name`,
followed by one or more comment lines that say what it is for, followed by the SQL.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["Migration", "migrations", "parse", "statements"]

_MARK = "-- name: "


class Migration(NamedTuple):
    """One step of the format. `version` counts from 1 without gaps; steps are only appended."""

    version: int
    name: str
    script: str


@functools.cache
def statements(dialect: str) -> Mapping[str, str]:
    """All named statements of a database, by name.

    Raises `ValueError` for a statement without description or a name that is used twice.
    """
    found: dict[str, str] = {}
    for file in _files(_folder(dialect)):
        for name, sql in parse(file.name, file.read_text("utf-8")):
            if name in found:
                raise ValueError(f"{file.name}: the statement {name!r} exists twice")
            found[name] = sql
    return MappingProxyType(found)


@functools.cache
def migrations(dialect: str) -> tuple[Migration, ...]:
    """All migrations of a database in order. Raises `ValueError` when one is missing."""
    found: list[Migration] = []
    for file in _files(_folder(dialect) / "migrations"):
        number, name = file.name.removesuffix(".sql").split("_", 1)
        if int(number) != len(found) + 1:
            raise ValueError(f"migration {len(found) + 1} of {dialect} is missing")
        found.append(Migration(int(number), name, file.read_text("utf-8")))
    return tuple(found)


def _folder(dialect: str) -> Traversable:
    return resources.files("interlock.journal") / "sql" / dialect


def _files(folder: Traversable) -> list[Traversable]:
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted(files, key=lambda file: file.name)


def parse(file: str, text: str) -> Iterator[tuple[str, str]]:
    """The statements of one file: name and SQL, without the final semicolon.

    Raises `ValueError` for text before the first name and for a missing description.
    """
    before, *blocks = text.split(_MARK)
    if before.strip():
        raise ValueError(f"{file}: text before the first name")
    for block in blocks:
        name, *lines = block.splitlines()
        if not lines or not lines[0].startswith("-- "):
            raise ValueError(f"{file}: the statement {name!r} has no description")
        code = [line for line in lines if not line.startswith("--")]
        yield name.strip(), "\n".join(code).strip().removesuffix(";")
