"""Scenarios in YAML, with errors that name the line and the field.

The file has the fields of `Scenario`: `rules`, `turns`, `models`, `obeying`. A field that does not
exist is refused, so that a misspelt one is never silently ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from interlock.errors import InvalidInputError
from interlock.testing.simulated_model.scenario import Scenario

__all__ = ["parse_scenario", "read_scenario"]


def read_scenario(file: Path) -> Scenario:
    """Read a scenario's file. Raises `InvalidInputError` when it cannot be read or is wrong."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the scenario {file} cannot be read: {error}.") from error
    return parse_scenario(text, str(file))


def parse_scenario(text: str, name: str = "scenario") -> Scenario:
    """A scenario out of YAML; `name` stands for the text in errors.

    Raises `InvalidInputError`; `fields["problems"]` has `line`, `field` and `problem` of each.
    """
    try:
        # Read twice: for the values as plain Python, and for the lines that they stand on.
        values: Any = YAML(typ="safe", pure=True).load(text)  # pyright: ignore[reportUnknownMemberType]
        marked: Any = YAML(typ="rt", pure=True).load(text)  # pyright: ignore[reportUnknownMemberType]
    except YAMLError as error:
        raise _unreadable(error, name) from error
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        raise _wrong(error, marked, name) from error


def _unreadable(error: YAMLError, name: str) -> InvalidInputError:
    mark: Any = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else 1
    what = str(getattr(error, "problem", None) or error)
    return _error(name, [{"line": line, "field": "(whole)", "problem": f"no YAML: {what}"}])


def _wrong(error: ValidationError, marked: Any, name: str) -> InvalidInputError:
    return _error(
        name,
        [
            {
                "line": _line(marked, item["loc"]),
                "field": ".".join(map(str, item["loc"])) or "(whole)",
                "problem": item["msg"],
            }
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ],
    )


def _error(name: str, problems: list[dict[str, Any]]) -> InvalidInputError:
    told = "; ".join(f"line {p['line']}, {p['field']}: {p['problem']}" for p in problems)
    return InvalidInputError(f"{name}: {told}.", problems=problems)


def _line(marked: Any, path: Sequence[str | int]) -> int:
    """The line, from 1, of the last part of the path that is in the file."""
    line = 0
    for part in path:
        position = getattr(marked, "lc", None)
        try:
            below = marked[part]
            line = (position.item if isinstance(part, int) else position.key)(part)[0]  # type: ignore[union-attr]
        except (KeyError, IndexError, TypeError, AttributeError):
            # A field that is missing, or a name of a type that pydantic puts into its paths.
            continue
        marked = below
    return line + 1
