"""The journal's rows as JSON objects: the shapes of the HTTP API and of `--json`.

One shape per noun, the same everywhere, documented in docs/reference/http.md. Fields are only ever
added. A view in a list holds no recorded body; a single run shows its result or its failure.
Secrets and personal data are masked, unless the caller says `reveal`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, Field

from interlock.base.failure import Failure, read_failure
from interlock.journal.event import Entry, Event
from interlock.journal.rows import (
    BudgetRow,
    EffectRow,
    EffectState,
    InboxRow,
    InboxState,
    RunRow,
    RunState,
)
from interlock.journal.store import Store
from interlock.limits.amount import amount_text, unit_of
from interlock.observe.moment import at, at_or_none
from interlock.observe.sentence import sentence
from interlock.observe.shown import shown_body, shown_fields

__all__ = [
    "EFFECT_VERDICTS",
    "BudgetList",
    "BudgetView",
    "EffectList",
    "EffectView",
    "EventList",
    "EventView",
    "FailureView",
    "RaiseView",
    "RunList",
    "RunSummary",
    "RunView",
    "TaskList",
    "TaskView",
    "WaitView",
    "body_value",
    "budget_view",
    "effect_view",
    "event_view",
    "run_summary",
    "run_view",
    "task_view",
]

EFFECT_VERDICTS = ("happened", "not_happened", "given_up")
# What a task of these kinds shows beside its question; others bring their own details.
_DETAILS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "effect": {"effect_key": "effect_key", "tool": "tool", "arguments": "arguments"},
        "ask": {"asked": "asked", "problem": "problem", "loop": "details"},
        "budget": {"account": "account"},
    }
)


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class WaitView(_View):
    """One thing that a waiting run waits for."""

    key: str = Field(description="key of the operation that waits")
    kind: str = Field(description="timer, signal, decision, child, effect, retry or model")
    what: str = Field(description="what it waits for, in words")
    since: datetime
    due_at: datetime | None = Field(description="when the wait ends by itself, if ever")
    who: str = Field(description="who or what can end it")


class FailureView(_View):
    """Why a run failed, was cancelled or is parked."""

    type: str = Field(description="name of the error, or empty")
    message: str


class RunSummary(_View):
    """A run as lists show it: no recorded body."""

    id: str
    agent: str
    tenant: str
    state: RunState
    outcome: str = Field(description="business result, such as resolved or escalated; or empty")
    reason: str = Field(description="why it is parked, failed or cancelled; or empty")
    priority: int
    created_at: datetime
    updated_at: datetime
    start_after: datetime
    deadline_at: datetime | None
    wake_at: datetime | None = Field(description="when an executor looks at it again by itself")
    parent: str | None = Field(description="id of the run that started it")
    generation: int = Field(description="1, and one more with each continue_as_new")
    worker: str | None = Field(description="the executor that has it")
    code_version: str
    waits: list[WaitView]


class RunView(RunSummary):
    """One run in full."""

    explanation: str = Field(description="in one sentence: what it waits for, or how it ended")
    result: Any = Field(default=None, description="what the agent returned, once completed")
    error: FailureView | None = None


class EventView(_View):
    """One event of a run's journal. `body` is set only when it was asked for."""

    seq: int = Field(description="place in the run's stream, from 1 without gaps")
    position: int = Field(description="place in the whole journal")
    epoch: int
    kind: str
    version: int
    key: str
    at: datetime
    header: dict[str, Any]
    erased: bool = Field(default=False, description="whether the body was erased for good")
    body: Any = None


class TaskView(_View):
    """A question to a person."""

    id: str
    run: str
    key: str
    kind: str = Field(
        description="escalation, effect (an outcome that only a person knows), ask (no usable "
        "answer came from a model) or budget (one is exhausted)"
    )
    role: str = Field(description="who is asked; empty for anybody")
    state: InboxState
    question: str
    choices: list[str] = Field(description="what may be answered; empty: anything")
    details: Any
    opened_at: datetime
    due_at: datetime | None
    decided_by: str | None
    decided_at: datetime | None
    choice: str | None = Field(description="what was decided")


class EffectView(_View):
    """A write in another system. Its arguments are in the run's events, not here."""

    effect_key: str = Field(description="the key that the called system sees")
    run: str
    key: str
    tool: str
    tool_version: str
    recovery: str
    state: EffectState
    attempts: int
    reason: str
    intended_at: datetime
    settled_at: datetime | None


class BudgetView(_View):
    """What an account may spend. Amounts are exact decimal numbers, as text, in `unit`."""

    account: str
    unit: str = Field(
        description="usd, tokens, model_calls, tool_calls or seconds; empty for another"
    )
    limit: str
    held: str = Field(description="reserved for calls under way")
    spent: str
    left: str = Field(description="limit less held and spent; below 0 when calls took more")


class RaiseView(_View):
    """A budget that was raised, as it stands, and the runs that were told."""

    budget: BudgetView
    message: str
    runs: list[str]


class RunList(_View):
    """A page of runs, newest first. `next` is the `before` of the next page, or null."""

    runs: list[RunSummary]
    next: str | None


class EventList(_View):
    """A page of events in order. `next` is the `after` of the next page, or null."""

    events: list[EventView]
    next: int | None


class TaskList(_View):
    """A page of inbox tasks, oldest first. `next` is the `after` of the next page, or null."""

    tasks: list[TaskView]
    next: str | None


class EffectList(_View):
    """A page of effects, newest first. `next` is the `before` of the next page, or null."""

    effects: list[EffectView]
    next: str | None


class BudgetList(_View):
    """Accounts by name."""

    budgets: list[BudgetView]


def run_summary(row: RunRow) -> RunSummary:
    """A run for a list."""
    return RunSummary(**shown_fields(_run_fields(row)))


def run_view(store: Store, row: RunRow, now_us: int, *, reveal: bool = False) -> RunView:
    """A run in full, with its result or failure and its sentence."""
    entry = _entry_at(store, row.result_position)
    body = None if entry is None else entry.body
    result = None
    if row.state == "completed" and entry is not None:
        result = shown_body(entry.event.header, body_value(body), reveal=reveal)
    fields = {
        **_run_fields(row),
        "explanation": sentence(store, row, now_us),
        "error": None if row.state == "completed" else _failure(row, body, reveal=reveal),
    }
    return RunView(**shown_fields(fields, reveal=reveal), result=result)


def _run_fields(row: RunRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "agent": row.agent,
        "tenant": row.tenant,
        "state": row.state,
        "outcome": row.outcome,
        "reason": row.reason,
        "priority": row.priority,
        "created_at": at(row.created_at_us),
        "updated_at": at(row.updated_at_us),
        "start_after": at(row.start_after_us),
        "deadline_at": at_or_none(row.deadline_at_us),
        "wake_at": at_or_none(row.wake_at_us),
        "parent": row.parent or None,
        "generation": row.generation,
        "worker": row.worker or None,
        "code_version": row.code_version,
        "waits": [_wait_view(wait) for wait in row.waits],
    }


def _wait_view(wait: dict[str, Any]) -> WaitView:
    fields = {
        "key": wait["key"],
        "kind": wait["kind"],
        "what": wait["what"],
        "since": at(wait["since_us"]),
        "due_at": at_or_none(wait["due_at_us"]),
        "who": wait["who"],
    }
    return WaitView(**shown_fields(fields))


def _failure(row: RunRow, body: bytes | None, *, reveal: bool) -> FailureView | None:
    if row.state not in ("failed", "cancelled", "parked"):
        return None
    failure = read_failure(body) if body else Failure((), "")
    name = failure.name() if failure.types else ""
    fields = {"type": name, "message": failure.message or row.reason}
    return FailureView(**shown_fields(fields, reveal=reveal))


def event_view(entry: Entry | Event, *, bodies: bool = False, reveal: bool = False) -> EventView:
    """An event, with its body only where that is asked for."""
    event = entry.event if isinstance(entry, Entry) else entry
    shown: dict[str, Any] = {}
    if bodies and isinstance(entry, Entry):
        shown["body"] = shown_body(event.header, body_value(entry.body), reveal=reveal)
    return EventView(
        seq=event.seq,
        position=event.position,
        epoch=event.epoch,
        kind=event.kind,
        version=event.version,
        key=event.key,
        at=at(event.at_us),
        header=shown_fields(event.header, reveal=reveal),
        erased=isinstance(entry, Entry) and entry.erased,
        **shown,
    )


def task_view(
    store: Store,
    row: InboxRow,
    *,
    reveal: bool = False,
    unseal: Callable[[str, Any], Any] | None = None,
) -> TaskView:
    """An inbox task with its question, and its decision once there is one.

    With `reveal` as it will be executed: for a person who is to decide about the very values.
    `unseal` then says what the handles in a run's value stand for (`Vault.shown`).
    """
    asked = _asked(store, row, reveal=reveal)
    if reveal and unseal is not None:
        asked = unseal(row.run, asked)
    decided = _fields_at(store, row.decision_position)
    details: Any = asked.get("details")
    if row.kind in _DETAILS:
        details = {name: asked.get(field) for name, field in _DETAILS[row.kind].items()}
    fields = {
        "id": row.id,
        "run": row.run,
        "key": row.key,
        "kind": row.kind,
        "role": row.role,
        "state": row.state,
        "question": str(asked.get("question", "")),
        "choices": list(EFFECT_VERDICTS if row.kind == "effect" else asked.get("choices") or ()),
        "details": details,
        "opened_at": at(row.opened_at_us),
        "due_at": at_or_none(row.due_at_us),
        "decided_by": row.decided_by or None,
        "decided_at": at_or_none(row.decided_at_us),
        "choice": decided.get("choice") or decided.get("verdict"),
    }
    return TaskView(**shown_fields(fields, reveal=reveal))


def effect_view(row: EffectRow) -> EffectView:
    """An effect."""
    fields = {
        "effect_key": row.effect_key,
        "run": row.run,
        "key": row.key,
        "tool": row.tool,
        "tool_version": row.tool_version,
        "recovery": row.recovery,
        "state": row.state,
        "attempts": row.attempts,
        "reason": row.reason,
        "intended_at": at(row.intended_at_us),
        "settled_at": at_or_none(row.settled_at_us),
    }
    return EffectView(**shown_fields(fields))


def budget_view(row: BudgetRow) -> BudgetView:
    """An account, its amounts as people write them."""
    unit = unit_of(row.account)
    limit, held, spent, left = (
        amount_text(amount, unit) for amount in (row.limit, row.held, row.spent, row.left())
    )
    return BudgetView(
        account=row.account, unit=unit or "", limit=limit, held=held, spent=spent, left=left
    )


def body_value(body: bytes | None) -> Any:
    """A recorded body as JSON; None where there is none or it was erased."""
    return None if body is None else json.loads(body)


def _asked(store: Store, row: InboxRow, *, reveal: bool) -> dict[str, Any]:
    entry = _entry_at(store, row.position)
    value = None if entry is None else body_value(entry.body)
    shown = shown_body({} if entry is None else entry.event.header, value, reveal=reveal)
    return cast("dict[str, Any]", shown) if isinstance(shown, dict) else {}


def _fields_at(store: Store, position: int | None) -> dict[str, Any]:
    entry = _entry_at(store, position)
    value = None if entry is None else body_value(entry.body)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _entry_at(store: Store, position: int | None) -> Entry | None:
    return store.entry(position) if position is not None else None
