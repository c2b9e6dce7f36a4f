"""Writes that are the same as one before: they are not made again, and get its result.

Two forms. A model that asks for an identical write within one ask gets the first result, unless
another write touched the same resource meanwhile. And a tool may say which of its arguments name
one thing in the business (`unique_by`): for those, all runs of a tenant make one effect.

What is decided is recorded with the result (`effect_deduplicated`), so a replay asks nobody.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from interlock.base.codec import canonical
from interlock.journal.event import Draft, Entry
from interlock.journal.guard import Guard, UniqueKey
from interlock.journal.store import Store
from interlock.orchestrator.operation import OperationHost, read_object
from interlock.tools.effects import EffectKey, EffectLog
from interlock.tools.tool import Tool

__all__ = ["AskedWrites", "Claim", "Write", "deduplicated", "result_of"]

_US = timedelta(microseconds=1)
_SHORTEST_PAUSE = timedelta(milliseconds=200)
_LONGEST_PAUSE = timedelta(seconds=30)


class Write(Protocol):
    """An effect as far as others look at it."""

    key: str
    open: bool
    tool: Tool[Any, Any]
    effect_key: EffectKey
    log: EffectLog
    session: OperationHost
    # The result as it was recorded, once the effect was made.
    made: bytes | None
    # Effects that wait for this one, since they are the same.
    followers: list[Write]

    def start(self) -> None:
        """Do what is next."""
        ...


class _Asked(NamedTuple):
    write: Write
    # The arguments as the model gave them, whatever a person made of them.
    arguments: bytes
    resource: frozenset[str] | None


class AskedWrites:
    """The writes of one ask, in the order in which its model asked for them."""

    def __init__(self) -> None:
        self._asked: list[_Asked] = []

    def add(self, write: Write, arguments: dict[str, Any]) -> None:
        """Know of one more."""
        whole = canonical(arguments, f"tool {write.tool.name!r}")
        self._asked.append(_Asked(write, whole, _resource(write.tool, arguments)))

    def first(self, write: Write) -> Write | None:
        """The earlier write that this one is the same as: it was made, or is on its way."""
        place = next(n for n, one in enumerate(self._asked) if one.write is write)
        own, earlier = self._asked[place], self._asked[:place]
        for one in reversed(earlier):
            if _same(one, own):
                if _counts(one.write):
                    return one.write
            elif _counts(one.write) and _touches(one, own):
                return None
        return None


def _same(one: _Asked, other: _Asked) -> bool:
    return one.write.tool.name == other.write.tool.name and one.arguments == other.arguments


def _counts(write: Write) -> bool:
    """Whether it was made, or may have been, or still may be."""
    return write.open or write.made is not None or write.log.maybe_made


def _touches(one: _Asked, other: _Asked) -> bool:
    """Whether two writes may concern the same thing: a tool that does not say what, may."""
    if one.resource is None or other.resource is None:
        return True
    return bool(one.resource & other.resource)


def _resource(tool: Tool[Any, Any], arguments: dict[str, Any]) -> frozenset[str] | None:
    names = tool.standing.resource
    if not names:
        return None
    plain: dict[str, Any] = json.loads(canonical(arguments, f"tool {tool.name!r}"))
    return frozenset(json.dumps(plain.get(name), sort_keys=True) for name in names)


class Claim:
    """A write's claim to what it names in the business: the first of all runs makes the effect.

    The claim is part of the commit that writes the intent. One whose effect was certainly not made
    holds nothing any more; then the next number is claimed. `digest` identifies what is named.
    """

    def __init__(self, store: Store, scope: str, digest: str) -> None:
        self._store = store
        self._scope = scope
        self._digest = digest
        self._number = 0
        self._since_us = 0

    @classmethod
    def of(
        cls, store: Store, tenant: str, tool: Tool[Any, Any], arguments: dict[str, Any]
    ) -> Claim | None:
        """The claim of a call, where its tool declares one."""
        names = tool.standing.unique_by
        if not names:
            return None
        plain: dict[str, Any] = json.loads(canonical(arguments, f"tool {tool.name!r}"))
        named = canonical({name: plain.get(name) for name in names}, "a business key")
        scope = json.dumps(["effect", tenant, tool.name])
        return cls(store, scope, hashlib.sha256(named).hexdigest())

    @property
    def _key(self) -> str:
        return f"{self._digest}#{self._number}"

    def header(self) -> dict[str, Any]:
        """What the intent's header says of it."""
        return {"unique": [[self._scope, self._key]]}

    def guards(self) -> tuple[Guard, ...]:
        """What the intent is committed with."""
        return (UniqueKey(self._scope, self._key),)

    def look(self, holder: str) -> tuple[str, Entry | None] | None:
        """What became of the effect that holds the claim, in run `holder`.

        None: it was certainly not made, and the next number can be claimed. Else its effect key,
        and the event of its result once it was made.
        """
        intent = next(filter(self._claims, self._store.read(holder)))
        effect = self._store.effect(intent.event.header["effect_key"])
        if effect is None or effect.state == "failed":
            self._number += 1
            return None
        self._since_us = effect.intended_at_us
        if effect.state != "completed" or effect.result_position is None:
            return str(effect.effect_key), None
        return str(effect.effect_key), self._store.entry(effect.result_position)

    def _claims(self, entry: Entry) -> bool:
        claimed: Sequence[Sequence[str]] = entry.event.header.get("unique", ())
        return [self._scope, self._key] in [list(pair) for pair in claimed]

    def next_look_us(self, now_us: int) -> int:
        """When to look again at an effect that is still on its way.

        A quarter of its age from now, so that whoever waits for long looks rarely, also when the
        run rests in between and knows nothing of earlier looks.
        """
        pause_us = max(_SHORTEST_PAUSE // _US, (now_us - self._since_us) // 4)
        return now_us + min(pause_us, _LONGEST_PAUSE // _US)


def deduplicated(write: Write, first: str, run: str, result: bytes | None, reason: str) -> Draft:
    """The event that a write is the same as the effect `first`, which has this result."""
    header: dict[str, Any] = {
        "effect_key": write.effect_key,
        "tool": write.tool.name,
        "first": first,
        "run": run,
        "reason": reason,
        **write.tool.sensitive_in("result"),
    }
    return Draft("effect_deduplicated", write.key, header, result or b"null")


def result_of(entry: Entry) -> bytes | None:
    """The result that an event of a made effect carries; None when it was erased."""
    if entry.erased:
        return None
    if entry.event.kind == "effect_resolved":  # A person's word, which has it in an object.
        return json.dumps(read_object(entry.body).get("result")).encode()
    return entry.body or b"null"
