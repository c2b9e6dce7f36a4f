"""How a run ends: its last event, and what that tells others in the same transaction.

The end of a child and the message to its parent, and the end of a parent and the cancelling of its
children, are one commit each: a crash between the two does not exist.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from interlock.base.codec import MAX_RESULT_BYTES, check_size
from interlock.base.failure import Failure, failure_of
from interlock.errors import BodyErasedError, InterlockError
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Committed
from interlock.journal.rows import RunRow, RunState
from interlock.journal.store import Store
from interlock.limits.budget import Hold, hold_of, settle_worst_case

if TYPE_CHECKING:
    from interlock.orchestrator.session import Session

__all__ = [
    "Ending",
    "RunContinuation",
    "cancel_children",
    "cancel_message",
    "child_message",
    "end_of_run",
    "ended_row",
    "open_holds",
    "waiting_for_children",
]


class RunContinuation(BaseException):
    """Ends this generation of the run; the next begins with `body` as its input."""

    def __init__(self, body: bytes) -> None:
        super().__init__("the run continues as new")
        self.body = body


class Ending(NamedTuple):
    """The events that end a run, and those for other streams."""

    drafts: tuple[Draft, ...]
    appends: tuple[Append, ...]


def end_of_run(session: Session, root: asyncio.Task[Any]) -> Ending | None:
    """The run's last events, or None when it first waits for children (close policy `wait`).

    Raises `InterlockError` when the run cannot end and an operator is needed.
    """
    last = _last_event(session, root)
    may_have = session.children or session.generation > 1
    store = session.services.journal.store
    children = store.open_children(session.run_id) if may_have else []
    waited_for = any(child.close_policy == "wait" for child in children)
    if waited_for and last.kind != "run_continued" and not session.cancel_reason:
        return None
    appends = _cancelling(store, session.run_id, children, whole=bool(session.cancel_reason))
    held = open_holds(store, session.run_id) if session.left_behind else ()
    if last.kind == "run_continued":
        state = session.state_body()
        carried = (Draft("state_changed", "", {}, state),) if state is not None else ()
        session.recorded_state = state
        return Ending((last, *carried, *session.left_over, *held), appends)
    if session.row.parent:
        appends = (*appends, child_message(session.row, last))
    return Ending((last, *session.left_over, *held), appends)


_STATES: Mapping[str, RunState] = {
    "run_completed": "completed",
    "run_failed": "failed",
    "run_cancelled": "cancelled",
}


def ended_row(row: RunRow, last: Draft, committed: Committed) -> RunRow | None:
    """The row of a run that has ended, as reading it back would give it; None if it goes on.

    `row` is that of its claim. Who waits for the run is told at once, without a query.
    """
    state = _STATES.get(last.kind)
    if state is None:
        return None
    return row._replace(
        state=state,
        outcome=last.header.get("outcome") or row.outcome,
        reason=last.header.get("reason", ""),
        result_position=committed.places[0][0],
        updated_at_us=committed.at_us,
        wake_at_us=None,
        waits=[],
        worker="",
    )


def _last_event(session: Session, root: asyncio.Task[Any]) -> Draft:
    error = asyncio.CancelledError() if root.cancelled() else root.exception()
    if error is None:
        return _completed(session, root.result())
    continuation = _continuation(error)
    if continuation is not None:
        header = {
            "generation": session.generation + 1,
            "seed": session.seed,
            **session.agent.sensitive_in("input"),
        }
        return Draft("run_continued", "", header, continuation.body)
    if isinstance(error, asyncio.CancelledError):
        header = {"reason": session.cancel_reason or "cancelled", "outcome": session.outcome}
        return Draft("run_cancelled", "", header)
    return _failed(session, error)


def _interlock_error(error: BaseException) -> InterlockError | None:
    """What Interlock itself said, which a task group may have wrapped."""
    if isinstance(error, InterlockError):
        return error
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return next((e for one in inner if (e := _interlock_error(one)) is not None), None)
    return None


def _continuation(error: BaseException) -> RunContinuation | None:
    """`run.continue_as_new` may be called inside of a task group, which wraps what passes it."""
    if isinstance(error, RunContinuation):
        return error
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return next((c for e in inner if (c := _continuation(e)) is not None), None)
    return None


def _completed(session: Session, result: Any) -> Draft:
    try:
        label = f"the result of agent {session.agent_name!r}"
        body = check_size(session.agent.output.encode(result, label), label, MAX_RESULT_BYTES)
        session.agent.output.read_back(result, body, label)
    except InterlockError as error:
        failure = Failure((type(error).__name__,), error.message)
        header = {"reason": "invalid_output", "outcome": session.outcome}
        kept = {**json.loads(failure.encode()), "value": repr(result)[:10_000]}
        return Draft("run_failed", "", header, json.dumps(kept).encode())
    header = {"outcome": session.outcome, **session.agent.sensitive_in("result")}
    return Draft("run_completed", "", header, body)


def _failed(session: Session, error: BaseException) -> Draft:
    ours = _interlock_error(error)
    if isinstance(ours, BodyErasedError):
        # It may yet be cancelled or begun anew by whoever knows why it was erased.
        raise ours
    failure = failure_of(ours or error)
    reason = failure.name() if ours is None else ours.code
    header = {"reason": reason, "outcome": session.outcome}
    return Draft("run_failed", "", header, failure.encode())


def cancel_children(store: Store, run: str) -> tuple[Append, ...]:
    """Requests to cancel the open children of a run that is ended without executing."""
    return _cancelling(store, run, store.open_children(run), whole=True)


def _cancelling(
    store: Store, run: str, children: Sequence[RunRow], *, whole: bool = False
) -> tuple[Append, ...]:
    # Cancelling a run ends its waiting for children too.
    policies = ("cancel", "wait") if whole else ("cancel",)
    return tuple(
        cancel_message(child.id, message_id=_close_id(child), by=run, reason="parent ended")
        for child in children
        if child.close_policy in policies and not _was_told(store, child)
    )


def _close_id(child: RunRow) -> str:
    return f"close:{child.id}"


def _was_told(store: Store, child: RunRow) -> bool:
    """Whether an earlier generation of the parent has asked this child to close already."""
    told = (entry.event.key for entry in store.read(f"mail/{child.id}"))
    return _close_id(child) in told


def open_holds(store: Store, run: str) -> tuple[Draft, ...]:
    """What a run still holds of its budgets, settled at its worst: the calls may have left."""
    held: dict[str, Hold] = {}
    for entry in store.read(run):
        event = entry.event
        if event.kind == "budget_reserved":
            held[event.header["hold"]] = hold_of(event.key, event.header)
        elif event.kind == "budget_settled":
            held.pop(event.header["hold"], None)
    return settle_worst_case(held.values())


def child_message(row: RunRow, last: Draft) -> Append:
    """A child's message to its parent: how it ended, and its result or failure."""
    state = last.kind.removeprefix("run_")
    told: dict[str, Any] = {"state": state, "outcome": last.header.get("outcome", "")}
    if state != "completed":
        failure = json.loads(last.body) if last.body else {"message": last.header.get("reason", "")}
        told |= {k: v for k, v in failure.items() if k in ("types", "message")}
    body = json.dumps(told).encode()
    if state == "completed":
        # As it is: decoding and encoding it again could make it larger than the limit.
        body = body[:-1] + b', "result":' + (last.body or b"null") + b"}"
    header = {"run": row.parent, "kind": "child", "name": row.id, "by": row.id}
    draft = Draft("mail_sent", f"child:{row.id}", header, body)
    return Append(f"mail/{row.parent}", (draft,))


def cancel_message(run: str, *, message_id: str, by: str, reason: str) -> Append:
    """A request to cancel a run."""
    header = {"run": run, "kind": "cancel", "name": reason, "by": by}
    return Append(f"mail/{run}", (Draft("mail_sent", message_id, header),))


def waiting_for_children(session: Session) -> Draft:
    """The suspension of a run whose code has ended and whose children have not."""
    wait = {
        "key": "",
        "kind": "child",
        "what": "its child runs to finish (close policy wait)",
        "since_us": session.now_us,
        "due_at_us": None,
        "who": "its child runs",
    }
    header = {
        "wake_at_us": None if session.cancel_reason else session.row.deadline_at_us,
        "mail_position": session.mailbox.position,
        "waits": [wait],
    }
    return Draft("run_suspended", "", header)
