"""The Cedar schema that tools make: what a policy may ask about a call.

A tool's arguments come from its JSON schema: texts, integers, booleans, lists of these and objects.
What Cedar has no type for (numbers with a fraction, any value) is left out, in the schema and in
what is asked, so that a policy that uses it is refused when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from interlock.tools.arguments import Arguments
from interlock.tools.tool import Tool

__all__ = [
    "AGENT",
    "GROUPS",
    "THING",
    "ActionSchema",
    "action_schemas",
    "cedar_schema",
    "context_attributes",
]

AGENT: Final = "Agent"
THING: Final = "Thing"
_READ: Final = "any read"
_WRITE: Final = "any write"
_IRREVERSIBLE: Final = "anything irreversible"
GROUPS: Final = (_READ, _WRITE, _IRREVERSIBLE)
_LARGEST: Final = 2**63 - 1
_DEEPEST: Final = 8
_SCALARS: Final = {"string": "String", "integer": "Long", "boolean": "Boolean"}
_PYTHON: Final[dict[str, type]] = {"String": str, "Long": int, "Boolean": bool}

Type = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ActionSchema:
    """What policies see of one tool's calls. `arguments` is the Cedar record of its arguments."""

    tool: str
    groups: tuple[str, ...]
    arguments: Type
    amount: str | None
    resource: tuple[str, ...]

    def project(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as far as Cedar has types for them. Raises `OverflowError`."""
        return _project_record(arguments, self.arguments)

    def thing(self, arguments: Mapping[str, Any]) -> str:
        """The name of what a call touches: its resource arguments' values, or the tool's name."""
        if not self.resource:
            return self.tool
        return "/".join(f"{arguments.get(name)}" for name in self.resource)


def _groups_of(tool: Tool[..., Any]) -> tuple[str, ...]:
    """The groups that a tool's action is in."""
    if not tool.writes:
        return (_READ,)
    return (_WRITE, _IRREVERSIBLE) if tool.effect == "irreversible" else (_WRITE,)


def action_schemas(
    tools: Iterable[Tool[..., Any]], functions: Mapping[str, str]
) -> dict[str, ActionSchema]:
    """What policies see of each tool, by its name; of undeclared functions only their effect."""
    unseen = {
        name: ActionSchema(
            tool=name,
            groups=(_READ,) if effect == "read" else (_WRITE,),
            arguments={"type": "Record", "attributes": {}},
            amount=None,
            resource=(),
        )
        for name, effect in functions.items()
    }
    return unseen | {
        tool.name: ActionSchema(
            tool=tool.name,
            groups=_groups_of(tool),
            arguments=_record(tool.arguments),
            amount=tool.standing.amount,
            resource=tool.standing.resource,
        )
        for tool in tools
    }


def cedar_schema(actions: Iterable[ActionSchema]) -> Type:
    """The schema that policies are validated against, in Cedar's JSON form."""
    declared: dict[str, Any] = {name: {} for name in GROUPS}
    for action in actions:
        declared[action.tool] = {
            "memberOf": [{"id": group} for group in action.groups],
            "appliesTo": {
                "principalTypes": [AGENT],
                "resourceTypes": [THING],
                "context": {"type": "Record", "attributes": context_attributes(action)},
            },
        }
    return {"": {"entityTypes": {AGENT: {}, THING: {}}, "actions": declared}}


def context_attributes(action: ActionSchema) -> Type:
    """What a policy may ask of `context`, by name, with Cedar's types."""
    attributes: Type = {
        "args": action.arguments,
        "tenant": {"type": "String"},
        "ungrounded": {"type": "Set", "element": {"type": "String"}},
        "hour": {"type": "Long"},
        "weekday": {"type": "Long"},
    }
    if action.amount is not None:
        attributes["amount"] = {"type": "Long"}
    return attributes


# From JSON Schema to Cedar's types.


def _record(arguments: Arguments) -> Type:
    schema = arguments.schema()
    return _Translation(schema, complete=arguments.complete).object(schema, 0)


_OPTIONAL: Final[Type] = {"required": False}


class _Translation:
    """The types of one schema. `complete`: what has a default is there when policies see a call."""

    def __init__(self, schema: Type, *, complete: bool) -> None:
        # Where they are kept has had two names.
        self._definitions: Type = {**schema.get("definitions", {}), **schema.get("$defs", {})}
        self._complete = complete

    def object(self, schema: Mapping[str, Any], depth: int) -> Type:
        """The record of an object; without what Cedar has no type for."""
        attributes: Type = {}
        needed = schema.get("required", ())
        for name, part in schema.get("properties", {}).items():
            kind, optional = self._kind(part, depth + 1)
            if kind is not None:
                may_lack = optional or not (self._complete or name in needed)
                attributes[name] = kind | (_OPTIONAL if may_lack else {})
        return {"type": "Record", "attributes": attributes}

    def _kind(self, schema: Any, depth: int) -> tuple[Type | None, bool]:
        """Cedar's type, or None where it has none; and whether null is allowed."""
        if depth > _DEEPEST or not isinstance(schema, Mapping):
            return None, False
        part = cast("Mapping[str, Any]", schema)
        if "$ref" in part:
            name = str(part["$ref"]).rpartition("/")[2]
            return self._kind(self._definitions.get(name, {}), depth + 1)
        alternatives = _alternatives(part)
        if alternatives is None:
            return self._plain_kind(part, depth), False
        parts = [each for each in alternatives if _type_of(each) != "null"]
        kind = self._kind(parts[0], depth)[0] if len(parts) == 1 else None
        return kind, len(parts) < len(alternatives)

    def _plain_kind(self, schema: Mapping[str, Any], depth: int) -> Type | None:
        name = schema.get("type")
        if name in _SCALARS:
            return {"type": _SCALARS[name]}
        if name == "array":
            element, optional = self._kind(schema.get("items", {}), depth + 1)
            return None if element is None or optional else {"type": "Set", "element": element}
        if name == "object" and "properties" in schema:
            return self.object(schema, depth)
        return None


def _type_of(schema: Any) -> Any:
    return cast("Mapping[str, Any]", schema).get("type") if isinstance(schema, Mapping) else None


def _alternatives(schema: Mapping[str, Any]) -> list[Any] | None:
    """The members of an `anyOf`, or a schema for each of several types; None where it is one."""
    if "anyOf" in schema:
        return cast("list[Any]", schema["anyOf"])
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return [{**schema, "type": kind} for kind in cast("list[str]", kinds)]
    return None


# From values to what Cedar reads.


def _project_record(values: Mapping[str, Any], record: Type) -> dict[str, Any]:
    projected: dict[str, Any] = {}
    for name, kind in record["attributes"].items():
        value = values.get(name)
        if value is not None:
            projected[name] = _project(value, kind)
    return projected


def _project(value: Any, kind: Type) -> Any:
    match kind["type"]:
        case "Record":
            return _project_record(value, kind)
        case "Set":
            return [_project(item, kind["element"]) for item in value]
        case name:
            plain = _PYTHON[name](value)
            if name == "Long" and abs(cast("int", plain)) > _LARGEST:
                raise OverflowError(f"{value} is no 64-bit number")
            return plain
