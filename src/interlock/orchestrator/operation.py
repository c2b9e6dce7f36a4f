"""Durable operations: what a run's code awaits, and how the journal answers.

An operation is the fold of the events that carry its key. The same `apply` folds them live (when
the journal has acknowledged them) and on replay, so the code cannot tell the two apart. Only
`go_live` does anything outside, and it is called when there is no more history.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, ClassVar, Final, cast

from interlock.clock import Acting, Clock, Threads
from interlock.errors import ReplayMismatchError
from interlock.journal.event import Draft, Header
from interlock.journal.guard import Append, Commit, Guard, Refused
from interlock.journal.rows import BudgetRow, Mail
from interlock.orchestrator.mailbox import Mailbox

__all__ = ["UNSET", "DurableFuture", "Operation", "OperationHost", "Unset", "read_object"]


class Unset:
    """The type of `UNSET`: no value was given (None is a value)."""


UNSET: Final = Unset()


class OperationHost:
    """What an operation asks of the session that it belongs to (see `session.Session`)."""

    run_id: str
    agent_name: str
    generation: int
    host: asyncio.AbstractEventLoop
    clock: Clock
    threads: Threads
    acting: Acting
    live: bool
    draining: bool
    now_us: int
    mailbox: Mailbox

    def record(
        self,
        operation: Operation,
        draft: Draft,
        *,
        value: Any = UNSET,
        guards: tuple[Guard, ...] = (),
        appends: tuple[Append, ...] = (),
        also: tuple[Draft, ...] = (),
    ) -> None:
        """Commit an event of the operation; `apply` or `refused` follows."""
        raise NotImplementedError

    def commit_aside(self, commits: Sequence[Commit], then: Callable[[], None]) -> None:
        """Write to streams of others; `then` follows when all is written, or was before."""
        raise NotImplementedError

    def working(self, change: int) -> None:
        """Count work that is in flight on the host: the run does not suspend meanwhile."""
        raise NotImplementedError

    def arm(self, due_us: int, operation: Operation) -> asyncio.TimerHandle:
        """Call `operation.due()` when the clock has reached `due_us`."""
        raise NotImplementedError

    def finished(self, operation: Operation) -> None:
        """The operation expects no more events."""
        raise NotImplementedError

    def child_ended(self, child: str) -> None:
        """A child's result is known to the run."""
        raise NotImplementedError

    def budget(self, account: str) -> BudgetRow | None:
        """How a budget's account stands now, or None when it was never set."""
        raise NotImplementedError

    def may_act_seconds(self) -> float:
        """How long this process may still act for the run; 0 or less: not at all."""
        raise NotImplementedError


class DurableFuture(asyncio.Future[Any]):
    """The future that a run's code awaits.

    Cancelling it does not cancel it at once: `operation_cancelled` goes to disk first. A result
    that comes between the two is not delivered, live and on replay alike.
    """

    operation: Operation
    # anyio knows its own cancellations by their message.
    _message: Any | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        """Ask for the cancellation. Repeating is safe."""
        if self.done():
            return False
        self._message = msg
        self.operation.request_cancel()
        return True

    def cancel_now(self) -> None:
        """Deliver the cancellation to the code."""
        super().cancel(self._message)


class Operation:
    """One durable operation of a run.

    `name` is part of the key; `kinds` are the events it understands beside `operation_cancelled`,
    `ends` those of them after which nothing more comes of it.
    """

    kinds: ClassVar[frozenset[str]] = frozenset()
    wait_kind: ClassVar[str] = ""
    ends: ClassVar[frozenset[str]] = frozenset()
    __slots__ = (
        "cancel_asked",
        "context",
        "future",
        "key",
        "name",
        "open",
        "sealed",
        "session",
        "since_us",
        "timer",
    )

    def __init__(self, session: OperationHost, name: str) -> None:
        self.session = session
        self.name = name
        self.key = ""
        self.open = True
        self.sealed = False
        self.cancel_asked = False
        self.since_us = session.now_us
        # That of the code: a step sees the same context variables whenever it is begun.
        self.context: Context | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.future: DurableFuture | None = None

    # What the kinds of operation define.

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """Fold one recorded event. `value` is what the body encodes, where that is at hand."""
        raise NotImplementedError

    def start(self) -> None:
        """Do what is next outside. Called live only, and never while a record is under way."""
        raise NotImplementedError

    def refused(self, refusal: Refused) -> None:
        """The journal refused this operation's record by one of its own guards."""
        raise AssertionError(f"{self.key}: a record without guards was refused: {refusal}")

    def wants(self, mail: Mail) -> bool:
        """Whether a message is meant for this operation now."""
        return False

    def take(self, mail: Mail) -> None:
        """Record the message as taken."""
        raise NotImplementedError

    def wake_at_us(self) -> int | None:
        """When this resting operation has something to do by itself."""
        return None

    def waits_for(self) -> str:
        """What a person reads that this operation waits for."""
        return self.name

    def unblocked_by(self) -> str:
        """Who or what can end the wait."""
        return "time"

    def needs_the_end(self) -> bool:
        """Whether the run may not finish before this operation is settled."""
        return False

    def left_over(self) -> tuple[Draft, ...]:
        """Events that belong to the run's end when its code ends without this result."""
        return ()

    def abandon(self) -> None:
        """The code no longer wants the result: stop the work where that is harmless."""
        self.disarm()

    def due(self) -> None:
        """The armed moment has come."""

    # What is common to all.

    def may_record(self, draft: Draft) -> bool:
        """Whether an event may still follow. Once the end of the operation is on its way to disk,
        only the code's cancelling of an undelivered outcome may.
        """
        if draft.kind == "operation_cancelled":
            self.sealed = self.sealed or not self.needs_the_end()
            return True
        if self.sealed:
            return False
        self.sealed = self.ended_by(draft)
        return True

    def ended_by(self, draft: Draft) -> bool:
        """Whether this event ends the operation."""
        return draft.kind in self.ends

    def fold(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """Fold an event of this key, or raise `ReplayMismatchError`."""
        if kind in self.kinds:
            self.apply(kind, header, body, value)
        elif kind == "operation_cancelled":
            self._cancelled()
        else:
            raise ReplayMismatchError(
                f"operation {self.key!r}: the journal has {kind!r} there, and the code now does "
                f"{type(self).__name__.removesuffix('Operation').lower()!r}.",
                key=self.key,
            )

    def go_live(self) -> None:
        """There is no more history: act."""
        if self.cancel_asked and self.future is not None and not self.future.done():
            self._record_cancellation()
        if self.open and (not self.cancel_asked or self.needs_the_end()):
            self.start()

    def request_cancel(self) -> None:
        """The code cancels: nothing else is delivered any more. Repeating is safe."""
        if self.cancel_asked:
            return
        self.cancel_asked = True
        if self.session.live:
            self._record_cancellation()
            self.abandon()

    def _record_cancellation(self) -> None:
        draft = Draft("operation_cancelled", self.key)
        self.session.record(self, draft, also=self.with_cancellation())

    def with_cancellation(self) -> tuple[Draft, ...]:
        """Events that belong to the cancellation of this operation."""
        return ()

    def _cancelled(self) -> None:
        if self.future is not None and not self.future.done():
            self.future.cancel_now()
        if not self.needs_the_end():
            self.close()

    def resolve(self, value: Any) -> None:
        """Deliver a result, unless the code has cancelled meanwhile."""
        if self.future is not None and not self.cancel_asked and not self.future.done():
            self.future.set_result(value)
        self.close_unless_cancelling()

    def reject(self, error: BaseException) -> None:
        """Deliver an exception, unless the code has cancelled meanwhile."""
        if self.future is not None and not self.cancel_asked and not self.future.done():
            self.future.set_exception(error)
        self.close_unless_cancelling()

    def close_unless_cancelling(self) -> None:
        """No more work; the operation stays known while its cancellation is under way."""
        if self.timer is not None:
            self.disarm()
        self.open = False
        if self.future is None or self.future.done():
            self.session.finished(self)

    def close(self) -> None:
        """No more events are expected."""
        self.disarm()
        self.open = False
        self.session.finished(self)

    def arm(self, due_us: int | None) -> None:
        """Have `due` called at a moment, if any."""
        self.disarm()
        if due_us is not None:
            self.timer = self.session.arm(due_us, self)

    def disarm(self) -> None:
        """Forget the armed moment."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def stop(self) -> None:
        """The claim ends: release what the host holds. Nothing is recorded."""
        self.disarm()

    def wait_row(self) -> dict[str, Any]:
        """This wait as the `runs` projection shows it."""
        return {
            "key": self.key,
            "kind": self.wait_kind,
            "what": self.waits_for(),
            "since_us": self.since_us,
            "due_at_us": self.wake_at_us(),
            "who": self.unblocked_by(),
        }


def read_object(body: bytes | None) -> dict[str, Any]:
    """A body that is a JSON object; an absent one, or another value, is empty."""
    data: Any = None if body is None else json.loads(body)
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}
