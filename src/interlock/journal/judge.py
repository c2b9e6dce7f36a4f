"""Judging a group of commits against a snapshot, and laying out what is to be written.

Pure and shared by all databases: a store loads the `Snapshot` that `needs_of` asks for, inside its
write transaction; `Judge` answers every commit and collects the rows of a `Batch`. Each accepted
commit changes the snapshot, so the next one in the group is judged against it, exactly as if it had
come in a group of its own. Stale epochs are found before anything else: a worker that lost its run
learns that, whatever else is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from interlock.errors import PayloadTooLargeError
from interlock.journal.change import apply_change
from interlock.journal.check import BODY_LIMIT_BYTES
from interlock.journal.event import NO_BODY, NO_HASH, Header, commit_to, encode_header, event_hash
from interlock.journal.guard import (
    Append,
    Commit,
    Committed,
    Guard,
    HoldsBudget,
    NewMessage,
    NoMailSince,
    Refused,
    Result,
    RunIn,
    StreamAbsent,
    TakesMail,
    TaskOpen,
    UniqueKey,
    UsesApproval,
)
from interlock.journal.projections import PROJECTIONS, Fold, Place, add_folds, folds
from interlock.journal.snapshot import Snapshot, StreamHead

__all__ = ["Batch", "Judge"]

_SALT_BYTES = 16

# `bytearray`, since sqlite3 binds it as it is: for `bytes` it first looks for an adapter, which
# takes longer than the binding.
EventRow = tuple[int, int, int, int, str, int, str, int, str, bytearray, bytearray]
BodyRow = tuple[int, bytearray, bytearray]


@dataclass(slots=True)
class Batch:
    """Rows to write, in order. `last_hash` is that of the last event."""

    streams: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    events: list[EventRow] = field(default_factory=list[EventRow])
    bodies: list[BodyRow] = field(default_factory=list[BodyRow])
    folds: list[Fold] = field(default_factory=list[Fold])
    last_hash: bytes = NO_HASH


class Judge:
    """Judges the commits of one group in order and collects their rows in `batch`.

    Heads of the snapshot move along, so a snapshot's heads may be kept for the next group.
    """

    def __init__(
        self, snapshot: Snapshot, *, now_us: int, random_bytes: Callable[[int], bytes]
    ) -> None:
        self.batch = Batch()
        self.at_us = max(now_us, snapshot.last_at_us)
        self.position = snapshot.last_position
        self._snapshot = snapshot
        self._add_event = self.batch.events.append
        self._add_body = self.batch.bodies.append
        self._random_bytes = random_bytes
        self._salts = b""
        self._salt_at = 0
        self._salt_pool_bytes = _SALT_BYTES

    def group(self, items: Sequence[Commit]) -> list[Result]:
        """The answer to each commit."""
        self._salt_pool_bytes = _SALT_BYTES * max(1, len(items))
        return [self._answer(item) for item in items]

    def _answer(self, item: Commit) -> Result:
        appends, guards = item
        if len(appends) == 1:
            append = appends[0]
            head = self._snapshot.heads.get(append[0])
            refusal = _misplaced(append, head.seq, head.epoch) if head else _misplaced(append, 0, 0)
        else:
            refusal = self._several_misplaced(appends)
        if guards and refusal is None:
            refusal = self._guarded(guards)
        if refusal is not None:
            return refusal
        return Committed([self._append(append) for append in appends], self.at_us)

    def _several_misplaced(self, appends: Sequence[Append]) -> Refused | None:
        """As if each append came after the one before it, which may be to the same stream."""
        moved: dict[str, tuple[int, int]] = {}
        for append in appends:
            head = self._snapshot.heads.get(append.stream)
            at = moved.get(append.stream) or ((head.seq, head.epoch) if head else (0, 0))
            refusal = _misplaced(append, *at)
            if refusal is not None:
                return refusal
            moved[append.stream] = (at[0] + len(append.drafts), at[1] + append.raise_epoch)
        return None

    def _guarded(self, guards: Sequence[Guard]) -> Refused | None:
        asked: dict[str, int] = {}
        for guard in guards:
            refusal = self._guard(guard, asked)
            if refusal is not None:
                return refusal
        return None

    def _guard(self, guard: Guard, asked: dict[str, int]) -> Refused | None:
        if type(guard) is HoldsBudget:
            already = asked.get(guard.account, 0)
            asked[guard.account] = already + guard.amount
            return _holds_budget(self._snapshot, guard, already)
        if type(guard) is UsesApproval:
            return _uses_approval(self._snapshot, guard, self.at_us)
        return _GUARDS[type(guard)](self._snapshot, guard)

    def _append(self, append: Append) -> tuple[int, int]:
        """The hot path: everything that happens once per event is in this loop."""
        stream, drafts, _, raise_epoch, _ = append
        head = self._snapshot.heads.get(stream) or self._new_stream(stream)
        if raise_epoch:
            head.epoch += 1
        stream_id, epoch, at_us, seq, last = head.id, head.epoch, self.at_us, head.seq, head.hash
        position = self.position
        first = (position + 1, seq + 1)
        for kind, key, header, body, version in drafts:
            position += 1
            seq += 1
            commitment = NO_BODY
            if body is not None:
                if len(body) > BODY_LIMIT_BYTES:
                    raise PayloadTooLargeError("a body is over the limit")
                salt = self._salt()
                commitment = commit_to(salt, body)
                self._add_body((position, bytearray(salt), bytearray(body)))
            text = encode_header(header) if header else "{}"
            self._add_event(
                (
                    position,
                    stream_id,
                    seq,
                    epoch,
                    kind,
                    version,
                    key,
                    at_us,
                    text,
                    bytearray(commitment),
                    bytearray(last),
                )
            )
            last = event_hash(last, commitment, stream, seq, epoch, kind, version, key, at_us, text)
            if kind in PROJECTIONS or (header and _touches_projections(header)):
                self._project(kind, header, Place(position, stream, seq, key, at_us))
        head.seq, head.hash = seq, last
        self.position = position
        self.batch.last_hash = last
        return first

    def _project(self, kind: str, header: Header, place: Place) -> None:
        add_folds(self.batch.folds, folds(kind, header, place))
        apply_change(self._snapshot, kind, header, place)

    def _salt(self) -> bytes:
        start, end = self._salt_at, self._salt_at + _SALT_BYTES
        if end > len(self._salts):
            self._salts = self._random_bytes(self._salt_pool_bytes)
            start, end = 0, _SALT_BYTES
        self._salt_at = end
        return self._salts[start:end]

    def _new_stream(self, stream: str) -> StreamHead:
        snapshot = self._snapshot
        snapshot.last_stream += 1
        head = snapshot.heads[stream] = StreamHead(stream, snapshot.last_stream, 0, 0, NO_HASH)
        self.batch.streams.append((head.id, stream))
        return head


def _touches_projections(header: Header) -> bool:
    return "unique" in header or "takes" in header or "consumes" in header


def _misplaced(append: Append, seq: int, epoch: int) -> Refused | None:
    stream, drafts, wanted_epoch, _, after_seq = append
    if epoch != (wanted_epoch or 0):
        detail = f"epoch {wanted_epoch or 0} is over; the stream is at epoch {epoch}"
        return Refused("stale_epoch", stream, detail=detail)
    if after_seq is not None and seq != after_seq:
        detail = f"expected the last event to be {after_seq}, but it is {seq}"
        return Refused("wrong_seq", stream, detail=detail)
    if seq and drafts[0][0] == "run_queued":
        return Refused("stream_exists", stream, detail="the run exists already")
    return None


def _stream_absent(snapshot: Snapshot, guard: StreamAbsent) -> Refused | None:
    if guard.stream not in snapshot.heads:
        return None
    return Refused("stream_exists", guard.stream, detail="the stream has events already")


def _unique_key(snapshot: Snapshot, guard: UniqueKey) -> Refused | None:
    holder = snapshot.unique.get((guard.scope, guard.key))
    if holder is None:
        return None
    detail = f"{guard.key!r} in {guard.scope!r} is held by {holder!r}"
    return Refused("key_taken", guard.key, holder=holder, detail=detail)


def _run_in(snapshot: Snapshot, guard: RunIn) -> Refused | None:
    state = snapshot.runs.get(guard.run, "absent")
    return None if state in guard.states else Refused("run_state", guard.run, detail=state)


def _takes_mail(snapshot: Snapshot, guard: TakesMail) -> Refused | None:
    message = snapshot.messages.get(guard.message_id)
    if message is None:
        return Refused("mail_absent", guard.message_id, detail="there is no such message")
    if message.taken:
        return Refused("mail_taken", guard.message_id, detail="the message was taken before")
    return None


def _new_message(snapshot: Snapshot, guard: NewMessage) -> Refused | None:
    message = snapshot.messages.get(guard.message_id)
    if message is None:
        return None
    detail = "a message with this id was sent before"
    return Refused("message_exists", guard.message_id, holder=message.run, detail=detail)


def _no_mail_since(snapshot: Snapshot, guard: NoMailSince) -> Refused | None:
    waiting = [at for at in snapshot.unread[guard.run].values() if at > guard.position]
    if not waiting:
        return None
    detail = f"{len(waiting)} unread after position {guard.position}"
    return Refused("mail_waiting", guard.run, detail=detail)


def _task_open(snapshot: Snapshot, guard: TaskOpen) -> Refused | None:
    task = snapshot.tasks.get(guard.task)
    if task is None:
        return Refused("task_absent", guard.task, detail="there is no such task")
    if task.state == "open":
        return None
    detail = f"{task.state} by {task.decided_by}" if task.decided_by else task.state
    return Refused("task_closed", guard.task, holder=task.decided_by, detail=detail)


def _holds_budget(snapshot: Snapshot, guard: HoldsBudget, already: int) -> Refused | None:
    budget = snapshot.budgets.get(guard.account)
    if budget is None:
        return Refused("budget_absent", guard.account, detail="no budget was set")
    left = budget.left() - already
    if guard.amount <= left:
        return None
    detail = f"{left} is left and {guard.amount} is needed"
    return Refused("budget_exhausted", guard.account, detail=detail)


def _uses_approval(snapshot: Snapshot, guard: UsesApproval, at_us: int) -> Refused | None:
    approval = snapshot.approvals.get(guard.approval)
    reason: Literal["absent", "consumed", "mismatch", "expired"]
    if approval is None:
        reason, detail = "absent", "there is no such approval"
    elif approval.consumed:
        reason, detail = "consumed", "the approval was used before"
    elif approval.call_hash != guard.call_hash:
        reason, detail = "mismatch", "the approval is for another call"
    elif approval.expires_at_us is not None and at_us >= approval.expires_at_us:
        reason, detail = "expired", "the approval has expired"
    else:
        return None
    return Refused(f"approval_{reason}", guard.approval, detail=detail)


_GUARDS: Mapping[type, Callable[[Snapshot, Any], Refused | None]] = {
    StreamAbsent: _stream_absent,
    UniqueKey: _unique_key,
    RunIn: _run_in,
    TakesMail: _takes_mail,
    NewMessage: _new_message,
    NoMailSince: _no_mail_since,
    TaskOpen: _task_open,
}
