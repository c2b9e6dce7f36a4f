"""A contract's tree as something to ask: its plain value, and where each field stands."""

from __future__ import annotations

from typing import Any

from interlock.contract.finding import Place, shortened
from interlock.contract.terms import FieldPath
from interlock.contract.tree import Entry, Listing, Node, Refused, Scalar, Section

__all__ = ["Located"]


class Located:
    """The fields of one file with their places."""

    def __init__(self, root: Section, file: str) -> None:
        self.file = file
        self._root = root

    def value(self) -> Any:
        """The whole file as plain Python, numbers with a point as `Decimal`.

        What was refused is None.
        """
        return _value(self._root)

    def node(self, path: FieldPath) -> Node | None:
        """What stands at a path, or None."""
        found = self._deepest(path)
        return found[1].node if found[0] == len(path) else None

    def place(self, path: FieldPath) -> Place:
        """Where the value at a path stands, or else what it would stand in."""
        reached, entry = self._deepest(path)
        return entry.node.place if reached == len(path) else entry.place

    def name_place(self, path: FieldPath) -> Place:
        """Where the name at the end of a path stands; the file's beginning for an empty one."""
        return self._deepest(path)[1].place

    def was_refused(self, path: FieldPath) -> bool:
        """Whether there already is a finding about what stands at a path or around it."""
        return isinstance(self._deepest(path)[1].node, Refused)

    def found(self, path: FieldPath) -> str | None:
        """What stands at a path, as it is written, for a person."""
        node = self.node(path)
        return None if node is None else _found(node)

    def _deepest(self, path: FieldPath) -> tuple[int, Entry]:
        """How much of a path there is, and what stands at that."""
        entry = Entry(self._root.place, self._root)
        for reached, part in enumerate(path):
            inner = _inner(entry.node, part)
            if inner is None:
                return reached, entry
            entry = inner
        return len(path), entry


def _inner(node: Node, part: str | int) -> Entry | None:
    if isinstance(node, Section):
        return node.entries.get(str(part))
    if isinstance(node, Listing) and isinstance(part, int) and part < len(node.items):
        return Entry(node.items[part].place, node.items[part])
    return None


def _value(node: Node) -> Any:
    if isinstance(node, Section):
        return {name: _value(entry.node) for name, entry in node.entries.items()}
    if isinstance(node, Listing):
        return [_value(item) for item in node.items]
    return node.value if isinstance(node, Scalar) else None


def _found(node: Node) -> str:
    if isinstance(node, Section):
        return "a mapping"
    if isinstance(node, Listing):
        return "a list"
    if isinstance(node, Refused):
        return "something that cannot be read"
    if isinstance(node.value, str):
        return f"the text '{shortened(node.text)}'"
    return "nothing" if node.value is None else shortened(node.text)
