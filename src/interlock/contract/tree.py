"""A YAML text as a tree in which every key and value knows its line and column.

Only what a contract needs is read: mappings with texts as keys, lists, scalars, in one document.
Anchors, aliases and tags are refused, so nothing grows while it is read and no type is chosen by
the file; size and depth are bounded. What is refused inside a tree is noted and the rest is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from interlock.contract.finding import Finding, Place, field_name, shortened
from interlock.contract.scalar import ScalarValue, plain_value
from interlock.contract.terms import FieldPath
from interlock.contract.yaml_events import Event, EventKind, NotYamlError, read_events

__all__ = [
    "MAX_CHARACTERS",
    "MAX_DEPTH",
    "Entry",
    "Listing",
    "Node",
    "Refused",
    "Scalar",
    "Section",
    "Tree",
    "read_tree",
]

MAX_CHARACTERS: Final = 250_000
MAX_DEPTH: Final = 20
_ALLOWED_KEYS: Final = "texts as names"


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """A text, number, truth value or nothing; `text` is how it is written."""

    place: Place
    text: str
    value: ScalarValue


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A list."""

    place: Place
    items: tuple[Node, ...]


class Entry(NamedTuple):
    """One name of a section: where the name stands, and what it has."""

    place: Place
    node: Node


@dataclass(frozen=True, kw_only=True)
class Section:
    """A mapping."""

    place: Place
    entries: dict[str, Entry]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A value that cannot be read; a finding says why."""

    place: Place


Node: TypeAlias = Scalar | Listing | Section | Refused


class Tree(NamedTuple):
    """What was read. Without a root, the findings say why."""

    root: Node | None
    findings: tuple[Finding, ...]


class _StopError(Exception):
    """Reading cannot go on."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.problem)
        self.finding = finding


def read_tree(text: str, file: str) -> Tree:
    """Read one YAML document. `file` is what findings call it. Never raises for any text."""
    if len(text) > MAX_CHARACTERS:
        problem = f"the file has {len(text):,} characters"
        allowed = f"up to {MAX_CHARACTERS:,}"
        return Tree(None, (Finding(code="too_large", file=file, problem=problem, allowed=allowed),))
    reader = _Reader(text, file)
    try:
        return Tree(reader.document(), tuple(reader.findings))
    except _StopError as stop:
        return Tree(None, (*reader.findings, stop.finding))
    except NotYamlError as error:
        problem = f"this is not YAML: {error.problem}"
        finding = Finding(code="not_yaml", file=file, place=error.place, problem=problem)
        return Tree(None, (*reader.findings, finding))


class _Reader:
    """Builds the tree out of events, and notes findings at the last event's place."""

    def __init__(self, text: str, file: str) -> None:
        self.findings: list[Finding] = []
        self._file = file
        self._events = read_events(text)
        self._place = Place(1, 1)

    def document(self) -> Node | None:
        """The one document, or None with a finding for an empty file."""
        self._next()
        event = self._next()
        if event.kind is EventKind.STREAM_END:
            self._place = Place(1, 1)
            self._note((), "missing_field", "the file is empty", "a contract: at least agent: NAME")
            return None
        if event.version not in (None, "1.2"):
            self._note((), "not_used", f"this is YAML {event.version}", "YAML 1.2")
        root = self._node(self._next(), ())
        self._next()
        if self._next().kind is not EventKind.STREAM_END:
            self._note((), "not_used", "a second document begins here", "one contract in a file")
        return root

    def _next(self) -> Event:
        event = next(self._events)
        self._place = event.place
        return event

    def _until(self, end: EventKind) -> Iterator[Event]:
        while (event := self._next()).kind is not end:
            yield event

    def _note(self, path: FieldPath, code: str, problem: str, allowed: str) -> None:
        finding = Finding(
            code=code,
            file=self._file,
            place=self._place,
            field=field_name(path),
            problem=problem,
            allowed=allowed,
        )
        self.findings.append(finding)

    def _node(self, event: Event, path: FieldPath) -> Node:
        if len(path) > MAX_DEPTH:
            self._note(path, "too_deep", "this is nested too deeply", f"up to {MAX_DEPTH} levels")
            raise _StopError(self.findings.pop())
        refused = self._refuses(event, path)
        if event.kind is EventKind.MAPPING_START:
            node: Node = Section(place=event.place, entries=self._entries(path))
        elif event.kind is EventKind.SEQUENCE_START:
            node = Listing(place=event.place, items=self._items(path))
        else:
            node = Refused(place=event.place) if refused else self._scalar(event, path)
        return Refused(place=event.place) if refused else node

    def _refuses(self, event: Event, path: FieldPath) -> bool:
        """Whether this uses what contracts do without; notes it."""
        if event.kind is EventKind.ALIAS:
            said, allowed = f"*{shortened(event.anchor or '')} is an alias", "the value itself"
        elif event.anchor is not None:
            said, allowed = f"&{shortened(event.anchor)} is an anchor", "the value without it"
        elif event.tag is not None and event.tag != "!":
            said, allowed = f"{shortened(event.tag)} is a tag", "the value without it"
        else:
            return False
        self._note(path, "not_used", said, allowed)
        return True

    def _items(self, path: FieldPath) -> tuple[Node, ...]:
        members = enumerate(self._until(EventKind.SEQUENCE_END))
        return tuple(self._node(event, (*path, number)) for number, event in members)

    def _entries(self, path: FieldPath) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for event in self._until(EventKind.MAPPING_END):
            name = self._name(event, path)
            node = self._node(self._next(), (*path, name or ""))
            if name is None:
                continue
            if name in entries:
                self._note_duplicate((*path, name), event.place, entries[name].place)
            else:
                entries[name] = Entry(event.place, _placed(node, event.place))
        return entries

    def _note_duplicate(self, path: FieldPath, place: Place, first: Place) -> None:
        self._place = place
        allowed = f"once; it stands in line {first.line} already"
        self._note(path, "duplicate_field", "it is there twice", allowed)

    def _name(self, event: Event, path: FieldPath) -> str | None:
        """The text of a name, or None with a finding."""
        if event.kind is EventKind.SCALAR:
            wrong = self._refuses(event, path) or not self._is_text(event, path)
            return None if wrong else event.text
        self._note(path, "wrong_value", "a name is not a text", "texts as names")
        if event.kind is not EventKind.ALIAS:
            self._node(event, (*path, ""))
        return None

    def _scalar(self, event: Event, path: FieldPath) -> Node:
        if not self._is_text(event, path):
            return Refused(place=event.place)
        if not event.plain or event.tag is not None:
            return Scalar(place=event.place, text=event.text, value=event.text)
        try:
            return Scalar(place=event.place, text=event.text, value=plain_value(event.text))
        except ValueError as error:
            self._note(path, "wrong_value", f"found {error}", "a shorter, finite number")
            return Refused(place=event.place)

    def _is_text(self, event: Event, path: FieldPath) -> bool:
        try:
            event.text.encode()
        except UnicodeEncodeError:
            self._note(path, "wrong_value", "half of a surrogate pair", "whole characters")
            return False
        return True


def _placed(node: Node, name: Place) -> Node:
    """The node; where nothing was written, a person looks where the name stands."""
    nothing = isinstance(node, Scalar) and node.value is None and not node.text
    return Scalar(place=name, text="", value=None) if nothing else node
