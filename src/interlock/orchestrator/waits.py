"""Operations that only wait: for time, a signal, a person, a child run. They cost nothing.

Signal against timeout is decided by one event: whichever of the two is recorded first. A signal
that loses stays unread in the mailbox for the next wait.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from interlock.base.codec import Codec
from interlock.base.failure import Failure
from interlock.errors import ChildFailedError, InvalidInputError, ReplayMismatchError
from interlock.journal.event import Draft, Header
from interlock.journal.guard import Append, Guard, Refused, TakesMail, TaskOpen
from interlock.journal.rows import Mail
from interlock.orchestrator.operation import Operation, OperationHost, read_object

__all__ = [
    "ChildOperation",
    "Decision",
    "SignalOperation",
    "StartOperation",
    "TaskOperation",
    "TimerOperation",
]


class TimerOperation(Operation):
    """A moment to wait for. `fire` is for timers of asyncio's own, which have no future."""

    kinds: ClassVar[frozenset[str]] = frozenset({"timer_fired"})
    ends = kinds
    wait_kind = "timer"
    __slots__ = ("due_us", "fire")

    def __init__(
        self,
        session: OperationHost,
        name: str,
        due_us: int,
        fire: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(session, name)
        self.due_us = due_us
        self.fire = fire

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """The moment has come."""
        if self.fire is not None and self.open:
            self.fire()
        self.resolve(None)

    def start(self) -> None:
        """Arm the moment."""
        self.arm(self.due_us)

    def due(self) -> None:
        """Record that it has come."""
        self.session.record(self, Draft("timer_fired", self.key))

    def wake_at_us(self) -> int | None:
        """The moment."""
        return self.due_us

    def waits_for(self) -> str:
        """In words."""
        return "a timer"


class _MailOperation(Operation):
    """A wait that a message ends, or a deadline."""

    __slots__ = ("due_us", "taken")

    def __init__(self, session: OperationHost, name: str, due_us: int | None) -> None:
        super().__init__(session, name)
        self.due_us = due_us
        self.taken: Mail | None = None

    def start(self) -> None:
        """Take what is there already, or wait."""
        mail = self.session.mailbox.take(self.wants)
        if mail is not None:
            self.take(mail)
        else:
            self.arm(self.due_us)

    def take(self, mail: Mail) -> None:
        """Record the message as taken; the answer is delivered when that is on disk."""
        self.disarm()
        self.taken = mail
        draft = self.taking(mail)
        # A message that a cancelled wait had taken is offered again and needs no second taking.
        guards = (TakesMail(mail.message_id),) if "takes" in draft.header else ()
        self.session.record(self, draft, guards=guards)

    def taking(self, mail: Mail) -> Draft:
        """The event that takes a message."""
        raise NotImplementedError

    def refused(self, refusal: Refused) -> None:
        """The message was taken by another wait: look again."""
        self.taken = None
        self.start()

    def idle(self) -> bool:
        """Whether a message could be taken now."""
        return self.open and not (self.sealed or self.cancel_asked) and self.taken is None

    def wake_at_us(self) -> int | None:
        """The deadline, if any."""
        return self.due_us


class SignalOperation(_MailOperation):
    """`run.wait(signal)`."""

    kinds: ClassVar[frozenset[str]] = frozenset({"signal_received", "wait_timed_out"})
    ends = kinds
    wait_kind = "signal"
    __slots__ = ("codec", "late", "signal")

    def __init__(
        self, session: OperationHost, signal: str, codec: Codec[Any], due_us: int | None
    ) -> None:
        super().__init__(session, f"wait:{signal}", due_us)
        self.signal = signal
        self.codec = codec
        self.late = False

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """The signal, or its absence in time."""
        if kind == "wait_timed_out":
            self.reject(TimeoutError(f"no signal {self.signal!r} came in time"))
            return
        self.session.mailbox.applied(header["message"])
        if self.cancel_asked:
            self._offer_again(header["message"], body)
        try:
            payload = self.codec.decode(body or b"null", f"signal {self.signal!r}")
        except InvalidInputError as error:
            self.reject(error)
        else:
            self.resolve(payload)

    def wants(self, mail: Mail) -> bool:
        """A signal of this name."""
        idle = self.idle() and not self.late
        return idle and mail.kind == "signal" and mail.name == self.signal

    def taking(self, mail: Mail) -> Draft:
        """The signal with its payload."""
        header = {"signal": self.signal, "message": mail.message_id}
        if mail.position:  # Else it is offered again, and is in the run already.
            header["takes"] = mail.message_id
        return Draft("signal_received", self.key, header, mail.body)

    def _offer_again(self, message_id: str, body: bytes | None) -> None:
        # The code had cancelled this wait when the signal was already being recorded for it. A
        # signal is never lost: the next wait for its name gets it, live and on replay alike.
        mail = Mail(0, message_id, self.session.run_id, "signal", self.signal, {}, body, 0)
        self.session.mailbox.offer_again(mail)

    def due(self) -> None:
        """Nobody signalled in time."""
        self.late = True
        self.session.record(self, Draft("wait_timed_out", self.key))

    def waits_for(self) -> str:
        """In words."""
        return f"signal {self.signal!r}"

    def unblocked_by(self) -> str:
        """Whoever may signal."""
        return f"whoever sends signal {self.signal!r}"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person answered, or that nobody did before the deadline (`expired`)."""

    choice: str
    by: str = ""
    note: str = ""
    value: Any = None
    expired: bool = False


class TaskOperation(_MailOperation):
    """An inbox task: opened, then decided by a person or expired."""

    kinds: ClassVar[frozenset[str]] = frozenset({"task_opened", "task_decided", "task_expired"})
    ends = frozenset({"task_decided", "task_expired"})
    wait_kind = "decision"
    __slots__ = ("late", "opened", "question", "role", "task", "task_kind")

    def __init__(
        self,
        session: OperationHost,
        name: str,
        *,
        task_kind: str,
        role: str,
        question: bytes,
        due_us: int | None,
    ) -> None:
        super().__init__(session, name, due_us)
        self.task_kind = task_kind
        self.role = role
        self.question = question
        self.task = ""
        self.opened = False
        self.late = False

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """Opened, decided or expired."""
        match kind:
            case "task_opened":
                if body != self.question:
                    raise ReplayMismatchError(
                        f"escalation {self.key!r}: the journal has the question {_shown(body)}, "
                        f"and the code now asks {_shown(self.question)}.",
                        key=self.key,
                    )
                self.opened = True
                self.task = header["task"]
                if self.session.live and not self.cancel_asked:
                    self.start()
            case "task_expired":
                self.resolve(Decision(choice="", expired=True))
            case _:
                data = read_object(body)
                self.resolve(
                    Decision(
                        choice=str(data.get("choice", "")),
                        by=header.get("by", ""),
                        note=str(data.get("note", "")),
                        value=data.get("value"),
                    )
                )

    def start(self) -> None:
        """Open the task, then wait for its decision."""
        if self.opened:
            super().start()
            return
        header = {
            "task": self.task,
            "kind": self.task_kind,
            "role": self.role,
            "due_at_us": self.due_us,
        }
        self.session.record(self, Draft("task_opened", self.key, header, self.question))

    def wants(self, mail: Mail) -> bool:
        """The decision of this task. The door lets only one in."""
        return self.idle() and self.opened and mail.kind == "decision" and mail.name == self.task

    def taking(self, mail: Mail) -> Draft:
        """The decision, and who made it."""
        header = {"task": self.task, "takes": mail.message_id, "by": mail.header.get("by", "")}
        return Draft("task_decided", self.key, header, mail.body)

    def due(self) -> None:
        """The deadline: unless a decision was let in at the door before it."""
        self.late = True
        guards: tuple[Guard, ...] = (TaskOpen(self.task),)
        self.session.record(
            self, Draft("task_expired", self.key, {"task": self.task}), guards=guards
        )

    def refused(self, refusal: Refused) -> None:
        """Somebody decided just before the deadline: their message is on its way."""
        self.due_us = None if self.late else self.due_us
        super().refused(refusal)

    def with_cancellation(self) -> tuple[Draft, ...]:
        """Nobody needs to answer any more."""
        return (Draft("task_withdrawn", self.key, {"task": self.task}),)

    def waits_for(self) -> str:
        """In words."""
        return f"a decision on inbox task {self.task}"

    def unblocked_by(self) -> str:
        """The role that may decide."""
        return self.role or "anybody who may decide"


class StartOperation(Operation):
    """`run.start(agent)`: the child's creation is one transaction with the parent's event."""

    kinds: ClassVar[frozenset[str]] = frozenset({"child_started"})
    ends = kinds
    __slots__ = ("agent", "child", "input", "queued", "same_input")

    def __init__(
        self, session: OperationHost, agent: str, same_input: Callable[[bytes, bytes], bool]
    ) -> None:
        super().__init__(session, f"start:{agent}")
        self.agent = agent
        self.same_input = same_input
        self.child = ""
        self.input = b""
        self.queued: Draft | None = None

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """The child exists."""
        if body != self.input and not self.same_input(body or b"null", self.input):
            raise ReplayMismatchError(
                f"child {self.key!r}: the journal has it with input {_shown(body)}, and the code "
                f"now has {_shown(self.input)}.",
                key=self.key,
            )
        self.resolve(header["child"])

    def start(self) -> None:
        """Create the child."""
        if self.queued is None:
            raise ValueError(f"{self.key}: a child needs its first event")
        header = {"child": self.child, "agent": self.agent}
        append = Append(self.child, (self.queued,), after_seq=0)
        draft = Draft("child_started", self.key, header, self.input)
        self.session.record(self, draft, appends=(append,))


class ChildOperation(_MailOperation):
    """Waiting for a child's result."""

    kinds: ClassVar[frozenset[str]] = frozenset({"child_completed"})
    ends = kinds
    wait_kind = "child"
    __slots__ = ("agent", "child", "codec", "known")

    def __init__(
        self,
        session: OperationHost,
        child: str,
        agent: str,
        codec: Codec[Any],
        known: dict[str, bytes],
    ) -> None:
        super().__init__(session, f"result:{agent}", None)
        self.child = child
        self.agent = agent
        self.codec = codec
        self.known = known

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """The child's end."""
        # Kept for a second wait for the same child, whose message is gone by then.
        self.known[self.child] = body or b"{}"
        if self.session.live:
            self.session.child_ended(self.child)
        data = json.loads(body or b"{}")
        if data.get("state") != "completed":
            failure = Failure(tuple(data.get("types", ())), str(data.get("message", "")))
            self.reject(
                ChildFailedError(
                    f"child run {self.child} of agent {self.agent!r} is {data.get('state')}: "
                    f"{failure.sentence()}",
                    error_types=failure.types,
                    child=self.child,
                )
            )
            return
        raw = json.dumps(data.get("result")).encode()
        self.resolve(self.codec.decode(raw, f"the result of child run {self.child}"))

    def start(self) -> None:
        """Read the result again if an earlier wait took its message."""
        if self.child in self.known:
            draft = Draft(
                "child_completed", self.key, {"child": self.child}, self.known[self.child]
            )
            self.session.record(self, draft)
        else:
            super().start()

    def wants(self, mail: Mail) -> bool:
        """The child's message to its parent."""
        return self.idle() and mail.kind == "child" and mail.name == self.child

    def taking(self, mail: Mail) -> Draft:
        """The child's end as it told it."""
        header = {"child": self.child, "takes": mail.message_id}
        return Draft("child_completed", self.key, header, mail.body)

    def start_again(self) -> None:
        """Another wait has the result now."""
        if self.idle():
            self.start()

    def waits_for(self) -> str:
        """In words."""
        return f"child run {self.child}"

    def unblocked_by(self) -> str:
        """The child."""
        return f"child run {self.child}"


def _shown(body: bytes | None) -> str:
    text = (body or b"").decode("utf-8", "replace")
    return text if len(text) <= 200 else f"{text[:200]}…"
