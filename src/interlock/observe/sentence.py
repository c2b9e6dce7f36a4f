"""One sentence for every run.

For a run that is not finished it says what the run waits for, since when, who can unblock it and
what happens at the deadline; for a finished one how and when it ended. It never shows a payload,
only the message of a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from interlock.base.failure import read_failure
from interlock.journal.rows import EffectRow, RunRow
from interlock.journal.store import Store
from interlock.observe.moment import how_long, since, when
from interlock.observe.operation_key import is_time_limit, operation_name
from interlock.observe.wait import wait_in_words

__all__ = ["sentence"]

_MOST_WAITS: Final = 5
_Wait = Mapping[str, Any]


def sentence(store: Store, row: RunRow, now_us: int) -> str:
    """The run in one sentence, as of `now_us`."""
    tell = _TELL[row.state]
    return f"Run {row.id} of agent {row.agent!r} {tell(store, row, now_us)}."


def _queued(_store: Store, row: RunRow, now_us: int) -> str:
    if row.start_after_us > now_us:
        begin = f"is queued and starts at {since(row.start_after_us, now_us)}, not before"
    else:
        begin = (
            f"is queued since {since(row.updated_at_us, now_us)} and starts when an executor has a "
            "place for it"
        )
    return f"{begin}; {_who_frees(row)}{_deadline(row, now_us, 'it is cancelled')}"


def _who_frees(row: RunRow) -> str:
    return f"nobody has to do anything but keep an executor up (`interlock serve`){_cancel(row)}"


def _cancel(row: RunRow) -> str:
    return f", and `interlock cancel {row.id}` ends it"


def _running(store: Store, row: RunRow, now_us: int) -> str:
    open_effects = store.effects(("intended", "unknown"), run=row.id, limit=_MOST_WAITS)
    doing = _effects_in_words([e for e in open_effects if e.state in ("intended", "unknown")])
    return (
        f"is being executed by worker {row.worker!r} since {since(row.updated_at_us, now_us)}"
        f"{doing}; nobody has to do anything, and if that process ends, the next executor goes on "
        f"with it{_deadline(row, now_us, 'it is cancelled')}"
    )


def _effects_in_words(effects: list[EffectRow]) -> str:
    if not effects:
        return ""
    names = ", ".join(f"{e.effect_key} of tool {e.tool!r}" for e in effects)
    return f" and waits for the outcome of effect {names}"


def _waiting(store: Store, row: RunRow, now_us: int) -> str:
    waits = list(row.waits)
    if row.wake_at_us == 0:
        tail = "; a message has come and the next executor goes on with it"
    else:
        tail = _deadline(row, now_us, "it is cancelled, whatever it waits for")
    if not waits:
        return f"waits since {since(row.updated_at_us, now_us)}{tail}"
    if len(waits) == 1:
        return f"waits for {_one_wait(store, row, waits[0], now_us)}{tail}"
    shown = "; ".join(f"({n}) {_one_wait(store, row, w, now_us)}" for n, w in _numbered(waits))
    more = f"; and {len(waits) - _MOST_WAITS} more" if len(waits) > _MOST_WAITS else ""
    return f"waits for {len(waits)} things: {shown}{more}{tail}"


def _numbered(waits: list[dict[str, Any]]) -> enumerate[dict[str, Any]]:
    return enumerate(waits[:_MOST_WAITS], 1)


def _one_wait(store: Store, row: RunRow, wait: _Wait, now_us: int) -> str:
    about = _task_kind(store, wait)
    what = f"{wait_in_words(wait)}{_WHY_ASKED.get(about, '')}"
    return (
        f"{what} since {since(wait['since_us'], now_us)}; "
        f"{_unblocked(row, wait, about)}; {_at_due(wait, wait['due_at_us'], now_us, about)}"
    )


_WHY_ASKED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ask": " (no usable answer came from a model)",
        "budget": " (a budget is exhausted)",
    }
)
_OFFERED: Final[Mapping[str, str]] = MappingProxyType(
    {"ask": "retry|answer|give_up", "budget": "top_up|finish|stop"}
)


def _task_kind(store: Store, wait: _Wait) -> str:
    """The kind of the inbox task that is waited for, or empty."""
    task = store.inbox_task(_task(wait)) if wait["kind"] == "decision" else None
    return "" if task is None else task.kind


def _task(wait: _Wait) -> str:
    return str(wait["what"]).rpartition(" ")[2]


def _unblocked(row: RunRow, wait: _Wait, about: str) -> str:
    who = str(wait["who"])
    match wait["kind"]:
        case "signal":
            name = operation_name(wait["key"]).removeprefix("wait:")
            return f"{who} can unblock it (`interlock signal {row.id} {name}`)"
        case "decision":
            choice = _OFFERED.get(about, "CHOICE")
            return f"{who} can unblock it (`interlock decide {_task(wait)} {choice}`)"
        case "child":
            return f"{who} unblocks it by ending"
        case "effect" if who != "time":
            return f"a person can unblock it (`{who} --happened`, `--not-happened` or `--give-up`)"
        case _:
            return "time unblocks it, nobody has to do anything"


_AT_DUE: Final[Mapping[str, str]] = {
    "timer": "it goes on by itself",
    "signal": "the wait times out and the code goes on without the signal",
    "decision": "the question expires and the code goes on without an answer",
    "budget": "the day has a new budget and the call is tried again",
    "retry": "the next attempt is made",
    "model": "its turn comes",
    "effect": "the recovery of the effect begins",
}


def _at_due(wait: _Wait, due_us: int | None, now_us: int, about: str) -> str:
    if due_us is None:
        return "it has no deadline"
    happens = _AT_DUE.get(about) or _AT_DUE.get(wait["kind"], "it goes on")
    if is_time_limit(wait["key"]):
        happens = "the code that it limits is cancelled"
    if due_us <= now_us:
        return f"{happens} as soon as an executor is up, for it was due at {since(due_us, now_us)}"
    return f"{happens} at {since(due_us, now_us)}"


def _deadline(row: RunRow, now_us: int, happens: str) -> str:
    if row.deadline_at_us is None:
        return ""
    if row.deadline_at_us <= now_us:
        late = since(row.deadline_at_us, now_us)
        return f"; its deadline was {late} and {happens} as soon as an executor is up"
    return f"; if it is not finished by {since(row.deadline_at_us, now_us)}, {happens}"


def _parked(store: Store, row: RunRow, now_us: int) -> str:
    why = _failure_message(store, row)
    by_itself = _deadline(row, now_us, "it is cancelled") or "; nothing happens by itself"
    return (
        f"is parked since {since(row.updated_at_us, now_us)} because of {row.reason!r}{why}; an "
        f"operator can unblock it (`interlock retry {row.id}`) or end it (`interlock cancel "
        f"{row.id}`){by_itself}"
    )


def _failed(store: Store, row: RunRow, _now_us: int) -> str:
    why = _failure_message(store, row)
    return f"failed at {when(row.updated_at_us)}{_after(row)} because of {row.reason!r}{why}"


def _cancelled(store: Store, row: RunRow, _now_us: int) -> str:
    reason = row.reason or "no reason"
    left = _left_unknown(store, row)
    return f"was cancelled at {when(row.updated_at_us)}{_after(row)}: {reason}{left}"


def _left_unknown(store: Store, row: RunRow) -> str:
    """Effects that nobody follows any more, as a run that was parked can leave."""
    effects = store.effects(("intended", "unknown"), run=row.id, limit=_MOST_WAITS)
    if not effects:
        return ""
    asked = ", ".join(f"`interlock effects resolve {e.effect_key}` ({e.tool!r})" for e in effects)
    return f"; what became of its effects is unknown, and a person can say so: {asked}"


def _completed(_store: Store, row: RunRow, _now_us: int) -> str:
    outcome = f" with outcome {row.outcome!r}" if row.outcome else ""
    return f"completed{outcome} at {when(row.updated_at_us)}{_after(row)}"


def _after(row: RunRow) -> str:
    return f", {how_long(row.updated_at_us - row.created_at_us)} after it was queued"


def _failure_message(store: Store, row: RunRow) -> str:
    entry = store.entry(row.result_position) if row.result_position is not None else None
    if entry is None or entry.body is None:
        return ""
    message = read_failure(entry.body).message.strip().rstrip(".")
    return f" ({message})" if message else ""


_TELL: Final[Mapping[str, Callable[[Store, RunRow, int], str]]] = {
    "queued": _queued,
    "running": _running,
    "waiting": _waiting,
    "parked": _parked,
    "completed": _completed,
    "failed": _failed,
    "cancelled": _cancelled,
}
