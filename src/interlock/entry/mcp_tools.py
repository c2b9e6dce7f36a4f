"""Tools as MCP shows them, and their results in the shape that it promised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import mcp_types as types
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from interlock.orchestrator.offered import RESERVED_PREFIX
from interlock.tools.tool import Tool

__all__ = ["RESULT_TOOL", "Shaped", "offered_tool", "result_tool", "shaped"]

RESULT_TOOL: Final = f"{RESERVED_PREFIX}result"
# A result that is no object goes into one, as clients of earlier revisions need it.
_WRAPPED: Final = "result"
# The dialect that pydantic writes.
_DIALECT: Final = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
_CONTENT_TYPES: Final = frozenset({"text", "image", "audio", "resource", "resource_link"})
_CONTENTS: Final = TypeAdapter(list[types.ContentBlock])


class Shaped(NamedTuple):
    """A result as MCP carries it: contents for a model, and the object that a schema promises."""

    content: list[types.ContentBlock]
    structured: dict[str, Any] | None


def offered_tool(tool: Tool[..., Any]) -> types.Tool:
    """What a client is told of a tool. The annotations are hints; ours is what decides."""
    return types.Tool(
        name=tool.name,
        description=tool.description or None,
        input_schema=_DIALECT | tool.arguments.schema(),
        output_schema=_output_schema(tool),
        annotations=types.ToolAnnotations(
            read_only_hint=not tool.writes,
            destructive_hint=tool.effect == "irreversible",
            idempotent_hint=not tool.writes or tool.recovery == "repeatable",
        ),
        _meta={
            "interlock/version": tool.version,
            "interlock/effect": tool.effect,
            "interlock/autonomy": tool.standing.autonomy,
        },
    )


def result_tool() -> types.Tool:
    """The tool that tells what became of a call that was not waited for."""
    return types.Tool(
        name=RESULT_TOOL,
        description="The result of an earlier call that was waiting, such as for an approval.",
        input_schema={
            "type": "object",
            "properties": {
                "run": {"type": "string", "description": "as the answer to that call named it"}
            },
            "required": ["run"],
            "additionalProperties": False,
        },
        annotations=types.ToolAnnotations(read_only_hint=True, idempotent_hint=True),
    )


def shaped(tool: Tool[..., Any] | None, value: Any) -> Shaped:
    """A result as the tool promises it.

    What a tool without a promise answers as a list of MCP's own contents, as tools of other servers
    do with pictures, goes on as these.
    """
    schema = None if tool is None else _written_schema(tool)
    contents = _contents(value) if schema is None else None
    if contents is not None:
        return Shaped(contents, None)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    content: list[types.ContentBlock] = [types.TextContent(text=text)]
    if schema is not None and not _is_object(schema):
        return Shaped(content, {_WRAPPED: value})
    is_object = isinstance(value, dict)
    return Shaped(content, cast("dict[str, Any]", value) if is_object else None)


def _contents(value: Any) -> list[types.ContentBlock] | None:
    listed = cast("list[Any]", value) if isinstance(value, list) else []
    kinds = [cast("dict[str, Any]", one).get("type") for one in listed if isinstance(one, dict)]
    if not listed or len(kinds) != len(listed) or not _CONTENT_TYPES.issuperset(map(str, kinds)):
        return None
    try:
        return _CONTENTS.validate_python(listed)
    except ValidationError:
        return None


def _output_schema(tool: Tool[..., Any]) -> dict[str, Any] | None:
    schema = _written_schema(tool)
    if schema is None or _is_object(schema):
        return schema
    # References in it are from the root.
    definitions = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
    return {
        "type": "object",
        "properties": {_WRAPPED: schema},
        "required": [_WRAPPED],
        **definitions,
    }


def _written_schema(tool: Tool[..., Any]) -> dict[str, Any] | None:
    """The schema of what the journal has of a result; None for any value, and for no value."""
    try:
        schema = tool.result.json_schema(written=True)
    except PydanticInvalidForJsonSchema:
        return None
    return None if schema.keys() <= {"title"} or schema.get("type") == "null" else schema


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object"
