"""Where a value comes from: what a run may rely on, and what it was only told.

A destination of a call (who gets it, where it goes) has to be a value that a trusted source named:
the run's input, or a tool that is declared as trusted. Equality is of whole typed values, never of
parts: `eve@evil.example` is not grounded by a text that holds `steve@evil.example`. In a text that
a trusted source wrote, its words and its addresses count as values of their own, since that is how
a person names a recipient.

Rule after "Design Patterns for Securing LLM Agents against Prompt Injections" (Beurer-Kellner and
others, 2025): no untrusted text may choose where something goes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, cast
from urllib.parse import urlsplit

from pydantic_core import to_jsonable_python

from interlock.tools.masking import Kind, normal, recognise

__all__ = ["Integrity", "Labelled", "Sources", "integrity_of", "values_in"]

_EDGES: Final = "\"'`()[]{}<>,;:!?.…“”\u2018\u2019«»"
_MOST_KEPT: Final = 256
_LONGEST_KEPT: Final = 256
_EMAIL: Final = re.compile(r"[^\s\"'<>()\[\],;:]+@[^\s\"'<>()\[\],;:]+")
_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_DOMAIN: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9\-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")
# What has one form to compare, however it is written.
_TYPES: Final[tuple[Kind, ...]] = ("iban", "card", "national_id", "email", "phone")
# An IBAN as people write it, in groups of four: ISO 13616.
_SPACED: Final = re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}\b")


class Sources:
    """The trusted values of one run, each with the name of the source that it is from first."""

    def __init__(self, reveal: Callable[[Any], Any] | None = None) -> None:
        self._named: dict[str, str] = {}
        # Where a run has handles: what they stand for is compared, and not how they are numbered.
        self._reveal = reveal
        # The forms in which destinations were compared: the same few are asked for again and again.
        self._forms: dict[str, str] = {}

    def add(self, source: str, value: Any) -> None:
        """Trust what a source says. Repeating it changes nothing."""
        for plain in values_in(self.values(value)):
            self._named.setdefault(plain, source)

    def source_of(self, value: Any) -> str | None:
        """Which source names a value, or None."""
        value = self.values(value)
        host = _host(value)
        return self._named.get(self._form(value)) or (self._named.get(host) if host else None)

    def _form(self, value: Any) -> str:
        if not isinstance(value, str) or len(value) > _LONGEST_KEPT:
            return _plain(value)
        form = self._forms.get(value)
        if form is None:
            if len(self._forms) >= _MOST_KEPT:
                self._forms.clear()
            form = self._forms[value] = _plain(value)
        return form

    def values(self, value: Any) -> Any:
        """A JSON value with what its handles stand for, where the run has handles."""
        return value if self._reveal is None else self._reveal(to_jsonable_python(value))

    def ungrounded(
        self, arguments: Mapping[str, Any], destinations: Iterable[str]
    ) -> tuple[str, ...]:
        """The destinations whose values, or one of whose values, no source names."""
        return tuple(
            name
            for name in destinations
            if not all(map(self.source_of, _each(arguments.get(name))))
        )

    def named(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        """Where each argument's value is from, as far as a source names it."""
        return {
            name: source
            for name, value in arguments.items()
            if not isinstance(value, (dict, list)) and (source := self.source_of(value))
        }


def values_in(value: Any) -> Iterator[str]:
    """The typed values that a piece of data names, in the form in which they are compared."""
    plain: Any = to_jsonable_python(value)
    yield from _leaves(plain)


def _leaves(plain: Any) -> Iterator[str]:
    if isinstance(plain, Mapping):
        for each in cast("Mapping[str, Any]", plain).values():
            yield from _leaves(each)
    elif isinstance(plain, list):
        for each in cast("list[Any]", plain):
            yield from _leaves(each)
    elif plain is not None:
        yield _plain(plain)
        if isinstance(plain, str):
            yield from _words(plain)


def _words(text: str) -> Iterator[str]:
    for pattern in (_EMAIL, _SPACED):
        for found in pattern.finditer(text):
            yield _plain(found.group().strip(_EDGES))
    for one in recognise(text, _TYPES):
        yield f"{one.kind}:{normal(one.kind, text[one.start : one.end])}"
    for word in text.split():
        bare = word.strip(_EDGES)
        if bare:
            yield _plain(bare)
            if host := _host(bare) or _domain(bare):
                yield host


def _host(value: Any) -> str:
    """`host:NAME` of an address of the web, or nothing.

    One with a user name in it names no host: `https://bank.example@evil.example` reads as another
    than it is (RFC 3986, section 7.6). A port is part of where something goes.
    """
    if not isinstance(value, str) or not _URL.match(value):
        return ""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return ""
    if "@" in parts.netloc or "\\" in value or not parts.hostname:
        return ""
    usual = port in (None, {"http": 80, "https": 443}[parts.scheme.lower()])
    return f"host:{parts.hostname.rstrip('.')}{'' if usual else f':{port}'}"


def _domain(word: str) -> str:
    return f"host:{word.casefold()}" if _DOMAIN.fullmatch(word) else ""


def _each(value: Any) -> list[Any]:
    """A destination may be one, or a list of them; none at all needs no ground."""
    plain: Any = to_jsonable_python(value)
    if plain is None:
        return []
    return cast("list[Any]", plain) if isinstance(plain, list) else [plain]


def _plain(value: Any) -> str:
    """The form in which values are compared: their type, and no more than spelling is ignored."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return f"{type(value).__name__}:{value}"
    text = unicodedata.normalize("NFKC", str(value)).strip()
    whole = recognise(text, _TYPES)
    if whole and whole[0][:2] == (0, len(text)):
        return f"{whole[0].kind}:{normal(whole[0].kind, text)}"
    if _EMAIL.fullmatch(text):
        return text.casefold()
    # Only what is an account number may be written in groups.
    return text.replace(" ", "") if _SPACED.fullmatch(text) else text


Integrity = Literal["trusted", "untrusted"]


class Labelled(NamedTuple):
    """What a trusted tool answers, with the label of this one answer."""

    value: Any
    integrity: Integrity


def integrity_of(meta: Mapping[str, Any] | None, *, trusted: bool) -> Integrity:
    """How far what an MCP server answered is to be relied on, by `_meta.ifc` of its result.

    `trusted`: whether the tool is declared so here. A label can only take trust away: a server that
    calls its own output trusted says nothing. A label of another form takes it away too. Source of
    the form (`{"ifc": {"integrity": "trusted" | "untrusted", "confidentiality": …}}`, earlier
    versions `high` and `low`): what the GitHub MCP server writes, for the labels of FIDES (Costa
    and others, "Securing AI Agents with Information-Flow Control", 2025).
    """
    if not trusted:
        return "untrusted"
    label: Any = (meta or {}).get("ifc")
    if label is None:
        return "trusted"
    integrity: Any = cast("Any", label).get("integrity") if isinstance(label, Mapping) else ""
    return "trusted" if integrity in ("trusted", "high") else "untrusted"
