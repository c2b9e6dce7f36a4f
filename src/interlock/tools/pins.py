"""What a tool promises to its callers, as plain data with a hash, and what a change of it breaks.

`tools.lock` holds these promises as they were when the file was written. A change is *breaking*
when a call that was right before may be refused now, when a run under way may not replay, or when
what people and policies judge a call by has changed. What cannot be shown to be wider counts as
narrower.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from interlock.base.codec import canonical
from interlock.errors import InvalidInputError, NotFoundError
from interlock.tools.tool import Tool

__all__ = ["Change", "changes", "promise", "promise_hash", "read_lock", "write_lock"]

Promise = dict[str, Any]
_FORMAT: Final = 1
# A schema's words that no value is judged by.
_REMARKS: Final = frozenset({"title", "description", "default", "examples", "$defs"})
_LOWER_BOUNDS: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems"})
_UPPER_BOUNDS: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems"})
_BREAKING_FIELDS: Final = {
    "version": "runs under way that called it do not replay",
    "effect": "calls are judged and recovered differently",
    "recovery": "an unknown outcome ends differently",
    "autonomy": "people are asked differently",
    "destinations": "other arguments have to be grounded",
    "resource": "policies see other resources",
    "amount": "policies see another amount",
    "trusted": "its answers count differently as a source",
}


class Change(NamedTuple):
    """One difference between two promises; `what` is a sentence for a person."""

    tool: str
    what: str
    breaking: bool


def promise(tool: Tool[..., Any]) -> Promise:
    """What a tool promises; only what its declaration says, so the same in every process."""
    standing = tool.standing
    return {
        "version": tool.version,
        "effect": tool.effect,
        "recovery": tool.recovery,
        "owner": standing.owner,
        "autonomy": standing.autonomy,
        "timeout_seconds": tool.timeout.total_seconds(),
        "settle_seconds": tool.settle.total_seconds(),
        "attempts": tool.attempts,
        "destinations": list(standing.destinations),
        "resource": list(standing.resource),
        "amount": standing.amount,
        "trusted": standing.trusted,
        "dry_run": standing.dry_run is not None,
        # Only where there is one, so that files that were written before hold still.
        **({} if standing.draft is None else {"draft": standing.draft.name}),
        "arguments": tool.arguments.schema(),
    }


def promise_hash(promised: Promise) -> str:
    """The SHA-256 of a promise, in hexadecimal."""
    return hashlib.sha256(canonical(promised, "a tool's contract")).hexdigest()


# The file.


def write_lock(file: Path, tools: Iterable[Tool[..., Any]]) -> None:
    """Write what all tools promise now. Repeating it changes nothing."""
    held = {
        tool.name: {"hash": promise_hash(promised), "contract": promised}
        for tool in tools
        for promised in (promise(tool),)
    }
    text = json.dumps({"format": _FORMAT, "tools": held}, indent=2, sort_keys=True)
    file.write_text(text + "\n", encoding="utf-8")


def read_lock(file: Path) -> dict[str, Promise]:
    """What tools promised when the file was written, by name.

    Raises `NotFoundError` where there is no such file, and `InvalidInputError` for one that is not
    whole: a promise that does not match its hash was changed by hand.
    """
    try:
        data: Any = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{file}: there is no such file. Write it with `interlock tools lock`."
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInputError(f"{file}: it cannot be read: {error}.") from error
    return dict(_held(file, data))


def _held(file: Path, data: Any) -> Iterator[tuple[str, Promise]]:
    again = "Take it from version control, or write it anew with `interlock tools lock`."
    found: Any = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    tools = found.get("tools")
    if found.get("format") != _FORMAT or not isinstance(tools, dict):
        raise InvalidInputError(f"{file}: it is no tools.lock of format {_FORMAT}. {again}")
    for name, entry in cast("dict[str, Any]", tools).items():
        held: Any = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
        promised = held.get("contract")
        if not isinstance(promised, dict) or held.get("hash") != promise_hash(
            cast("Promise", promised)
        ):
            raise InvalidInputError(
                f"{file}: tool {name!r} does not match its hash: it was changed by hand. {again}"
            )
        yield name, cast("Promise", promised)


# The comparison.


def changes(before: Mapping[str, Promise], now: Mapping[str, Promise]) -> list[Change]:
    """What is different, by tool, in the order of their names."""
    found: list[Change] = []
    for name in sorted({*before, *now}):
        if name not in now:
            found.append(Change(name, "it is gone", breaking=True))
        elif name not in before:
            found.append(Change(name, "it is new", breaking=False))
        else:
            found += (Change(name, *each) for each in _changed(before[name], now[name]))
    return found


def _changed(before: Promise, now: Promise) -> Iterator[tuple[str, bool]]:
    for field in sorted({*before, *now} - {"arguments"}):
        was, is_now = before.get(field), now.get(field)
        if was != is_now:
            why = _BREAKING_FIELDS.get(field)
            reason = f": {why}" if why else ""
            yield f"{field} was {was!r} and is {is_now!r}{reason}", why is not None
    yield from _changed_arguments(before["arguments"], now["arguments"])


def _changed_arguments(before: Promise, now: Promise) -> Iterator[tuple[str, bool]]:
    old, new = before.get("properties", {}), now.get("properties", {})
    needed_before, needed = before.get("required", []), now.get("required", [])
    for name in sorted({*old, *new}):
        if name not in new:
            yield f"argument {name!r} is gone", True
        elif name not in old:
            kind = "needed" if name in needed else "optional"
            yield f"argument {name!r} is new and {kind}", name in needed
        else:
            if name in needed and name not in needed_before:
                yield f"argument {name!r} was optional and is needed", True
            elif name not in needed and name in needed_before:
                yield f"argument {name!r} was needed and is optional", False
            yield from _changed_type(name, _whole(old[name], before), _whole(new[name], now))


def _changed_type(name: str, before: Any, now: Any) -> Iterator[tuple[str, bool]]:
    if before == now:
        return
    shown = f"argument {name!r} was {json.dumps(before)} and is {json.dumps(now)}"
    if _takes_all(before, now):
        yield f"{shown}: it takes more", False
    else:
        yield f"{shown}: what it took may be refused", True


def _whole(schema: Any, root: Promise, inside: tuple[str, ...] = ()) -> Any:
    """A schema with what it refers to put in, and without remarks. A circle stays a reference."""
    if isinstance(schema, list):
        return [_whole(item, root, inside) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast("dict[str, Any]", schema)
    reference = fields.get("$ref")
    if isinstance(reference, str) and reference not in inside:
        meant = root.get("$defs", {}).get(reference.rpartition("/")[2], {})
        return _whole(meant, root, (*inside, reference))
    if "const" in fields:  # A choice of one: a second may be added.
        fields = {"enum": [fields["const"]]} | {w: v for w, v in fields.items() if w != "const"}
    return {w: _part(w, each, root, inside) for w, each in fields.items() if w not in _REMARKS}


def _part(word: str, value: Any, root: Promise, inside: tuple[str, ...]) -> Any:
    if word == "properties":  # Names of fields are no words of the schema, whatever they are.
        fields = cast("dict[str, Any]", value)
        return {name: _whole(each, root, inside) for name, each in fields.items()}
    return value if word == "enum" else _whole(value, root, inside)


def _takes_all(before: Any, now: Any) -> bool:
    """Whether every value that fitted `before` surely fits `now`."""
    if now in (before, {}):
        return True
    old_kinds, new_kinds = before.get("anyOf", [before]), now.get("anyOf", [now])
    if "anyOf" in before or "anyOf" in now:
        return all(any(_takes_all(old, new) for new in new_kinds) for old in old_kinds)
    return all(_is_looser(word, before.get(word), now.get(word)) for word in {*before, *now})


def _is_looser(word: str, before: Any, now: Any) -> bool:
    if before == now:
        return True
    if word in _LOWER_BOUNDS | _UPPER_BOUNDS:
        if before is None or now is None:
            return now is None
        return now <= before if word in _LOWER_BOUNDS else now >= before
    if word == "enum" and before is not None:
        return now is None or all(value in now for value in before)
    if word == "type":
        return (before, now) == ("integer", "number")
    return word == "pattern" and now is None
