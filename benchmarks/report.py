"""Results for people and for machines: a table on standard output, JSON in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine

__all__ = ["Target", "print_machine", "print_table", "print_targets", "write_json"]

_WIDTH_COLUMNS = 150


@dataclass(frozen=True, kw_only=True)
class Target:
    """What must hold, and what was measured; ``met`` is None when nothing could be measured."""

    name: str
    wanted: str
    measured: str
    met: bool | None

    def to_json(self) -> dict[str, object]:
        """The fields as a JSON object."""
        return {
            "name": self.name,
            "wanted": self.wanted,
            "measured": self.measured,
            "met": self.met,
        }


def _console() -> Console:
    # A pipe or a file has no width of its own and would cut the table at 80 columns.
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_COLUMNS)


def print_machine(machine: Machine) -> None:
    """Name the machine, and warn when its disk is none."""
    console = _console()
    console.print(f"machine: {machine}")
    if machine.volatile:
        console.print(
            f"[bold]warning:[/] the stores lie on {machine.filesystem}, in memory: nothing below "
            "is durable. Give --directory a path on a disk."
        )


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: the first column to the left, the others to the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = _console()
    console.print()
    console.print(table)


def print_targets(targets: Sequence[Target]) -> None:
    """What must hold, beside what was measured."""
    words = {True: "met", False: "MISSED", None: "not measured"}
    rows = [[each.name, each.wanted, each.measured, words[each.met]] for each in targets]
    print_table("targets", ["what", "wanted", "measured", ""], rows)


def write_json(path: Path, answer: Mapping[str, object]) -> None:
    """Write the answer, and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(answer, indent=2) + "\n")
    _console().print(f"\nwritten to {path}")
