"""What a contract may hold at each field, told from its JSON Schema.

The schema that editors use is the only description of the fields: errors get what is allowed, and
the names to suggest, from here, so that they cannot say something else.
"""

from __future__ import annotations

import copy
import difflib
import functools
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from interlock.contract.contract import Contract
from interlock.contract.finding import field_name
from interlock.contract.terms import FieldPath

__all__ = ["Shape", "contract_schema", "contract_shape"]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_LONGEST_NAME: Final = 100


class _Generator(GenerateJsonSchema):
    """Without a title for each field: it only says the name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def contract_schema() -> dict[str, Any]:
    """The JSON Schema of a contract file, draft 2020-12, for editors; a fresh copy.

    Beyond the standard it has `patternErrorMessage`, which editors show, and `x-unit`.
    """
    return copy.deepcopy(_schema())


@functools.cache
def _schema() -> dict[str, Any]:
    schema = Contract.model_json_schema(schema_generator=_Generator)
    # The rest of the class's docstring is for those who build contracts in Python.
    described = schema["description"].partition("\n")[0]
    return {"$schema": _DIALECT, **schema, "title": "Interlock contract", "description": described}


def contract_shape() -> Shape:
    """The shape of a whole contract."""
    return Shape(_schema(), _schema())


class Shape:
    """The JSON Schema at one place, with references and `or null` taken away."""

    def __init__(self, schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
        self._root = root
        self.nullable = False
        self.schema = self._resolved(schema)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        if "anyOf" in schema:
            self.nullable = True
            (one,) = (each for each in schema["anyOf"] if each.get("type") != "null")
            return self._resolved(one)
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self._resolved(self._root["$defs"][name])
        return schema

    def names(self) -> tuple[str, ...]:
        """The fields of a section; empty for a mapping whose names are free, and for values."""
        return tuple(self.schema.get("properties", ()))

    def at(self, part: str | int) -> Shape | None:
        """The shape one level down, or None where nothing is said about it."""
        found = self.schema.get("properties", {}).get(part) or self._any_member()
        return None if found is None else Shape(found, self._root)

    def _any_member(self) -> Mapping[str, Any] | None:
        for word in ("items", "additionalProperties"):
            if isinstance(self.schema.get(word), Mapping):
                return self.schema[word]
        return next(iter(self.schema.get("patternProperties", {}).values()), None)

    def along(self, path: FieldPath) -> Shape | None:
        """The shape at a path from here, or None where nothing is said about it."""
        shape: Shape | None = self
        for part in path:
            shape = shape.at(part) if shape is not None else None
        return shape

    def allowed(self) -> str:
        """What may stand here, in words."""
        return f"{self._allowed()}{' or null' if self.nullable else ''}"

    def _allowed(self) -> str:
        schema = self.schema
        if "enum" in schema:
            return f"one of {', '.join(map(str, schema['enum']))}"
        if "patternErrorMessage" in schema:
            return schema["patternErrorMessage"]
        kinds = {
            "string": self._text,
            "integer": lambda: f"a whole number {self._range()}",
            "number": lambda: f"a number {self._range()}{self._unit()}",
            "boolean": lambda: "true or false",
            "array": self._list,
            "object": self._mapping,
        }
        kind = kinds.get(schema.get("type", ""))
        return "anything" if kind is None else kind()

    def allowed_names(self) -> str:
        """Which names a mapping may have, in words."""
        names = self.names()
        if names:
            return ", ".join(sorted(names))
        return Shape(self.schema.get("propertyNames", {"type": "string"}), self._root).allowed()

    def _text(self) -> str:
        longest = self.schema.get("maxLength")
        return f"a text of up to {longest:,} characters" if longest else "a text"

    def _unit(self) -> str:
        return f" ({self.schema['x-unit']})" if "x-unit" in self.schema else ""

    def _range(self) -> str:
        schema = self.schema
        if "exclusiveMinimum" in schema:
            return f"above {schema['exclusiveMinimum']:,} and up to {schema['maximum']:,}"
        return f"from {schema['minimum']:,} to {schema['maximum']:,}"

    def _list(self) -> str:
        members = self.at(0)
        each = f", each {members.allowed()}" if members else ""
        return f"a list of up to {self.schema.get('maxItems', 0):,}{each}"

    def _mapping(self) -> str:
        names = self.names()
        if names:
            return f"a mapping with {', '.join(sorted(names))}"
        return f"a mapping of up to {self.schema.get('maxProperties', 0):,} names"

    def suggestions(self, name: str, root: Shape) -> tuple[str, ...]:
        """Fields that an unknown name may have meant: like-named ones here, else same-named ones.

        The latter are told by their whole path in the contract.
        """
        if len(name) > _LONGEST_NAME:
            return ()
        close = difflib.get_close_matches(name.lower(), self.names(), n=1, cutoff=0.6)
        if close:
            return tuple(close)
        return tuple(field_name(path) for path in root.paths() if path[-1] == name)[:2]

    def paths(self) -> Iterator[FieldPath]:
        """Every field with a fixed name, from here."""
        for name in self.names():
            yield (name,)
            inner = self.at(name)
            if inner is not None:
                yield from ((name, *path) for path in inner.paths())
