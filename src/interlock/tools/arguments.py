"""What a tool takes: its arguments by name, how they are checked, and the schema that shows them.

A tool of ours has a typed function, and its arguments are a pydantic model. A tool of another
system has a JSON Schema. Whoever calls, offers, judges or lists tools sees only `Arguments`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from interlock.base.codec import describe, problems
from interlock.errors import InvalidInputError

__all__ = ["Arguments", "TypedArguments", "wrong_arguments"]


class Arguments(Protocol):
    """The visible arguments of a tool; what the gateway fills in is not among them.

    `names` are in the order in which a caller may give values without names. `complete`: a checked
    call has a value for each of them, since what was left out has got its default.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments that have names."""
        ...

    @property
    def complete(self) -> bool:
        """Whether every checked call has all of them."""
        ...

    def takes(self, name: str) -> bool:
        """Whether there can be an argument of this name."""
        ...

    def is_integer(self, name: str) -> bool:
        """Whether an argument is always a whole number."""
        ...

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of all arguments as one object. The caller may change its copy."""
        ...

    def checked(self, tool: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a call of `tool`, as its function gets them.

        Raises `InvalidInputError` that names every wrong field and what is expected of it, without
        the value.
        """
        ...


class TypedArguments:
    """Arguments as a typed function declares them."""

    complete = True

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model
        self.names = tuple(model.model_fields)

    def takes(self, name: str) -> bool:
        """Whether it is one of the fields."""
        return name in self.model.model_fields

    def is_integer(self, name: str) -> bool:
        """Whether it is annotated `int`."""
        return self.model.model_fields[name].annotation is int

    def schema(self) -> dict[str, Any]:
        """The model's JSON Schema."""
        return self.model.model_json_schema()

    def checked(self, tool: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields' values, with defaults (see `Arguments.checked`)."""
        try:
            model = self.model.model_validate(dict(values))
        except ValidationError as error:
            raise wrong_arguments(tool, describe(error), problems(error)) from error
        return {name: getattr(model, name) for name in self.names}


def wrong_arguments(tool: str, described: str, problems: list[dict[str, str]]) -> InvalidInputError:
    """The error for a call whose arguments do not fit."""
    return InvalidInputError(
        f"tool {tool!r} was called with wrong arguments: {described}", tool=tool, problems=problems
    )
