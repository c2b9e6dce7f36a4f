"""The effect protocol as data: what a tool declares, what an effect's journal says, what is next.

An effect is a write that a tool makes in another system. Its intent is in the journal before the
call and its outcome after it. Between the two it can be *unknown*, and its tool's recovery says how
that ends: call again with the same key (`key`), ask the system (`lookup`), call again because that
changes nothing (`repeatable`), or ask a person (`never`).

`next_action` is a pure function of what the journal says: the same after a crash as before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, NewType, TypeVar

__all__ = [
    "CANNOT_TELL",
    "NOT_HAPPENED",
    "Action",
    "Autonomy",
    "CannotTell",
    "EffectClass",
    "EffectKey",
    "EffectLog",
    "Happened",
    "LookupResult",
    "NotHappened",
    "NotMadeError",
    "Recovery",
    "next_action",
]

T = TypeVar("T")

EffectKey = NewType("EffectKey", str)
EffectClass = Literal["read", "write", "irreversible"]
Autonomy = Literal["suggest", "draft", "act"]
Recovery = Literal["key", "lookup", "repeatable", "never"]


class NotMadeError(Exception):
    """A tool raises this (or an exception it declares) when the effect was certainly not made.

    The call is made again as often as the tool's `attempts` say. `retry=False` adds that another
    attempt would end the same: `run.call` raises `EffectFailedError` at once.
    """

    retry = True

    def __init__(self, *arguments: object, retry: bool = True) -> None:
        super().__init__(*arguments)
        self.retry = retry


@dataclass(frozen=True)
class Happened(Generic[T]):
    """A lookup found the effect; `value` is what the call would have returned."""

    value: T


@dataclass(frozen=True)
class NotHappened:
    """A lookup established that the effect was not made."""


@dataclass(frozen=True)
class CannotTell:
    """A lookup could not establish either."""

    reason: str = ""


LookupResult = Happened[T] | NotHappened | CannotTell
NOT_HAPPENED: Final = NotHappened()
CANNOT_TELL: Final = CannotTell()

Action = Literal["intend", "send", "settle", "lookup", "ask_person", "wait_for_person", "done"]
_MAX_AUTOMATIC_RECOVERIES: Final = 5


@dataclass
class EffectLog:
    """What the journal says of one effect so far: a fold of its events.

    `intents` counts `effect_intended`. `sent` tells whether this very process may send for the last
    intent: it is never true after a replay, because then a call may have left already.
    """

    intents: int = 0
    failures: int = 0
    unknowns: int = 0
    interruptions: int = 0
    cannot_tells: int = 0
    state: Literal["new", "intended", "unknown", "not_made", "settled"] = "new"
    unknown_since_us: int = 0
    not_before_us: int = 0
    # An earlier call may have been made: that a later one was not made says nothing of it.
    maybe_made: bool = False
    # The last call was refused for good: calling again finds nothing out about an earlier one.
    refused: bool = False
    task: str = ""
    asks: int = 0
    verdict: str = ""

    @property
    def asked(self) -> bool:
        """Whether a person has been asked, and has not answered yet."""
        return bool(self.task)

    def apply(self, kind: str, header: Mapping[str, Any], at_us: int) -> None:
        """Fold one of the effect's events in."""
        match kind:
            case "effect_intended":
                self.intents += 1
                self.state = "intended"
            case "effect_unknown":
                self.unknowns += 1
                # That a process ended says nothing about the effect or about its system.
                self.interruptions += header.get("reason") == "interrupted"
                self.state = "unknown"
                self.maybe_made = True
                self.unknown_since_us = at_us
            case "effect_attempt_failed":
                self.failures += 1
                self.state = "unknown" if self.maybe_made else "not_made"
                self.refused = bool(header.get("final"))
                self.not_before_us = int(header.get("retry_at_us") or 0)
            case "effect_looked_up":
                self._looked_up(header["verdict"], at_us)
            case "task_opened":
                self.task = header["task"]
                self.asks += 1
            case "resolution_refused" if header.get("task") == self.task:
                self.task = ""
            case "effect_resolved":
                self.verdict = header["verdict"]
                self.task = ""
                self.state = "settled"
                if self.verdict == "not_happened":
                    self._certainly_not_made()
            case "effect_completed" | "effect_failed":
                self.state = "settled"
            case _:
                pass

    def _looked_up(self, verdict: str, at_us: int) -> None:
        if verdict == "not_happened":
            self._certainly_not_made()
        elif verdict == "cannot_tell":
            self.cannot_tells += 1
            self.unknown_since_us = at_us

    def _certainly_not_made(self) -> None:
        self.state = "not_made"
        self.maybe_made = self.refused = False
        self.not_before_us = 0

    def recoveries(self) -> int:
        """How often recovery was tried without success."""
        failures = self.failures if self.maybe_made else 0
        return self.unknowns - self.interruptions + self.cannot_tells + failures


def next_action(log: EffectLog, recovery: Recovery, settle_us: int, now_us: int) -> Action:
    """What to do next with an effect, given its journal.

    `settle_us`: how long after an unknown outcome the called system may still act on the call.
    A recovery never starts earlier, and a lookup's *not happened* counts only then.
    """
    match log.state:
        case "settled":
            return "done"
        case "new":
            return "intend"
        case "not_made":
            return "intend" if now_us >= log.not_before_us else "settle"
        case "intended":
            return "send"
        case "unknown":
            return _recover(log, recovery, settle_us, now_us)


def _recover(log: EffectLog, recovery: Recovery, settle_us: int, now_us: int) -> Action:
    if log.asked:
        return "wait_for_person"
    exhausted = log.recoveries() > _MAX_AUTOMATIC_RECOVERIES
    pointless = log.refused and recovery != "lookup"
    if recovery == "never" or exhausted or pointless:
        return "ask_person"
    if now_us < max(log.unknown_since_us + settle_us, log.not_before_us):
        return "settle"
    return "lookup" if recovery == "lookup" else "intend"
