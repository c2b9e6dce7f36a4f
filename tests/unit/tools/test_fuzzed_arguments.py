"""Arguments made from each tool's schema, and spoilt: what does not fit reaches no tool.

`INTERLOCK_FUZZ_CALLS` says how many calls are made in all; 600 without it.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from typing import Any, Final, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, TypeAdapter

from interlock.errors import InvalidInputError
from interlock.tools.schema_arguments import SchemaArguments
from interlock.tools.tool import Tool, declare_tool


class Line(BaseModel):
    article: str
    pieces: int


async def order(customer: str, lines: list[Line], *, express: bool = False) -> None: ...
async def refund(account: str, cents: int, reason: Literal["late", "broken"]) -> None: ...
async def note(
    ticket: int, text: str | None = None, tags: dict[str, int] | None = None
) -> None: ...


def described(name: str, schema: dict[str, Any]) -> Tool[..., Any]:
    """A tool of another system, as an MCP server describes one."""

    async def call(**arguments: Any) -> None: ...

    ours = declare_tool(call_nothing, effect="write", recovery="never", name=name)
    return dataclasses.replace(ours, function=call, arguments=SchemaArguments(name, schema))


async def call_nothing() -> None: ...


MOVE: Final[dict[str, Any]] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "source": {"type": "string"},
        "places": {"type": "array", "items": {"$ref": "#/$defs/Place"}},
        "overwrite": {"type": "boolean"},
    },
    "required": ["source", "places"],
    "additionalProperties": False,
    "$defs": {
        "Place": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "line": {"type": "integer"}},
            "required": ["path"],
            "additionalProperties": False,
        }
    },
}
QUERY: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "table": {"enum": ["orders", "customers"]},
        "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "labels": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
    "required": ["table"],
}
FUNCTIONS: Final[list[Callable[..., Any]]] = [order, refund, note]
TOOLS: Final = [
    *(declare_tool(f, effect="write", recovery="never") for f in FUNCTIONS),
    described("move", MOVE),
    described("query", QUERY),
]
CALLS: Final = int(os.environ.get("INTERLOCK_FUZZ_CALLS", "600"))
FUZZ = settings(
    max_examples=max(1, CALLS // (2 * len(TOOLS))),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# Fits none of the arguments above, and nothing that it could be read as.
WRONG = st.sampled_from([[[]], {"a": []}, [{"nothing": 1}], "not a number"])
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def values_of(  # noqa: PLR0911 - one for each kind of schema
    schema: dict[str, Any], root: dict[str, Any]
) -> st.SearchStrategy[Any]:
    """Values that fit a schema, as far as schemas of these tools go."""
    if "$ref" in schema:
        return values_of(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return st.one_of([values_of(each, root) for each in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            fields = {n: values_of(s, root) for n, s in schema["properties"].items()}
            needed = {n: fields.pop(n) for n in schema.get("required", [])}
            return st.fixed_dictionaries(needed, optional=fields)
        case "object":
            inner = values_of(schema["additionalProperties"], root)
            return st.dictionaries(st.text(max_size=5), inner, max_size=3)
        case "array":
            return st.lists(values_of(schema["items"], root), max_size=3)
        case kind:
            simple: dict[Any, st.SearchStrategy[Any]] = {
                "string": st.text(max_size=20),
                "integer": st.integers(-(2**63), 2**63),
                "boolean": st.booleans(),
                "null": st.none(),
            }
            return simple[kind]


def reached(tool: Tool[..., Any], arguments: dict[str, Any]) -> dict[str, Any] | None:
    """What the tool would be called with, as JSON; None when it is refused with a reason."""
    try:
        bound = tool.bind((), arguments)
    except InvalidInputError:
        return None
    return TypeAdapter(Any).dump_python(bound, mode="json")


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_what_fits_the_schema_is_taken(tool: Tool[..., Any]) -> None:
    schema = tool.arguments.schema()

    @FUZZ
    @given(values_of(schema, schema))
    def check(arguments: dict[str, Any]) -> None:
        got = reached(tool, arguments)
        assert got is not None
        assert {n: got[n] for n in arguments} == arguments

    check()


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_what_does_not_fit_reaches_no_tool(tool: Tool[..., Any]) -> None:
    schema = tool.arguments.schema()
    validator: Any = Draft202012Validator(schema)
    spoil: dict[str, Callable[[dict[str, Any], str, Any], None]] = {
        "drop": lambda given, name, _: given.pop(name, None),
        "add": lambda given, name, value: given.update({name + "_": value}),
        "change": lambda given, name, value: given.update({name: value}),
    }

    @FUZZ
    @given(
        values_of(schema, schema),
        st.sampled_from(sorted(spoil)),
        st.sampled_from(sorted(schema["properties"])),
        WRONG | ANY,
    )
    def check(arguments: dict[str, Any], how: str, name: str, value: Any) -> None:
        spoil[how](arguments, name, value)
        got = reached(tool, arguments)
        if got is not None:
            # A text that reads as a number is one; whatever was read fits the schema.
            assert validator.is_valid(got), got
            assert how != "add"
            assert how != "drop" or name not in schema["required"]
            return
        # What a schema does not name is refused, where the schema itself would let it pass.
        assert how == "add" or not validator.is_valid(arguments)
        named = name + "_" if how == "add" else name
        with pytest.raises(InvalidInputError) as refused:
            tool.bind((), arguments)
        assert refused.value.message.startswith(f"tool {tool.name!r} ")
        # The field, and what is expected of it.
        assert re.search(rf"{named}[^:]*: \w+", refused.value.message)

    check()
