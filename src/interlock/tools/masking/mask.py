"""The one way out: text and JSON without secrets and personal data.

Everything that leaves the journal for a person or another system passes here: views, stories,
inbox cards, streams of events, errors, logs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from interlock.tools.masking.found import KINDS, Kind
from interlock.tools.masking.recognise import recognise

__all__ = ["HIDDEN", "Shown", "mask_paths", "mask_text", "mask_value"]

HIDDEN: Final = "[hidden]"
_MOST_PASSES: Final = 5
_SHORTEST: Final = 6
# A whole number this long may be a card; below, digits are amounts, counts and moments.
_SHORTEST_NUMBER: Final = 10**11

Shown = Any
"""JSON in which nothing is left that `mask_text` would find."""


def mask_text(text: str, kinds: Collection[Kind] = KINDS) -> str:
    """The text with `[email]`, `[iban]`, `[secret]` … in place of what it has of these kinds.

    Masking twice is masking once.
    """
    if len(text) < _SHORTEST:
        return text
    for _ in range(_MOST_PASSES):
        found = recognise(text, kinds)
        if not found:
            break
        parts: list[str] = []
        end = 0
        for one in found:
            parts += (text[end : one.start], f"[{one.kind}]")
            end = one.end
        text = "".join((*parts, text[end:]))
    return text


def mask_value(value: Any, kinds: Collection[Kind] = KINDS) -> Shown:
    """A JSON value with each of its texts masked, names of fields too, and numbers like cards."""
    if isinstance(value, str):
        return mask_text(value, kinds)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {mask_value(name, kinds): _member(name, item, kinds) for name, item in items}
    if isinstance(value, (list, tuple)):
        return [mask_value(item, kinds) for item in cast("Sequence[Any]", value)]
    if isinstance(value, int) and value >= _SHORTEST_NUMBER:
        masked = mask_text(str(value), kinds)
        return value if masked == str(value) else masked
    return value


def _member(name: Any, value: Any, kinds: Collection[Kind]) -> Any:
    """A field whose name says that it is a secret is one, whatever it looks like."""
    if "secret" in kinds and isinstance(value, str) and isinstance(name, str):
        told = f"{name}={value}"
        masked = mask_text(told, ("secret",))
        if masked != told and masked.startswith(f"{name}=["):
            return "[secret]"
    return mask_value(value, kinds)


def mask_paths(value: Any, paths: Iterable[str]) -> Any:
    """The value with what the dotted paths name hidden wholly; a path that leads nowhere is none.

    `*` stands for every member, and a list is passed through: `lines.iban` is each line's.
    """
    for path in paths:
        value = _hide(value, path.split(".") if path else [])
    return value


def _hide(value: Any, path: Sequence[str]) -> Any:
    if not path:
        return None if value is None else HIDDEN
    if isinstance(value, list):
        return [_hide(item, path) for item in cast("list[Any]", value)]
    if not isinstance(value, Mapping):
        return value
    fields = dict(cast("Mapping[str, Any]", value))
    names = list(fields) if path[0] == "*" else [path[0]] if path[0] in fields else []
    for name in names:
        fields[name] = _hide(fields[name], path[1:])
    return fields
