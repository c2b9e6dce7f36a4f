"""What a group of commits is judged against, and how a group says what it needs of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interlock.journal.guard import (
    Commit,
    HoldsBudget,
    NewMessage,
    NoMailSince,
    RunIn,
    StreamAbsent,
    TakesMail,
    TaskOpen,
    UniqueKey,
    UsesApproval,
)

__all__ = [
    "Approval",
    "Budget",
    "Hold",
    "Message",
    "Needs",
    "Snapshot",
    "StreamHead",
    "Task",
    "needs_of",
]


class StreamHead:
    """A stream's end while groups are judged."""

    __slots__ = ("epoch", "hash", "id", "name", "seq")

    def __init__(self, name: str, id: int, seq: int, epoch: int, hash: bytes) -> None:
        self.name = name
        self.id = id
        self.seq = seq
        self.epoch = epoch
        self.hash = hash


@dataclass(slots=True)
class Message:
    """A message that was sent, and whether it was taken."""

    run: str
    taken: bool


@dataclass(slots=True)
class Task:
    """A task for a person."""

    run: str
    state: str
    decided_by: str


@dataclass(slots=True)
class Budget:
    """What an account may spend, what is held and what is spent."""

    limit: int
    held: int
    spent: int

    def left(self) -> int:
        """What may still be reserved."""
        return self.limit - self.held - self.spent


@dataclass(slots=True)
class Hold:
    """A reservation on an account."""

    account: str
    amount: int
    settled: bool


@dataclass(slots=True)
class Approval:
    """An approval of one exact call; without `expires_at_us` it does not expire."""

    call_hash: str
    expires_at_us: int | None
    consumed: bool


@dataclass(slots=True)
class Snapshot:
    """The stored state that a group is judged against. What was asked for and is absent is absent.

    `unread` has an entry per run whose unread mail was asked for: message id to position.
    """

    last_position: int
    last_at_us: int
    last_stream: int
    heads: dict[str, StreamHead]
    unique: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    runs: dict[str, str] = field(default_factory=dict[str, str])
    messages: dict[str, Message] = field(default_factory=dict[str, Message])
    unread: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    tasks: dict[str, Task] = field(default_factory=dict[str, Task])
    budgets: dict[str, Budget] = field(default_factory=dict[str, Budget])
    holds: dict[str, Hold] = field(default_factory=dict[str, Hold])
    approvals: dict[str, Approval] = field(default_factory=dict[str, Approval])


@dataclass(slots=True)
class Needs:
    """What of the stored state a group asks for; `guarded`: whether any commit has guards."""

    guarded: bool = False
    streams: dict[str, None] = field(default_factory=dict[str, None])
    unique: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    runs: set[str] = field(default_factory=set[str])
    messages: set[str] = field(default_factory=set[str])
    unread: dict[str, int] = field(default_factory=dict[str, int])
    tasks: set[str] = field(default_factory=set[str])
    accounts: set[str] = field(default_factory=set[str])
    holds: set[str] = field(default_factory=set[str])
    approvals: set[str] = field(default_factory=set[str])


def needs_of(items: Sequence[Commit]) -> Needs:
    """What must be loaded to judge these commits."""
    needs = Needs()
    streams = needs.streams
    for appends, guards in items:
        for append in appends:
            streams[append[0]] = None
        if guards:
            needs.guarded = True
            for guard in guards:
                _NEEDS[type(guard)](needs, guard)
    if needs.accounts or needs.unread:
        _need_for_drafts(needs, items)
    return needs


def _need_for_drafts(needs: Needs, items: Sequence[Commit]) -> None:
    for appends, _ in items:
        for append in appends:
            for draft in append.drafts:
                if draft.kind == "budget_settled":
                    needs.holds.add(draft.header["hold"])
                elif draft.kind == "budget_reserved":
                    # The account too: a hold counts only on one that was set.
                    needs.holds.add(draft.header["hold"])
                    needs.accounts.add(draft.header["account"])
                elif draft.kind == "mail_sent":
                    needs.messages.add(draft.key)


def _need_unread(needs: Needs, guard: NoMailSince) -> None:
    known = needs.unread.get(guard.run, guard.position)
    needs.unread[guard.run] = min(known, guard.position)


_NEEDS: Mapping[type, Callable[[Needs, Any], None]] = {
    StreamAbsent: lambda needs, guard: needs.streams.setdefault(guard.stream),
    UniqueKey: lambda needs, guard: needs.unique.add((guard.scope, guard.key)),
    RunIn: lambda needs, guard: needs.runs.add(guard.run),
    TakesMail: lambda needs, guard: needs.messages.add(guard.message_id),
    NewMessage: lambda needs, guard: needs.messages.add(guard.message_id),
    NoMailSince: _need_unread,
    TaskOpen: lambda needs, guard: needs.tasks.add(guard.task),
    HoldsBudget: lambda needs, guard: needs.accounts.add(guard.account),
    UsesApproval: lambda needs, guard: needs.approvals.add(guard.approval),
}
