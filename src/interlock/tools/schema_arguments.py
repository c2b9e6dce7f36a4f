"""Arguments that another system describes by a JSON Schema.

What is not in the schema is not accepted, unless the schema says so itself (`additionalProperties`,
`patternProperties`, or a combination at its top, of which no list of names can be made): nobody has
seen it. Defaults are not filled in; they are the other system's business. A reference that leads
out of the schema is never followed. Source of the words: JSON Schema 2020-12 and its earlier
drafts, by the schema's own `$schema`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final, cast

from pydantic_core import PydanticSerializationError, to_jsonable_python

from interlock.base.codec import ordered
from interlock.errors import DeclarationError, InvalidInputError
from interlock.tools.arguments import wrong_arguments

__all__ = ["SchemaArguments"]

_OPENING: Final = frozenset(
    {"additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref", "$dynamicRef"}
    | {"unevaluatedProperties", "if"}
)
_LONGEST_SHOWN: Final = 200
_MOST_PROBLEMS: Final = 20
_SAID: Final = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "multipleOf": "must be a multiple of {}",
    "pattern": "must match the pattern {}",
    "enum": "must be one of {}",
    "const": "must be {}",
    "type": "must be of type {}",
    "uniqueItems": "must not have an item twice",
    "anyOf": "fits none of {}",
    "oneOf": "must fit exactly one of {}",
    "not": "must not fit {}",
}


class SchemaArguments:
    """Arguments by a JSON Schema of an object.

    Raises `DeclarationError` for what is no such schema. `hidden` are arguments that a caller does
    not give; they are taken out of what is shown and checked.
    """

    complete = False

    def __init__(
        self, tool: str, schema: Mapping[str, Any], *, hidden: tuple[str, ...] = ()
    ) -> None:
        self._tool = tool
        self._schema = _without(_object_schema(tool, schema), hidden)
        self._hidden = frozenset(hidden)
        self._properties = cast("dict[str, Any]", self._schema.get("properties", {}))
        self.names = tuple(self._properties)
        self._open = any(self._schema.get(word) not in (None, False) for word in _OPENING)
        _ = self._validator  # A schema that is none is found when the tool is declared.

    def takes(self, name: str) -> bool:
        """Whether it is a property, or may be one."""
        return name in self._properties or (self._open and name not in self._hidden)

    def is_integer(self, name: str) -> bool:
        """Whether the property's type is `integer` and nothing else."""
        part = self._properties[name]
        return isinstance(part, Mapping) and cast("Any", part).get("type") == "integer"

    def schema(self) -> dict[str, Any]:
        """The schema, as it was given but for what is hidden."""
        return copy.deepcopy(self._schema)

    def checked(self, tool: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as plain JSON, as they were given (see `Arguments.checked`)."""
        plain = self._plain(tool, values)
        each = {tuple(one.items()): one for one in (*self._unknown(plain), *self._wrong(plain))}
        found = list(each.values())[:_MOST_PROBLEMS]
        if found:
            described = "; ".join(f"{one['field']}: {one['problem']}" for one in found)
            raise wrong_arguments(tool, described, found)
        return plain

    def _plain(self, tool: str, values: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return to_jsonable_python(ordered(dict(values)))
        except (PydanticSerializationError, ValueError) as error:
            raise InvalidInputError(
                f"tool {tool!r} takes plain JSON: {error}", tool=tool, problems=[]
            ) from error

    def _unknown(self, values: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        for name in values:
            if not self.takes(name):
                known = ", ".join(self.names) or "none"
                yield _problem(name, f"there is no such argument; there are: {known}")

    def _wrong(self, values: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        from referencing.exceptions import Unresolvable

        known = {name: value for name, value in values.items() if self.takes(name)}
        try:
            for error in self._validator.iter_errors(known):
                yield from _told(error)
        except Unresolvable as error:
            yield _problem("", f"the tool's schema refers to {error.ref!r}, which is not in it")

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import SchemaError
        from jsonschema.validators import Draft202012Validator, validator_for
        from referencing import Registry

        kind: Any = validator_for(self._schema, default=Draft202012Validator)
        try:
            kind.check_schema(self._schema)
        except SchemaError as error:
            where = "/".join(map(str, error.absolute_path)) or "the whole"
            raise DeclarationError(
                f"tool {self._tool!r}: its schema is no JSON Schema: at {where}: {error.message}"
            ) from error
        # An empty registry: without it, a reference may be fetched from the network.
        registry = cast("Any", Registry)()
        return kind(self._schema, registry=registry)


def _object_schema(tool: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    if schema.get("type") != "object" or not isinstance(properties, Mapping):
        raise DeclarationError(
            f"tool {tool!r}: the schema of its arguments is of type {schema.get('type')!r}; "
            "arguments are an object with properties."
        )
    return dict(schema)


def _without(schema: dict[str, Any], hidden: tuple[str, ...]) -> dict[str, Any]:
    if not hidden:
        return schema
    properties = {n: p for n, p in schema.get("properties", {}).items() if n not in hidden}
    required = [name for name in schema.get("required", ()) if name not in hidden]
    return schema | {"properties": properties, "required": required}


def _told(error: Any) -> Iterator[dict[str, str]]:
    """What is wrong in words of the schema: a validator's own message has the value in it."""
    path = [str(part) for part in error.absolute_path]
    word, expected = str(error.validator), error.validator_value
    if word == "required":
        for name in expected:
            if name not in error.instance:
                yield _problem(".".join([*path, name]), "is required")
    elif word in ("additionalProperties", "unevaluatedProperties"):
        known = ", ".join(error.schema.get("properties", ())) or "none"
        yield _problem(".".join(path), f"has a field that is not allowed; there are: {known}")
    else:
        yield _problem(".".join(path), _expectation(word, expected))


def _expectation(word: str, expected: Any) -> str:
    if word == "type" and isinstance(expected, list):
        shown = " or ".join(map(str, cast("list[Any]", expected)))
    elif word == "type":
        shown = str(expected)
    elif word == "enum":
        shown = ", ".join(json.dumps(each, ensure_ascii=False) for each in expected)
    else:
        shown = json.dumps(expected, ensure_ascii=False, default=str)
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}…"
    return _SAID.get(word, f"does not fit {word} {{}}").format(shown)


def _problem(field: str, problem: str) -> dict[str, str]:
    return {"field": field or "(whole)", "problem": problem}
