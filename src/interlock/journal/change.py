"""What one accepted event changes in the snapshot that the next commit is judged against.

This is the fold of the projections as far as guards look at them; the suite holds it against a
plain model and against groups of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from interlock.journal.event import Header
from interlock.journal.projections import LARGEST_INTEGER, STATE_AFTER, Place
from interlock.journal.snapshot import Approval, Budget, Hold, Message, Snapshot, Task

__all__ = ["apply_change"]

_ENDING = frozenset({"run_completed", "run_failed", "run_cancelled", "run_continued"})


def apply_change(snapshot: Snapshot, kind: str, header: Header, place: Place) -> None:
    """Change the snapshot as the event does."""
    state = STATE_AFTER.get(kind)
    if state is not None:
        if kind == "run_queued" or place.stream in snapshot.runs:
            snapshot.runs[place.stream] = state
        if kind in _ENDING:
            _withdraw_tasks(snapshot, place.stream)
    elif kind in _CHANGES:
        _CHANGES[kind](snapshot, header, place)
    for scope, key in header.get("unique", ()):
        snapshot.unique.setdefault((scope, key), place.stream)
    if "takes" in header:
        _take(snapshot, header["takes"])
    if header.get("consumes") in snapshot.approvals:
        snapshot.approvals[header["consumes"]].consumed = True


def _withdraw_tasks(snapshot: Snapshot, run: str) -> None:
    for task in snapshot.tasks.values():
        if task.run == run and task.state == "open":
            task.state = "withdrawn"


def _take(snapshot: Snapshot, message_id: str) -> None:
    message = snapshot.messages.get(message_id)
    if message is not None:
        message.taken = True
    for unread in snapshot.unread.values():
        unread.pop(message_id, None)


def _mail_sent(snapshot: Snapshot, header: Header, place: Place) -> None:
    run = header["run"]
    if place.key not in snapshot.messages:
        snapshot.messages[place.key] = Message(run, taken=False)
        if run in snapshot.unread:
            snapshot.unread[run][place.key] = place.position
    _close_task(snapshot, header.get("task", ""), "decided", header.get("by", ""))


def _close_task(snapshot: Snapshot, task_id: str, state: str, by: str = "") -> None:
    task = snapshot.tasks.get(task_id)
    if task is not None and task.state == "open":
        task.state = state
        task.decided_by = by


def _task_opened(snapshot: Snapshot, header: Header, place: Place) -> None:
    snapshot.tasks.setdefault(header["task"], Task(place.stream, "open", decided_by=""))


def _task_expired(snapshot: Snapshot, header: Header, _: Place) -> None:
    _close_task(snapshot, header["task"], "expired")


def _task_withdrawn(snapshot: Snapshot, header: Header, _: Place) -> None:
    _close_task(snapshot, header["task"], "withdrawn")


def _budget_set(snapshot: Snapshot, header: Header, _: Place) -> None:
    account, limit = header["account"], header["limit"]
    snapshot.budgets.setdefault(account, Budget(limit, held=0, spent=0)).limit = limit


def _budget_raised(snapshot: Snapshot, header: Header, _: Place) -> None:
    budget = snapshot.budgets.get(header["account"])
    if budget is not None:
        budget.limit = min(budget.limit + header["amount"], LARGEST_INTEGER)


def _budget_reserved(snapshot: Snapshot, header: Header, _: Place) -> None:
    account, hold, amount = header["account"], header["hold"], header["amount"]
    budget = snapshot.budgets.get(account)
    if budget is None or hold in snapshot.holds:
        return
    snapshot.holds[hold] = Hold(account, amount, settled=False)
    budget.held += amount


def _budget_settled(snapshot: Snapshot, header: Header, _: Place) -> None:
    hold = snapshot.holds.get(header["hold"])
    if hold is None or hold.settled:
        return
    hold.settled = True
    budget = snapshot.budgets.get(hold.account)
    if budget is not None:
        budget.held -= hold.amount
        budget.spent += header["amount"]


def _approval_granted(snapshot: Snapshot, header: Header, _: Place) -> None:
    granted = Approval(header["call_hash"], header.get("expires_at_us"), consumed=False)
    snapshot.approvals.setdefault(header["approval"], granted)


_CHANGES: Mapping[str, Callable[[Snapshot, Header, Place], None]] = MappingProxyType(
    {
        "mail_sent": _mail_sent,
        "task_opened": _task_opened,
        "task_expired": _task_expired,
        "task_withdrawn": _task_withdrawn,
        "budget_set": _budget_set,
        "budget_raised": _budget_raised,
        "budget_reserved": _budget_reserved,
        "budget_settled": _budget_settled,
        "approval_granted": _approval_granted,
    }
)
