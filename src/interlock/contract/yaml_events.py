"""The events of a YAML text, typed and placed: the only place that touches the YAML library."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from interlock.contract.finding import Place, shortened

__all__ = ["Event", "EventKind", "NotYamlError", "read_events"]


class EventKind(Enum):
    """What an event tells."""

    STREAM_START = "StreamStartEvent"
    STREAM_END = "StreamEndEvent"
    DOCUMENT_START = "DocumentStartEvent"
    DOCUMENT_END = "DocumentEndEvent"
    MAPPING_START = "MappingStartEvent"
    MAPPING_END = "MappingEndEvent"
    SEQUENCE_START = "SequenceStartEvent"
    SEQUENCE_END = "SequenceEndEvent"
    SCALAR = "ScalarEvent"
    ALIAS = "AliasEvent"


class Event(NamedTuple):
    """One event.

    `text` is a scalar's value, `plain` whether it stands without quotes; `anchor` also names what
    an alias means; `version` is what a document says it is written in.
    """

    kind: EventKind
    place: Place
    text: str
    plain: bool
    anchor: str | None
    tag: str | None
    version: str | None


class NotYamlError(Exception):
    """The text is not YAML from `place` on."""

    def __init__(self, problem: str, place: Place) -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = place


def read_events(text: str) -> Iterator[Event]:
    """The events of a text, read as they are asked for. Raises only `NotYamlError`."""
    reached = Place(1, 1)
    library: Any = YAML(typ="safe", pure=True)
    try:
        for event in library.parse(text):
            taken = _taken(event)
            reached = taken.place
            yield taken
    except MarkedYAMLError as error:
        raise _marked(error, reached) from error
    except ReaderError as error:
        raise _unreadable(error, text) from error
    except Exception as error:
        # The library lets others through, such as OverflowError for a wrong escape.
        problem = f"{type(error).__name__}: {shortened(str(error))}"
        raise NotYamlError(problem, reached) from error


def _taken(event: Any) -> Event:
    tag = getattr(event, "ctag", None)
    version = getattr(event, "version", None)
    return Event(
        kind=EventKind(type(event).__name__),
        place=Place(event.start_mark.line + 1, event.start_mark.column + 1),
        text=str(getattr(event, "value", "")),
        plain=getattr(event, "style", None) is None,
        anchor=getattr(event, "anchor", None),
        tag=None if tag is None else str(tag),
        version=None if version is None else ".".join(map(str, version)),
    )


def _marked(error: Any, reached: Place) -> NotYamlError:
    mark = error.problem_mark or error.context_mark
    place = reached if mark is None else Place(mark.line + 1, mark.column + 1)
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    return NotYamlError(" ".join(said.split()), place)


def _unreadable(error: Any, text: str) -> NotYamlError:
    before = text[: error.position]
    place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
    return NotYamlError(str(error.reason), place)
