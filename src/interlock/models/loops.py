"""Loops of a model: the same again, and nothing new comes of it.

A model that repeats itself spends money until somebody looks. Four forms are told, each after as
many calls as `LoopLimits` says: the same call, a cycle of two or three calls, the same error of one
tool, and turns that bring nothing new. What is new decides all four: a call whose answer differs
from its last one is progress, so that polling something that changes is no loop.

The watch executes in replayed code: what it says follows from what it was told and from nothing
else. A call costs the same however long the run is; what is kept grows with the number of
different calls.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from interlock.base.codec import canonical

__all__ = [
    "LONGEST_EXCERPT",
    "Loop",
    "LoopKind",
    "LoopLimits",
    "LoopWatch",
    "SeenCall",
    "normalised_arguments",
]

LONGEST_EXCERPT: Final = 200
_LARGEST_INTEGER: Final = 2**53 - 1
_CYCLE_LENGTHS: Final = (2, 3)
_MOST_EVIDENCE: Final = 12

LoopKind = Literal["same_call", "cycle", "same_error", "stale"]


@dataclass(frozen=True, kw_only=True)
class LoopLimits:
    """When a repetition is a loop; 0 turns a form off.

    `same_call`: this many times the same tool with the same arguments and the same answer, the
    call that is about to be made included. `cycle_repeats`: a sequence of two or three calls this
    often in a row, with nothing new in the repetitions. `same_error`: one tool fails this often
    with the same error and no answer between, in different turns. `stale_steps`: this many turns in
    a row without anything new.

    Raises `ValueError` for a negative number, and for a `same_call` or `cycle_repeats` of 1: no
    call is a repetition of itself.
    """

    same_call: int = 3
    cycle_repeats: int = 2
    same_error: int = 2
    stale_steps: int = 8

    def __post_init__(self) -> None:
        if min(self.same_call, self.cycle_repeats, self.same_error, self.stale_steps) < 0:
            raise ValueError(f"{self}: a limit is 0 (off) or positive.")
        if 1 in (self.same_call, self.cycle_repeats):
            raise ValueError(f"{self}: same_call and cycle_repeats are 0 (off) or at least 2.")


@dataclass(frozen=True, kw_only=True)
class SeenCall:
    """One call as evidence. `number` counts the calls of the watch from 1.

    `arguments` is an excerpt of their normal form, `outcome` says what came of the call: an excerpt
    of the error, `same answer as before`, `new answer`, or `not made yet`.
    """

    number: int
    tool: str
    arguments: str
    outcome: str

    def as_details(self) -> dict[str, Any]:
        """The call as JSON."""
        return {
            "number": self.number,
            "tool": self.tool,
            "arguments": self.arguments,
            "outcome": self.outcome,
        }


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A loop that was found: its form, a sentence for a person, and the calls that show it.

    `calls` are the last of them, twelve at most, the oldest first.
    """

    kind: LoopKind
    sentence: str
    calls: tuple[SeenCall, ...]

    def as_details(self) -> dict[str, Any]:
        """The loop as JSON: the details of the inbox task that asks a person about it."""
        return {
            "loop": self.kind,
            "sentence": self.sentence,
            "calls": [call.as_details() for call in self.calls],
        }


@dataclass(slots=True)
class _Made:
    """A call and what came of it: `news` is None as long as there is no outcome.

    `changed` news differ from an earlier answer of the same call.
    """

    number: int
    call: str
    tool: str
    arguments: str
    news: bool | None = None
    changed: bool = False
    error: str = ""


@dataclass(slots=True)
class _Known:
    """What is known of all calls that are the same.

    `same` counts the outcomes since the last new one, that one included; `open` are the calls
    without an outcome, `last` those that may be shown.
    """

    answer: str = ""
    same: int = 0
    open: deque[_Made] = field(default_factory=deque[_Made])
    last: deque[_Made] = field(default_factory=lambda: deque[_Made](maxlen=_MOST_EVIDENCE))


@dataclass(slots=True)
class _Failing:
    """The error that a tool gave last, and in how many turns, without an answer between."""

    error: str
    turn: int
    times: int = 1
    made: tuple[_Made, ...] = ()


class LoopWatch:
    """Watches the calls of one conversation with a model.

    Tell it each call before it is made (`before_call`) and what came of it (`after_call`), in the
    order of the code. `turn` is the number of the model's answer that asked for the call, from 0,
    never falling: calls of one answer are made at once, so they cannot have learned from each
    other. Without it each call is a turn of its own.

    A loop that was found is told again by every call until `clear` forgets it, as after a person
    has said that the work should go on.
    """

    def __init__(self, limits: LoopLimits | None = None) -> None:
        self.limits = limits or LoopLimits()
        self.clear()

    def clear(self) -> None:
        """Forget everything: what follows is judged as if nothing had been before."""
        longest = max(_CYCLE_LENGTHS) * self.limits.cycle_repeats
        self._recent: deque[_Made] = deque(maxlen=max(longest, _MOST_EVIDENCE))
        self._known: dict[str, _Known] = {}
        self._answers: dict[str, None] = {}
        self._failing: dict[str, _Failing] = {}
        self._count = 0
        self._turn = -1
        self._turn_outcomes = 0
        self._turn_news = False
        self._stale = 0
        self._found: Loop | None = None

    def before_call(self, tool: str, arguments: Any, *, turn: int | None = None) -> Loop | None:
        """A call is about to be made: the loop that it would close, or None.

        `arguments` are an object of JSON values, or its text as a model writes it.
        Raises `NotRecordableError` for a value without a JSON form.
        """
        self._enter_turn(turn)
        normal = normalised_arguments(arguments)
        call = _digest(tool, normal)
        self._count += 1
        made = _Made(self._count, call, tool, _excerpt(normal))
        known = self._known.setdefault(call, _Known())
        known.open.append(made)
        known.last.append(made)
        self._recent.append(made)
        self._found = (
            self._found
            or self._stale_loop()
            or self._same_call_loop(known, made)
            or self._cycle_loop()
        )
        return self._found

    def after_call(
        self, tool: str, arguments: Any, result_digest: str | None, error: str = ""
    ) -> Loop | None:
        """A call has ended: the loop that its outcome closes, or None.

        `result_digest` is the same for the same answer (a hash of it); None for a call whose news
        is not in its answer, as with a write that answers nothing: the first time it is new.
        `error` is the text of what it failed with, and then the digest does not matter. A call
        that was not announced, or was before the last `clear`, counts for nothing.
        """
        known = self._known.get(_digest(tool, normalised_arguments(arguments)))
        if known is None or not known.open:
            return self._found
        made = known.open.popleft()
        self._settle(known, made, result_digest, _one_line(error))
        self._found = self._found or self._same_error_loop(made)
        return self._found

    # What is new.

    def _enter_turn(self, turn: int | None) -> None:
        if turn is not None and turn == self._turn:
            return
        if self._turn_outcomes:
            self._stale = 0 if self._turn_news else self._stale + 1
        self._turn = self._turn + 1 if turn is None else turn
        self._turn_outcomes = 0
        self._turn_news = False

    def _settle(self, known: _Known, made: _Made, digest: str | None, error: str) -> None:
        answer = _digest("error", error) if error else _digest("answer", digest or "")
        made.error = error
        made.news = self._is_new(known, made.tool, answer, told=bool(error) or digest is not None)
        made.changed = made.news and known.answer != ""
        known.same = 1 if made.news else known.same + 1
        known.answer = answer
        self._turn_outcomes += 1
        self._turn_news = self._turn_news or made.news
        if not error:
            self._failing.pop(made.tool, None)

    def _is_new(self, known: _Known, tool: str, answer: str, *, told: bool) -> bool:
        """Against the last answer of the same call; the first time, against all of its tool."""
        if known.answer:
            return answer != known.answer
        seen = _digest(tool, answer)
        if not told or seen not in self._answers:
            self._answers[seen] = None
            return True
        return False

    # The four forms.

    def _same_call_loop(self, known: _Known, made: _Made) -> Loop | None:
        times = known.same + len(known.open)
        if not self.limits.same_call or times < self.limits.same_call:
            return None
        sentence = (
            f"The model calls tool {made.tool!r} with the same arguments, {made.arguments}, "
            f"{times} times, this one included, and nothing new came of it."
        )
        return _loop("same_call", sentence, list(known.last)[-times:])

    def _cycle_loop(self) -> Loop | None:
        repeats = self.limits.cycle_repeats
        if not repeats:
            return None
        for length in _CYCLE_LENGTHS:
            if len(self._recent) < length * repeats:
                continue
            last = list(self._recent)[-length * repeats :]
            if _is_cycle(last, length):
                names = " → ".join(f"{made.tool}({made.arguments})" for made in last[:length])
                sentence = (
                    f"The model goes {repeats} times through the same {length} calls, and nothing "
                    f"new comes of it: {names}."
                )
                return _loop("cycle", sentence, last)
        return None

    def _same_error_loop(self, made: _Made) -> Loop | None:
        if not made.error or not self.limits.same_error:
            return None
        failing = self._failing.get(made.tool)
        if failing is None or failing.error != made.error:
            failing = self._failing[made.tool] = _Failing(made.error, self._turn)
        elif failing.turn != self._turn:
            failing.times += 1
            failing.turn = self._turn
        failing.made = (*failing.made, made)[-_MOST_EVIDENCE:]
        if failing.times < self.limits.same_error:
            return None
        sentence = (
            f"Tool {made.tool!r} failed in {failing.times} turns with the same error: "
            f"{_excerpt(made.error)}"
        )
        return _loop("same_error", sentence, failing.made)

    def _stale_loop(self) -> Loop | None:
        if not self.limits.stale_steps or self._stale < self.limits.stale_steps:
            return None
        sentence = f"{self._stale} turns of the model in a row brought nothing new."
        return _loop("stale", sentence, list(self._recent)[-self._stale - 1 :])


def normalised_arguments(arguments: Any) -> str:
    """Arguments in the form in which they are compared: canonical JSON (RFC 8785).

    The order of keys, the difference of 1 and 1.0 and white space around texts do not matter; upper
    and lower case do. A text is read as JSON where it is a JSON object; no arguments are an empty
    one. Raises `NotRecordableError` for a value without a JSON form.
    """
    if isinstance(arguments, str):
        arguments = _read(arguments)
    return canonical(_trimmed(arguments or {}), "a call's arguments").decode()


def _read(text: str) -> Any:
    try:
        value: Any = json.loads(text) if text.strip() else {}
    except ValueError:
        return text
    return cast("Any", value) if isinstance(value, dict) else text


def _trimmed(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Mapping):
        return {name: _trimmed(item) for name, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_trimmed(item) for item in cast("list[Any]", value)]
    # Canonical JSON knows only what a double holds exactly, and models write longer identifiers.
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return f"integer {value}"
    return value


def _is_cycle(calls: Sequence[_Made], length: int) -> bool:
    """Whether these calls are the first `length` of them again and again, with the same answers."""
    first = calls[:length]
    if all(made.call == first[0].call for made in first):
        return False  # That is one call, which has a limit of its own.
    return all(
        made.call == first[place % length].call and not made.changed
        for place, made in enumerate(calls)
    )


def _loop(kind: LoopKind, sentence: str, calls: Sequence[_Made]) -> Loop:
    return Loop(kind=kind, sentence=sentence, calls=tuple(map(_seen, calls[-_MOST_EVIDENCE:])))


def _seen(made: _Made) -> SeenCall:
    return SeenCall(
        number=made.number, tool=made.tool, arguments=made.arguments, outcome=_outcome(made)
    )


def _outcome(made: _Made) -> str:
    if made.news is None:
        return "not made yet"
    if made.error:
        return _excerpt(f"error: {made.error}")
    return "new answer" if made.news else "same answer as before"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _excerpt(text: str) -> str:
    line = _one_line(text)
    return line if len(line) <= LONGEST_EXCERPT else f"{line[:LONGEST_EXCERPT]}…"


def _digest(*texts: str) -> str:
    """One short text for several, so that what is kept of a call does not grow with it."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
