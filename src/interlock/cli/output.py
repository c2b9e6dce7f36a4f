"""What commands print: tables for people, JSON for machines.

Results go to the standard output stream, remarks about how it goes to the standard error stream, so
that a pipe gets results only. Text from outside never reaches the terminal as control characters.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from interlock.cli.safe_text import safe_json, safe_text

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import BaseModel
    from rich.console import Console

__all__ = [
    "Progress",
    "clock_time",
    "fields_table",
    "print_json",
    "print_line",
    "print_table",
    "progress",
    "remark",
]

_WIDTH_WITHOUT_TERMINAL: Final = 10_000


def print_json(value: Any) -> None:
    """Print a value, or a view, as JSON."""
    from pydantic_core import to_jsonable_python

    plain = to_jsonable_python(value)
    print_line(safe_json(json.dumps(plain, indent=2, ensure_ascii=False)), safe=True)


def print_line(text: str = "", *, safe: bool = False) -> None:
    """Print a line of text. `safe`: control characters are escaped already."""
    print(text if safe else safe_text(text), flush=True)  # noqa: T201


def remark(text: str) -> None:
    """Say something about how it goes, on the standard error stream."""
    print(safe_text(text), file=sys.stderr, flush=True)  # noqa: T201


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], nothing: str = "") -> None:
    """Print a table, or the sentence `nothing` where it has no rows."""
    found = [[_cell(value) for value in row] for row in rows]
    if not found:
        print_line(nothing)
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, name in enumerate(columns):
        # The first column is the id that other commands take: it must stay in one piece.
        table.add_column(name, overflow="fold", no_wrap=number == 0)
    for row in found:
        table.add_row(*(Text(cell) for cell in row))
    _console().print(table)


def _cell(value: Any) -> str:
    return "" if value is None else safe_text(str(value))


def _console() -> Console:
    from rich.console import Console

    # Into a file or a pipe, a line is never cut or folded.
    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(width=width, highlight=False, markup=False, emoji=False)


@contextmanager
def progress(text: str) -> Generator[Progress]:
    """Show on a terminal that something goes on; `update(text)` says what. Elsewhere: nothing."""
    if not sys.stderr.isatty():
        yield Progress(lambda _said: None)
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(safe_text(text))) as status:
        yield Progress(lambda said: status.update(Text(safe_text(said))))


class Progress:
    """What goes on, told to whoever looks."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.update = show


def clock_time(moment: datetime | None) -> str:
    """A moment for a table: UTC to the millisecond."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"


def fields_table(view: BaseModel, names: Sequence[str]) -> None:
    """Print fields of a view, one a line, leaving out what is empty."""
    width = max(map(len, names))
    for name in names:
        value: Any = getattr(view, name)
        if value not in (None, "", []):
            shown = clock_time(value) if hasattr(value, "isoformat") else str(value)
            print_line(f"{name.replace('_', ' '):<{width}}  {shown}")
