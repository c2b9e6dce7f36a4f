"""`mcp.lock`: what was accepted of each tool, and how what a server says now differs from it.

A pin is everything by which a model, a person or our checks know a tool: name, title, description,
the schemas of its input and output, and annotations. Its hash is the SHA-256 of that as JSON with
sorted names. A file that was changed by hand is refused: a diff is accepted and not typed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from interlock.errors import InvalidInputError

__all__ = ["FIELDS", "Pin", "Pins", "changed_fields", "differences", "read_pins", "write_pins"]

_FORMAT: Final = 1
FIELDS: Final = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
_SHOWN_HASH: Final = 12


@dataclass(frozen=True)
class Pin:
    """One tool as its server describes it: those of `FIELDS` that it says something in."""

    definition: Mapping[str, Any]

    @property
    def hash(self) -> str:
        """The SHA-256, in hexadecimal."""
        # Not RFC 8785: schemas of other systems have whole numbers that it cannot write.
        text = json.dumps(self.definition, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def short_hash(self) -> str:
        """As much of it as a person compares."""
        return self.hash[:_SHOWN_HASH]

    @property
    def description(self) -> str:
        """What the server says of the tool."""
        return str(self.definition.get("description", ""))

    @property
    def input_schema(self) -> Mapping[str, Any]:
        """The schema of its arguments."""
        return cast("Mapping[str, Any]", self.definition.get("inputSchema", {}))


Pins = dict[str, dict[str, Pin]]


def read_pins(path: Path) -> Pins:
    """The accepted tools by server and name; none where there is no file.

    Raises `InvalidInputError` for a file that is not whole.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInputError(f"{path}: it cannot be read: {error}.") from error
    found: Pins = {}
    for server, tool, entry in _entries(path, data):
        pin = Pin(cast("dict[str, Any]", entry.get("definition")))
        if not isinstance(pin.definition, dict) or entry.get("hash") != pin.hash:
            raise InvalidInputError(
                f"{path}: {server}.{tool} does not match its hash: it was changed by hand. Take "
                "the file from version control, or remove it and pin all tools again."
            )
        found.setdefault(server, {})[tool] = pin
    return found


def _entries(path: Path, data: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    whole: Any = cast("Any", data) if isinstance(data, dict) else {}
    servers = whole.get("servers")
    if whole.get("format") != _FORMAT or not isinstance(servers, dict):
        raise InvalidInputError(f"{path}: it is no mcp.lock of format {_FORMAT}.")
    for server, tools in cast("dict[str, Any]", servers).items():
        for tool, entry in cast("dict[str, Any]", tools if isinstance(tools, dict) else {}).items():
            yield server, tool, cast("dict[str, Any]", entry if isinstance(entry, dict) else {})


def write_pins(path: Path, pins: Pins) -> None:
    """Write the accepted tools. Repeating it changes nothing."""
    held = {
        server: {
            tool: {"hash": tools[tool].hash, "definition": dict(tools[tool].definition)}
            for tool in sorted(tools)
        }
        for server, tools in sorted(pins.items())
        if tools
    }
    # Within a definition the order stays: it is the one in which arguments are offered.
    text = json.dumps({"format": _FORMAT, "servers": held}, indent=2)
    # Beside it and then renamed: a process that starts meanwhile reads the one or the other.
    staged = path.with_name(f"{path.name}.new")
    staged.write_text(text + "\n", encoding="utf-8")
    staged.replace(path)


def differences(before: Pin, now: Pin) -> list[str]:
    """What is different, as lines: the field, then what is gone (`-`) and what is new (`+`)."""
    lines: list[str] = []
    for field in FIELDS:
        was, is_now = _lines(before, field), _lines(now, field)
        if was != is_now:
            lines.append(f"{field}:")
            changed = difflib.unified_diff(was, is_now, n=1, lineterm="")
            lines += [f"  {line}" for line in changed if not line.startswith(("---", "+++", "@@"))]
    return lines


def changed_fields(before: Pin, now: Pin) -> list[str]:
    """The names of the fields that are different."""
    return [f for f in FIELDS if before.definition.get(f) != now.definition.get(f)]


def _lines(pin: Pin, field: str) -> list[str]:
    value = pin.definition.get(field)
    if value is None:
        return []
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return [_visible(line) for line in (value if isinstance(value, str) else text).split("\n")]


def _visible(line: str) -> str:
    """Characters that no eye sees, and a model reads, as escapes."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
