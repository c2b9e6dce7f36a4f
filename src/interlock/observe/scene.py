"""One event of a run, opened for telling, and how excerpts are cut.

A payload is shown only where payloads are wanted, cut to one line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from interlock.observe.moment import when
from interlock.observe.operation_key import called

__all__ = ["LONGEST_EXCERPT", "Scene", "answer_of", "cut", "fields_of", "short"]

LONGEST_EXCERPT: Final = 300


class Scene(NamedTuple):
    """One event, opened for telling."""

    header: Mapping[str, Any]
    name: str
    key: str
    body: Any
    bodies: bool
    erased: bool

    def get(self, field: str) -> str:
        """A header field as text, empty where it is absent."""
        value = self.header.get(field)
        return "" if value is None else str(value)

    def moment(self, field: str) -> str:
        """A header field that is a moment, for a sentence."""
        value = self.header.get(field)
        return when(value) if value else ""

    def called(self) -> str:
        """What was called, for a sentence."""
        return called(self.name)

    def by(self) -> str:
        """Who did it."""
        return self.get("by") or "Somebody"

    def excerpt(self, label: str, value: Any) -> str:
        """A space and `Label: value.`, where payloads are wanted."""
        if not self.bodies:
            return ""
        if self.erased:
            return f" {label}: erased."
        return f" {label}: {short(value)}."

    def fields(self) -> dict[str, Any]:
        """The body as an object; empty where it is none."""
        return fields_of(self.body)

    def failure(self) -> str:
        """`Name: message` of a recorded failure (its message is no payload)."""
        found = self.fields()
        if "args" in found:
            found = fields_of(found.get("result"))
        types: list[str] = list(found.get("types") or ())
        name = types[0].rpartition(".")[2] if types else ""
        message = str(found.get("message", ""))
        return cut(": ".join(part for part in (name, message) if part)) or "no reason given"


def fields_of(value: Any) -> dict[str, Any]:
    """The value as an object; empty where it is none."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def short(value: Any) -> str:
    """A value as JSON on one line, cut."""
    return cut(json.dumps(value, ensure_ascii=False))


def cut(text: str) -> str:
    """A text on one line, cut to `LONGEST_EXCERPT` characters."""
    line = " ".join(text.split())
    if len(line) <= LONGEST_EXCERPT:
        return line
    return f"{line[:LONGEST_EXCERPT]}… ({len(line):,} characters)"


def answer_of(value: Any) -> Any:
    """What a tool answered, without what Pydantic AI puts around the answer of a function."""
    fields = fields_of(value)
    is_wrapped = fields.keys() == {"result", "kind"} and fields["kind"] == "tool_return"
    return fields["result"] if is_wrapped else value
