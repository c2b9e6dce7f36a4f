"""Pydantic's errors as findings: with places, and in words that say what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from pydantic import ValidationError

from interlock.contract.finding import Finding, Place, field_name
from interlock.contract.located import Located
from interlock.contract.shape import Shape, contract_shape
from interlock.contract.terms import CONFLICT, Conflict, FieldPath

__all__ = ["judge"]

# How pydantic marks that the key of a mapping is wrong, not its value.
_KEY: Final = "[key]"


def judge(error: ValidationError, located: Located) -> Iterator[Finding]:
    """A finding for everything that a validation complains about, but what was refused before."""
    judging = _Judging(located)
    for one in error.errors(include_url=False, include_input=False):
        yield from judging.findings(tuple(one["loc"]), one["type"], one.get("ctx", {}))


class _Judging:
    def __init__(self, located: Located) -> None:
        self._located = located
        self._root = contract_shape()
        self._by_type: dict[str, Callable[[FieldPath], Finding]] = {
            "extra_forbidden": self._unknown,
            "missing": self._missing,
        }

    def findings(self, path: FieldPath, kind: str, context: dict[str, Any]) -> Iterator[Finding]:
        """The findings for one error of pydantic: several only for conflicts."""
        if kind == CONFLICT:
            yield from self._conflicts(path, context["conflicts"])
        elif self._located.was_refused(path):
            return
        elif path and path[-1] == _KEY:
            yield self._wrong_name(path[:-1])
        else:
            yield self._by_type.get(kind, self._wrong)(path)

    def _conflicts(self, path: FieldPath, conflicts: tuple[Conflict, ...]) -> Iterator[Finding]:
        for conflict in conflicts:
            whole = (*path, *conflict.path)
            if not self._located.was_refused(whole):
                yield self._finding("conflict", whole, conflict.problem, conflict.allowed)

    def _shape(self, path: FieldPath) -> Shape | None:
        return self._root.along(path)

    def _finding(
        self,
        code: str,
        path: FieldPath,
        problem: str,
        allowed: str | None,
        *,
        place: Place | None = None,
        suggestions: tuple[str, ...] = (),
    ) -> Finding:
        return Finding(
            code=code,
            file=self._located.file,
            place=place or self._located.place(path),
            field=field_name(path),
            problem=problem,
            found=self._located.found(path),
            allowed=allowed,
            suggestions=suggestions,
        )

    def _unknown(self, path: FieldPath) -> Finding:
        section = self._shape(path[:-1])
        name = str(path[-1])
        return self._finding(
            "unknown_field",
            path,
            "there is no such field",
            section.allowed_names() if section else None,
            place=self._located.name_place(path),
            suggestions=section.suggestions(name, self._root) if section else (),
        )

    def _missing(self, path: FieldPath) -> Finding:
        shape = self._shape(path)
        place = self._located.name_place(path[:-1])
        allowed = shape.allowed() if shape else None
        return self._finding("missing_field", path, "it is missing", allowed, place=place)

    def _wrong_name(self, path: FieldPath) -> Finding:
        mapping = self._shape(path[:-1])
        allowed = mapping.allowed_names() if mapping else None
        place = self._located.name_place(path)
        return self._finding("wrong_value", path, "this is no name", allowed, place=place)

    def _wrong(self, path: FieldPath) -> Finding:
        shape = self._shape(path)
        found = self._located.found(path) or "something else"
        allowed = shape.allowed() if shape else None
        return self._finding("wrong_value", path, f"found {found}", allowed)
