"""Frames of server-sent events, as a reader takes them apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

__all__ = ["Frame", "frames_of"]


class Frame(NamedTuple):
    """One event: its id (None where it has none), its name and its data."""

    id: str | None
    event: str
    data: dict[str, Any]


def frames_of(lines: Iterable[str]) -> Iterator[Frame]:
    """The frames in lines; comments are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Frame(fields.get("id"), fields["event"], json.loads(fields["data"]))
            fields = {}
        else:
            fields = {}
