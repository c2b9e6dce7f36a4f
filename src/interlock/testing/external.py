"""An external system that keeps its own truth: what was really made, how often, and when.

Its answers follow a script, so that calls are refused, get lost before or after the effect, come
late or never. What has been sent takes effect even when the process that sent it is gone.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from interlock.testing.program import Node, nodes_of
from interlock.testing.virtual_clock import Surroundings
from interlock.tools.effects import (
    CANNOT_TELL,
    NOT_HAPPENED,
    EffectKey,
    Happened,
    LookupResult,
    NotMadeError,
)

__all__ = [
    "SETTLE_MS",
    "TIMEOUT_MS",
    "ExternalSystem",
    "LostError",
    "Operation",
    "Outside",
    "Sending",
    "SilentOutside",
]

TIMEOUT_MS: Final = 200
SETTLE_MS: Final = 500
_FOREVER_SECONDS: Final = 1e6


class LostError(Exception):
    """The connection broke; whether the effect was made is not known."""


@dataclass(frozen=True, kw_only=True)
class Sending:
    """One call that reached the network: `position` is the journal's last durable event then."""

    name: str
    effect_key: str
    position: int


@dataclass(kw_only=True)
class Operation:
    """One effect of a program as the external system sees it."""

    name: str
    recovery: str
    script: list[dict[str, Any]]
    refused: bool
    lookups: list[str]
    arrivals: int = 0
    made: list[str] = field(default_factory=list[str])

    def next_answer(self) -> Mapping[str, Any]:
        """How the next call is answered."""
        if self.refused:
            # By its name, so that it is the same for every program that was ever drawn.
            final = zlib.crc32(self.name.encode()) % 2
            return {"answer": "refused_for_good" if final else "refused", "ms": 5, "after_ms": 0}
        index, self.arrivals = self.arrivals, self.arrivals + 1
        return self.script[index] if index < len(self.script) else _WELL


_WELL: Final[Mapping[str, Any]] = {"answer": "ok", "ms": 5, "after_ms": 5}


class Outside:
    """What a generated agent's steps and tools reach."""

    async def call(self, name: str, key: EffectKey) -> str:
        """Make an effect. Answers its result."""
        raise NotImplementedError

    def call_now(self, name: str, key: EffectKey) -> str:
        """As `call`, for a function that runs in a thread."""
        raise NotImplementedError

    async def look_up(self, name: str) -> LookupResult[str]:
        """Say whether an effect was made."""
        raise NotImplementedError

    def attempt(self, name: str, fails: int) -> str:
        """Do harmless work that fails the first `fails` times."""
        raise NotImplementedError

    def introduce(self, label: str, run: str) -> None:
        """Tell the outside which run executes which program. Not recorded, so repeated."""
        raise NotImplementedError


class ExternalSystem(Outside):
    """The truth about all effects of one program."""

    def __init__(self, root: Node, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self.operations = {n["name"]: _operation(n) for n in nodes_of(root) if n["do"] == "write"}
        self.sendings: list[Sending] = []
        self.attempts: dict[str, int] = {}
        self.runs: dict[str, str] = {}
        self.position = 0
        self.dead = False
        self.violations: list[str] = []

    async def call(self, name: str, key: EffectKey) -> str:
        """One call over a slow network."""
        operation = self._sent(name, key)
        entry = operation.next_answer()
        answer = entry["answer"]
        if answer in ("ok", "made_then_lost"):
            self._make_after(entry["after_ms"], operation, key)
        elif answer == "late":
            self._make_after(TIMEOUT_MS + entry["after_ms"] * 5, operation, key)
        if answer in ("late", "silent"):
            await asyncio.sleep(_FOREVER_SECONDS)
        await asyncio.sleep((entry["ms"] + entry["after_ms"]) / 1000)
        return _answered(answer, name)

    def call_now(self, name: str, key: EffectKey) -> str:
        """One call from a thread: it takes effect at once or not at all."""
        operation = self._sent(name, key)
        answer = operation.next_answer()["answer"]
        if answer not in ("refused", "refused_for_good", "lost"):
            self._make(operation, key)
        return _answered("ok" if answer in ("late", "silent") else answer, name)

    async def look_up(self, name: str) -> LookupResult[str]:
        """The truth of this moment, unless the script says otherwise."""
        operation = self.operations[name]
        how = operation.lookups.pop(0) if operation.lookups else "truth"
        await asyncio.sleep(0.01)
        if how == "fails":
            raise LostError("the lookup got no answer")
        if how == "cannot_tell":
            return CANNOT_TELL
        return Happened(_result(name)) if operation.made else NOT_HAPPENED

    def attempt(self, name: str, fails: int) -> str:
        """Fail `fails` times, then answer."""
        self._alive(name)
        count = self.attempts[name] = self.attempts.get(name, 0) + 1
        if count <= fails:
            raise LostError(f"attempt {count} of {name} fails")
        return name

    def introduce(self, label: str, run: str) -> None:
        """Remember who executes what."""
        known = self.runs.setdefault(label, run)
        if known != run:
            self.violations.append(f"1: program {label} is executed by two runs: {known} and {run}")

    def _sent(self, name: str, key: EffectKey) -> Operation:
        self._alive(name)
        self.sendings.append(Sending(name=name, effect_key=key, position=self.position))
        return self.operations[name]

    def _alive(self, name: str) -> None:
        if self.dead:
            self.violations.append(f"2: {name} was called by a process that is dead")

    def _make_after(self, delay_ms: int, operation: Operation, key: str) -> None:
        self._surroundings.after(delay_ms * 1000, lambda: self._make(operation, key))

    def _make(self, operation: Operation, key: str) -> None:
        if operation.recovery != "key" or key not in operation.made:
            operation.made.append(key)


class SilentOutside(Outside):
    """For replays: whatever is called is noted as a violation."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def call(self, name: str, key: EffectKey) -> str:
        """Note the call."""
        return self._note("effect", name)

    def call_now(self, name: str, key: EffectKey) -> str:
        """Note the call."""
        return self._note("effect", name)

    async def look_up(self, name: str) -> LookupResult[str]:
        """Note the call."""
        self._note("lookup", name)
        return CANNOT_TELL

    def attempt(self, name: str, fails: int) -> str:
        """Note the call."""
        return self._note("step", name)

    def introduce(self, label: str, run: str) -> None:
        """Nothing: this is no call."""

    def _note(self, what: str, name: str) -> str:
        self.called.append(f"{what} {name}")
        return name


def _operation(node: Node) -> Operation:
    return Operation(
        name=node["name"],
        recovery=node["recovery"],
        script=list(node["script"]),
        refused=node["refused"],
        lookups=list(node["lookups"]),
    )


def _result(name: str) -> str:
    return f"made {name}"


def _answered(answer: str, name: str) -> str:
    if answer in ("refused", "refused_for_good"):
        raise NotMadeError(f"{name} is refused", retry=answer == "refused")
    if answer in ("lost", "made_then_lost"):
        raise LostError(f"the answer to {name} is lost")
    return _result(name)
