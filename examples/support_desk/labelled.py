"""Labelled customer messages, read from a CSV file of `text,category`."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Labelled", "LabelledError", "read_labelled"]

_COLUMNS = ("text", "category")


class LabelledError(Exception):
    """A file of labelled messages cannot be used; the message names file, line and remedy."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A customer's message and the category it belongs to; neither is blank."""

    text: str
    category: str


def read_labelled(path: Path, *, limit: int | None = None) -> list[Labelled]:
    """The messages in `path`, in the order of the file, at most `limit` of them.

    The file is UTF-8, with or without a byte-order mark; columns other than
    `text` and `category` are ignored. Raises `LabelledError` when the file is
    missing, holds no message, lacks a column, or has a line with a blank one.
    """
    if limit is not None and limit < 1:
        raise LabelledError(f"a limit of {limit} leaves no message; give 1 or more")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            messages = list(_read(path, csv.DictReader(file)))
    except OSError as problem:
        raise LabelledError(f"{path} cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise LabelledError(f"{path} is not UTF-8: {problem}; save it as UTF-8") from problem
    if not messages:
        raise LabelledError(f"{path} holds no messages below its heading; add at least one")
    return messages[:limit]


def _read(path: Path, rows: "csv.DictReader[str]") -> Iterator[Labelled]:
    missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        problem = f"{path} lacks the column {missing[0]!r}"
        raise LabelledError(f"{problem}; its heading must be {','.join(_COLUMNS)}")
    for row in rows:
        text, category = ((row[name] or "").strip() for name in _COLUMNS)
        if not text or not category:
            blank = "text" if not text else "category"
            raise LabelledError(f"{path}, line {rows.line_num}: the {blank} is blank; fill it in")
        yield Labelled(text=text, category=category)
