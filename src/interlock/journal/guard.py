"""What a writer asks of the journal: appends, the guards that judge them, and the answers.

A guard is judged inside the transaction that writes its commit, against the stored state and the
commits before it in the same group. Its refusal names a reason that a caller can act on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from interlock.journal.event import Draft
from interlock.journal.rows import RunState

__all__ = [
    "Append",
    "Commit",
    "Committed",
    "Guard",
    "HoldsBudget",
    "NewMessage",
    "NoMailSince",
    "Refused",
    "Result",
    "RunIn",
    "StreamAbsent",
    "TakesMail",
    "TaskOpen",
    "UniqueKey",
    "UsesApproval",
]


class Append(NamedTuple):
    """Events for one stream, in order.

    `epoch`: the epoch that the writer believes to hold; the append is refused as `stale_epoch`
    when the stream's is another. None for a stream that nobody owns (mail, tenant, schedule).
    `raise_epoch`: a claim: the stream's epoch must equal `epoch` and is raised by one, and the
    events carry the raised one.
    `after_seq`: the head that the writer believes to follow; refused as `wrong_seq` otherwise.
    None appends at whatever the head is.
    """

    stream: str
    drafts: Sequence[Draft]
    epoch: int | None = None
    raise_epoch: bool = False
    after_seq: int | None = None


class StreamAbsent(NamedTuple):
    """Refused as `stream_exists` when the stream has any event."""

    stream: str


class UniqueKey(NamedTuple):
    """Refused as `key_taken` (`holder` names who has it) when (scope, key) is claimed.

    The claim itself is written by an event's header: `"unique": [[scope, key]]`, held by the
    event's stream. A commit that claims must carry this guard for the same pair.
    """

    scope: str
    key: str


class RunIn(NamedTuple):
    """Refused as `run_state` (detail: the state) when the run is in none of `states`."""

    run: str
    states: tuple[RunState, ...]


class TakesMail(NamedTuple):
    """Refused as `mail_taken` when the message was taken before (or `mail_absent`).

    Taking is written by an event's header: `"takes": message_id`.
    """

    message_id: str


class NewMessage(NamedTuple):
    """Refused as `message_exists` when this message id was sent before: sending is idempotent."""

    message_id: str


class NoMailSince(NamedTuple):
    """Refused as `mail_waiting` when the run has untaken mail after `position`.

    `position` is the position of the last `mail_sent` that the owner has read: a message that
    nobody waits for may stay unread, but none that the owner has not looked at.
    """

    run: str
    position: int


class TaskOpen(NamedTuple):
    """Refused as `task_closed` (detail: state and who) or `task_absent` unless the inbox task is
    open. A decision is written by a `mail_sent` header with `"task": id`, which closes it.
    """

    task: str


class HoldsBudget(NamedTuple):
    """Reserve `amount` on `account` (integer, in the account's own unit).

    Refused as `budget_exhausted` (detail: what is left) when held + spent + amount exceeds the
    limit, as `budget_absent` when the account was never set. The reservation itself is written by
    a `budget_reserved` event with header `{"account", "hold", "amount"}`; a hold that exists, or
    one on an account that was never set, changes nothing.
    """

    account: str
    amount: int


class UsesApproval(NamedTuple):
    """Consume an approval bound to `call_hash`; its expiry is judged here by the store's clock.

    Refused as `approval_absent`, `approval_consumed`, `approval_expired`, `approval_mismatch`.
    The consumption is written by an event's header: `"consumes": approval`.
    """

    approval: str
    call_hash: str


Guard = (
    StreamAbsent
    | UniqueKey
    | RunIn
    | TakesMail
    | NewMessage
    | NoMailSince
    | TaskOpen
    | HoldsBudget
    | UsesApproval
)


class Commit(NamedTuple):
    """One item of a group: all of it is written, or nothing."""

    appends: Sequence[Append]
    guards: Sequence[Guard] = ()


class Committed(NamedTuple):
    """The item is written. One `(first position, first seq)` per append, and the time."""

    places: Sequence[tuple[int, int]]
    at_us: int


class Refused(NamedTuple):
    """The item was refused by a guard; `reason` is one of the codes that the guards name.

    `subject` names what the guard is about, `holder` who has it (for `key_taken`), `detail` is a
    sentence for a person.
    """

    reason: str
    subject: str
    holder: str = ""
    detail: str = ""


Result = Committed | Refused
