"""A Cedar file as single statements, each with its line: Cedar itself names neither."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn

from interlock.errors import PolicyError
from interlock.tools.policy import cedar
from interlock.tools.policy.decision import Ask

__all__ = ["Statement", "read_statements"]

# White space, comments, texts with their escapes, and everything else up to the next of these.
_TOKEN = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"|;|[^";/]+|/|"', re.DOTALL)
_KNOWN = frozenset({"id", "approval", "within", "two_persons", "log_only", "reason"})
_SPAN = re.compile(r"([1-9][0-9]{0,3})([smhd])")
_UNITS: Final = MappingProxyType({"s": "seconds", "m": "minutes", "h": "hours", "d": "days"})


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One policy. `parsed` is Cedar's JSON form of it, `ask` its approval."""

    id: str
    place: str
    text: str
    effect: Literal["permit", "forbid"]
    parsed: dict[str, Any]
    ask: Ask | None
    reason: str
    log_only: bool

    def is_for(self, action: str, groups: tuple[str, ...]) -> bool:
        """Whether its scope can hold for an action that is in `groups`."""
        ids = self._actions()
        # `==` means the action itself, `in` also what is in a group.
        below = self.parsed["action"]["op"] == "in" and not ids.isdisjoint(groups)
        return not ids or action in ids or below

    def is_by(self, agent: str | None) -> bool:
        """Whether its scope can hold for an agent; None for one that no scope names.

        Agents are in no groups, so `in` means the agent itself, as `==` does.
        """
        named = self.agent()
        return named is None or named == agent

    def agent(self) -> str | None:
        """The one agent that its scope names; None where it is for every agent."""
        scope: Any = self.parsed["principal"]
        # `principal is Agent in Agent::"x"` has it one deeper.
        entity: Any = scope.get("in", scope).get("entity")
        return None if entity is None else str(entity["id"])

    def is_for_groups(self, groups: tuple[str, ...]) -> bool:
        """Whether its scope is about what is in groups, and names none but these."""
        ids = self._actions()
        return self.parsed["action"]["op"] == "in" and ids <= set(groups)

    def _actions(self) -> set[str]:
        """The actions that its scope names; none for every action."""
        scope = self.parsed["action"]
        if scope["op"] == "All":
            return set()
        return {entity["id"] for entity in scope.get("entities") or [scope["entity"]]}


def read_statements(path: Path, name: str) -> list[Statement]:
    """The policies of a file. `name` is how it is called in messages.

    Raises `PolicyError` that names the file, the line and the remedy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{name} cannot be read: {error}") from error
    return [_statement(f"{name}:{line}", source) for line, source in _split(text, name)]


def _split(text: str, name: str) -> Iterator[tuple[int, str]]:
    begin: int | None = None
    for token in _TOKEN.finditer(text):
        piece = token.group()
        if begin is None and piece.strip() and not piece.startswith("//"):
            begin = token.start() + len(piece) - len(piece.lstrip())
        if piece == ";":
            if begin is None or begin == token.start():
                line = text.count("\n", 0, token.start()) + 1
                raise PolicyError(f"{name}:{line}: a ';' that ends no policy; take it out.")
            yield text.count("\n", 0, begin) + 1, text[begin : token.end()]
            begin = None
    if begin is not None:
        line = text.count("\n", 0, begin) + 1
        raise PolicyError(f"{name}:{line}: a policy that no ';' ends.")


def _statement(place: str, text: str) -> Statement:
    try:
        policies, templates = cedar.parse(text)
    except ValueError as error:
        raise PolicyError(f"{place}: this is no Cedar policy: {error}") from error
    if templates:
        raise PolicyError(f"{place}: a template with ?principal or ?resource; name them instead.")
    (parsed,) = policies
    # Cedar writes null for a mark without a text.
    marks = {name: text or "" for name, text in parsed.get("annotations", {}).items()}
    unknown = sorted(marks.keys() - _KNOWN)
    if unknown:
        _refuse(place, f"@{unknown[0]} is unknown; there are @{', @'.join(sorted(_KNOWN))}.")
    if not marks.get("id", "").strip():
        _refuse(place, 'it has no @id("…"), by which decisions and people name it.')
    effect = parsed["effect"]
    return Statement(
        id=marks["id"],
        place=place,
        text=text,
        effect=effect,
        parsed=parsed,
        ask=_ask(place, marks, effect),
        reason=marks.get("reason", ""),
        log_only="log_only" in marks,
    )


def _ask(place: str, marks: dict[str, str], effect: str) -> Ask | None:
    if "approval" not in marks:
        for mark in ("within", "two_persons"):
            if mark in marks:
                _refuse(place, f"@{mark} belongs to @approval, which is not there.")
        return None
    if not marks["approval"].strip():
        _refuse(place, '@approval names no role; write @approval("…").')
    if effect != "permit":
        _refuse(place, "@approval on a forbid: what is forbidden, nobody can approve.")
    within = marks.get("within", "1d")
    span = _SPAN.fullmatch(within)
    if span is None:
        _refuse(place, f"@within({within!r}) is no span; write 90s, 30m, 4h or 3d.")
    return Ask(
        role=marks["approval"],
        within=timedelta(**{_UNITS[span[2]]: int(span[1])}),
        two_persons="two_persons" in marks,
    )


def _refuse(place: str, problem: str) -> NoReturn:
    raise PolicyError(f"{place}: {problem}")
