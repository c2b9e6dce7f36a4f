"""The tables of the contract's reference page, as the fields themselves tell them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from interlock.contract.shape import Shape, contract_shape

__all__ = ["sections", "table"]

HEADER = "| field | allowed | without it | meaning |\n|---|---|---|---|"


def sections() -> Iterator[tuple[str, Shape]]:
    """Every section that has fields: its heading and its shape."""
    yield from _sections("", contract_shape())


def _sections(prefix: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield prefix, shape
    for name in shape.names():
        inner = shape.at(name)
        if inner is None or inner.schema.get("type") != "object":
            continue
        named = f"{prefix}.{name}".strip(".")
        if inner.names():
            yield from _sections(named, inner)
        elif (member := inner.at("name")) is not None and member.names():
            yield from _sections(f"{named}.NAME", member)


def table(shape: Shape) -> str:
    """A section's fields as a table in Markdown."""
    return "\n".join([HEADER, *(_row(shape, name) for name in shape.names())])


def _row(shape: Shape, name: str) -> str:
    field: Any = shape.schema["properties"][name]
    inner = shape.at(name)
    assert inner is not None
    cells = (f"`{name}`", inner.allowed(), _default(shape, name), field["description"])
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(shape: Shape, name: str) -> str:
    if name in shape.schema.get("required", ()):
        return "needed"
    field: Any = shape.schema["properties"][name]
    if "default" not in field:
        return "as below" if "$ref" in field else "empty"
    default = field["default"]
    if isinstance(default, float):
        return f"`{default:g}`"
    return "empty" if default in ([], "") else f"`{json.dumps(default)}`"
