"""What a store answers: projections of the journal as immutable rows.

Times are microseconds since 1970 (UTC). A row never holds a body: bodies are read by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

__all__ = [
    "BudgetRow",
    "EffectRow",
    "EffectState",
    "Head",
    "InboxRow",
    "InboxState",
    "Mail",
    "QueueGroup",
    "RunFilter",
    "RunRow",
    "RunState",
]

RunState = Literal["queued", "running", "waiting", "parked", "completed", "failed", "cancelled"]
EffectState = Literal["intended", "completed", "failed", "unknown"]
InboxState = Literal["open", "decided", "expired", "withdrawn"]


class Head(NamedTuple):
    """The end of a stream."""

    seq: int
    epoch: int
    hash: bytes


class RunRow(NamedTuple):
    """A run as its events have it. Times are microseconds since 1970 (UTC).

    `wake_at_us`: when an executor should look at a run that nobody executes (0: now).
    `waits` is what a waiting run waits for: JSON objects with `key`, `kind`, `what`, `since_us`,
    `due_at_us`, `who`.
    `generation` counts `continue_as_new`; `generation_seq` is the event that began it.
    `claims` counts claims without a new event between; `claim_seq` is the last claim's event.
    """

    id: str
    agent: str
    tenant: str
    state: RunState
    outcome: str
    priority: int
    created_at_us: int
    updated_at_us: int
    start_after_us: int
    deadline_at_us: int | None
    wake_at_us: int | None
    parent: str
    parent_key: str
    close_policy: str
    generation: int
    generation_seq: int
    claims: int
    claim_seq: int
    worker: str
    code_version: str
    reason: str
    waits: Sequence[dict[str, Any]]
    input_position: int
    result_position: int | None


class RunFilter(NamedTuple):
    """Which runs to list, newest first. `before` is a run id to continue after."""

    states: tuple[RunState, ...] = ()
    agent: str = ""
    tenant: str = ""
    parent: str = ""
    before: str = ""
    limit: int = 50


class Mail(NamedTuple):
    """An untaken message.

    `kind`: signal, cancel, decision, resolution, child, retry, budget_raised.
    """

    position: int
    message_id: str
    run: str
    kind: str
    name: str
    header: dict[str, Any]
    body: bytes | None
    at_us: int


class InboxRow(NamedTuple):
    """A task for a person. Its question is the body of the event at `position`."""

    id: str
    run: str
    key: str
    kind: str
    role: str
    state: InboxState
    opened_at_us: int
    due_at_us: int | None
    decided_by: str
    decided_at_us: int | None
    position: int
    decision_position: int | None


class EffectRow(NamedTuple):
    """A write that was intended. `effect_key` is what the called system sees."""

    effect_key: str
    run: str
    key: str
    tool: str
    tool_version: str
    recovery: str
    state: EffectState
    attempts: int
    reason: str
    intended_at_us: int
    settled_at_us: int | None
    position: int
    result_position: int | None


class BudgetRow(NamedTuple):
    """What an account may spend, what is held for calls under way, and what is spent.

    All three are integers in the account's own unit. `held + spent` can be over the limit: a call
    may have taken more than its worst case.
    """

    account: str
    limit: int
    held: int
    spent: int

    def left(self) -> int:
        """What may still be reserved; below 0 when more was taken than held."""
        return self.limit - self.held - self.spent


class QueueGroup(NamedTuple):
    """Queued runs that admission treats alike."""

    priority: int
    tenant: str
    agent: str
