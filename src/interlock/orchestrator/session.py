"""A session: one claim of one run, from its replay to its rest or its end.

The session owns the run's loop and its operations. It replays the recorded events, then goes live;
every event it records is delivered to the code when the journal has acknowledged it, in order, one
at a time. When nothing is in flight and everything waits, it suspends: nothing of it stays.
"""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from interlock.base.failure import Failure, failure_of
from interlock.clock import Acting, Clock, Threads
from interlock.errors import (
    ForbiddenInRunError,
    InterlockError,
    NotRecordableError,
    ReplayMismatchError,
    StorageError,
    VaultError,
)
from interlock.journal.event import Draft, Entry
from interlock.journal.guard import Append, Commit, Committed, Guard, NoMailSince, Refused, Result
from interlock.journal.journal import Journal
from interlock.journal.rows import BudgetRow, Mail, RunRow
from interlock.orchestrator.agent import Agent
from interlock.orchestrator.ending import Ending, end_of_run, ended_row, waiting_for_children
from interlock.orchestrator.feed import Feed
from interlock.orchestrator.gateway import Gateway
from interlock.orchestrator.history import History, at_path, person_in
from interlock.orchestrator.loop import RunLoop, user_line
from interlock.orchestrator.mailbox import Mailbox
from interlock.orchestrator.operation import UNSET, DurableFuture, Operation, OperationHost
from interlock.orchestrator.pinning import ContractPins
from interlock.orchestrator.repeated import AskedWrites
from interlock.orchestrator.waits import ChildOperation, TimerOperation
from interlock.tools.provenance import Sources

if TYPE_CHECKING:
    from interlock.contract import Contract
    from interlock.models.ask import Asker
    from interlock.tools.masking.vault import RunVault, Vault

__all__ = ["Services", "Session", "TornDown"]

_log = logging.getLogger("interlock")


class TornDown(BaseException):
    """Raised by durable operations while a session is being torn down."""


class Services(Protocol):
    """What a session needs from its executor."""

    journal: Journal
    clock: Clock
    threads: Threads
    acting: Acting
    loop: asyncio.AbstractEventLoop
    residency_us: int
    worker: str

    feed: Feed
    gateway: Gateway
    contracts: ContractPins
    vault: Vault | None

    def asker(self) -> Asker:
        """What asks models for the runs of this executor."""
        ...

    def may_act_seconds(self) -> float:
        """How long this process may still make effects."""
        ...

    def agent(self, name: str) -> Agent:
        """A declared agent. Raises `NotFoundError`."""
        ...

    def progressed(self, run: str) -> None:
        """A claim has led to its first new event."""
        ...

    def ended(self, session: Session) -> None:
        """The session is over: suspended, finished, parked, released or lost."""
        ...

    def committed(self) -> None:
        """Something was committed that concerns other runs."""
        ...

    def failed(self, error: StorageError) -> None:
        """The journal cannot go on."""
        ...


class Session(OperationHost):
    """One claim of one run. Used from the host loop's thread only."""

    def __init__(
        self,
        services: Services,
        row: RunRow,
        agent: Agent,
        epoch: int,
        history: History,
        mail: Sequence[Mail],
        body_of: Callable[[Session], Any],
    ) -> None:
        self.services = services
        self.row = row
        self.run_id = row.id
        self.agent = agent
        self.agent_name = agent.name
        self.contract: Contract | None = None
        self.generation = row.generation
        self.epoch = epoch
        self.host = services.loop
        self.clock = services.clock
        self.threads = services.threads
        self.acting = services.acting
        self.live = False
        self.closed = False
        self.draining = False
        self.parking = False
        self.mailbox = Mailbox(mail)
        self.children: dict[str, str] = {}
        self.child_results: dict[str, bytes] = {}
        # By the ask in which models asked for them.
        self.asked_writes: dict[str, AskedWrites] = {}
        # How many ids the code has been given.
        self.ids = 0
        self.outcome = ""
        self.cancel_reason = ""
        self.history = history
        self.seed = history.seed()
        self.ending: Ending | None = None
        self.ended_row: RunRow | None = None
        self.wake_at_us: int | None = None
        self.state_body: Callable[[], bytes | None] = lambda: None
        self.recorded_state = history.recorded_state()
        self._sources: Sources | None = None
        self._operations: dict[str, Operation] = {}
        self._discarded: set[str] = set()
        self._busy = 0
        self._uncommitted = 0
        self._resting = False
        self._progressed = False
        self._finishing = False
        self._code_ended = False
        self._broken: InterlockError | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._missed: list[Callable[[], None]] = []
        self._run_vault: RunVault | None = None
        self.left_over: tuple[Draft, ...] = ()
        # Whether the code has ended before its tasks: what they held, nobody gives back.
        self.left_behind = False
        self.now_us = history.began_us() or services.clock.now_us()
        self._loop = RunLoop(self, services.loop, salt=zlib.crc32(row.id.encode()))
        self._loop.time_us = self.now_us
        self._body_of = body_of
        self._root: asyncio.Task[Any] | None = None

    @property
    def sources(self) -> Sources:
        """What the run may rely on: its input, and what trusted tools have answered."""
        if self._sources is None:
            vault = self.run_vault()
            self._sources = Sources(None if vault is None else vault.reveal_value)
            terms = self.agent.grounding
            given = json.loads(self.history.input())
            for path in terms.input:
                self._sources.add("the run's input", at_path(given, path))
            self._sources.add("the contract", list(terms.values))
        return self._sources

    # From claim to live.

    def begin(self) -> None:
        """Replay what is recorded, then go live. Called once, from a callback of the host loop."""
        try:
            self.contract = self.services.contracts.of(self.agent_name, self.history.contract())
            self.agent = self.agent.under(self.contract)
            context = copy_context()
            self._root = self._loop.begin(self._body_of(self), context)
            self._pump()
            for entry in self.history.outcomes():
                self._replay(entry)
        except InterlockError as error:
            self._park(error)
            return
        self._go_live()

    def run_vault(self) -> RunVault | None:
        """The run's values under handles, where its contract asks for them.

        Raises `VaultError` when the executor has no vault.
        """
        terms = self.agent.masking
        if not terms.handles:
            return None
        if self._run_vault is None:
            if self.services.vault is None:
                raise VaultError(
                    f"the contract of agent {self.agent_name!r} asks for handles, and this "
                    "executor has no vault. Declare the contract before the executor starts."
                )
            person = person_in(self.history.input(), terms.person) or self.run_id
            self._run_vault = self.services.vault.for_run(self.run_id, person, terms.kinds)
        return self._run_vault

    def _replay(self, entry: Entry) -> None:
        event = entry.event
        # What the code was cancelling when it returned has nobody left to tell.
        unheard = self._code_ended and event.kind == "operation_cancelled"
        if unheard or event.key in self._discarded:
            return
        self._set_time(event.at_us)
        if event.kind == "cancel_requested":
            self._cancel_root(event.header)
        else:
            self._operation(event.key, event.kind).fold(event.kind, event.header, entry.body, UNSET)
        self._pump()

    def _operation(self, key: str, kind: str) -> Operation:
        operation = self._operations.get(key)
        if operation is None:
            raise ReplayMismatchError(
                f"run {self.run_id}: the journal has {kind!r} for operation {key!r}, and the code "
                f"of agent {self.agent_name!r} has not asked for it; {self._whereabouts()}. The "
                "code has changed since: deploy the version that began the run and "
                f"`interlock retry {self.run_id}`, or cancel it.",
                run=self.run_id,
                key=key,
            )
        return operation

    def _whereabouts(self) -> str:
        waiting = ", ".join(repr(key) for key in list(self._operations)[:5])
        root = self._root
        if waiting or root is None or not root.done():
            return f"it waits for {waiting or 'nothing'}"
        error = None if root.cancelled() else root.exception()
        return f"it has ended with {failure_of(error).sentence()}" if error else "it has returned"

    def _go_live(self) -> None:
        self.live = True
        if self.row.deadline_at_us is not None:
            self._arm_deadline(self.row.deadline_at_us)
        self._read_mail()
        for operation in list(self._operations.values()):
            operation.go_live()
        self._check_rest()

    # The code's side: issuing operations.

    def issue(
        self, operation: Operation, named: Callable[[str], None] | None = None
    ) -> DurableFuture:
        """Begin an operation for the running code; `named` is told its key first.

        Raises `ForbiddenInRunError` when the caller is not the run's own code.
        """
        loop = self._loop
        if not loop.runs_here():
            self.refuse_caller()
        key = loop.node().key(operation.name)
        self.enter(operation, key)
        if named is not None:
            named(key)
        future = DurableFuture(loop=loop)
        future.operation = operation
        operation.future = future
        operation.context = copy_context()
        if self.live and not self.draining:
            operation.start()
        return future

    def refuse_caller(self) -> None:
        """Raise `ForbiddenInRunError`, unless the run is being torn down."""
        if not self.closed:
            raise ForbiddenInRunError(
                f"{user_line()}: an operation of run {self.run_id} was used outside of the run's "
                "code (in a step, a tool or a thread). Return to the agent's function and do it "
                "there."
            )

    def enter(self, operation: Operation, key: str) -> None:
        """Make the operation known under its key."""
        if self.closed or self._code_ended:
            raise TornDown
        operation.key = key
        self._operations[key] = operation

    def next_key(self, name: str) -> str:
        """The key of the running code's next operation called `name`."""
        return self._loop.node().key(name)

    def in_code(self) -> bool:
        """Whether the caller is the run's own code, and not a step, a tool or a thread."""
        return self._loop.runs_here()

    def timer(self, due_seconds: float, fire: Callable[[], None]) -> Callable[[], None]:
        """A durable timer for the run's loop (see `loop.LoopHost`)."""
        operation = TimerOperation(self, "timer", round(due_seconds * 1_000_000), fire)
        self.enter(operation, self.next_key(operation.name))
        if self.live and not self.draining:
            operation.start()
        return partial(self._discard, operation)

    def _discard(self, operation: Operation) -> None:
        # The code does not see this cancellation, so nothing is recorded; but the timer may have
        # fired on disk already, and then a replay meets an event that nobody waits for.
        operation.open = False
        operation.disarm()
        self._discarded.add(operation.key)
        self._operations.pop(operation.key, None)

    def cancelling(self) -> bool:
        """Whether a cancellation is not yet delivered (see `loop.LoopHost`)."""
        return any(
            op.cancel_asked and op.future is not None and not op.future.done()
            for op in self._operations.values()
        )

    def broken(self, message: str, error: BaseException | None) -> None:
        """The run's code misbehaves outside of any task (see `loop.LoopHost`)."""
        if self.closed:
            return
        _log.error("run %s: %s", self.run_id, message, exc_info=error)
        if error is None and "come to rest" in message:
            self._broken = NotRecordableError(message)

    # Operations' side (see `OperationHost`).

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
        """Commit an event of an operation; it is folded when it is on disk.

        Nothing follows the event that ends an operation: whatever still comes of it is dropped.
        """
        if self.closed or self.parking or not operation.may_record(draft):
            return
        self._uncommitted += 1
        own = Append(self.run_id, (draft, *also), self.epoch)
        self._submit(
            Commit((own, *appends), guards),
            partial(self._recorded, operation, draft, value, appends),
        )

    def _submit(self, commit: Commit, done: Callable[[Result | StorageError], None]) -> None:
        try:
            self.services.journal.submit(commit, done)
        except StorageError as error:
            # Not from here: the run's code may be on the stack.
            self.host.call_soon(self.services.failed, error)
        except InterlockError as error:
            self._uncommitted -= 1
            self.host.call_soon(self._park, error)

    def _recorded(
        self,
        operation: Operation,
        draft: Draft,
        value: Any,
        others: tuple[Append, ...],
        result: Result | StorageError,
    ) -> None:
        self._uncommitted -= 1
        if self.closed or not self._accepted(result, operation):
            return
        if others:
            self.services.committed()
        if not self._progressed:
            self._progressed = True
            self.services.progressed(self.run_id)
        if operation.key not in self._discarded:
            self.now_us = self._loop.time_us = result.at_us
            try:
                operation.fold(draft.kind, draft.header, draft.body, value)
            except InterlockError as error:
                self._park(error)
                return
            self._pump()
        if not (self._busy or self._uncommitted):
            self._check_rest()

    def _accepted(
        self, result: Result | StorageError, operation: Operation | None
    ) -> TypeGuard[Committed]:
        if isinstance(result, Committed):
            return True
        if isinstance(result, StorageError):
            self.close()
            self.services.failed(result)
        elif result.reason in ("stale_epoch", "wrong_seq") or operation is None:
            _log.warning("run %s: claim lost (%s)", self.run_id, result.detail or result.reason)
            self._leave()
        else:
            operation.sealed = False
            if not operation.cancel_asked or operation.needs_the_end():
                operation.refused(result)
            self._check_rest()
        return False

    def commit_aside(self, commits: Sequence[Commit], then: Callable[[], None]) -> None:
        """Write to streams of others (see `OperationHost`)."""
        waiting = len(commits)

        def done(result: Result | StorageError) -> None:
            nonlocal waiting
            waiting -= 1
            if isinstance(result, StorageError):
                self.services.failed(result)
            elif waiting == 0:
                self.services.committed()
                if not self.closed:
                    then()
                self.working(-1)

        self.working(+1)
        try:
            for commit in commits:
                self.services.journal.submit(commit, done)
        except StorageError as error:
            self.host.call_soon(self.services.failed, error)

    def stop_run(self, reason: str) -> None:
        """The run's own code cancels the run: as a request to cancel would, at this point."""
        self.cancel_reason = self.cancel_reason or reason
        if self._root is not None:
            self._root.cancel()

    def working(self, change: int) -> None:
        """Count work in flight on the host."""
        self._busy += change
        if not (self._busy or self._uncommitted):
            self._check_rest()

    def arm(self, due_us: int, operation: Operation) -> asyncio.TimerHandle:
        """Call `operation.due()` at a moment."""
        seconds = max(0.0, (due_us - self.clock.now_us()) / 1e6)
        return self.host.call_later(seconds, self._due, due_us, operation)

    def _due(self, due_us: int, operation: Operation) -> None:
        operation.timer = None
        if self.closed or self.draining or not operation.open:
            return
        if self._finishing:
            self._missed.append(partial(self._due, due_us, operation))
            return
        if self.clock.now_us() < due_us:  # Loop time and wall time drift apart.
            operation.timer = self.arm(due_us, operation)
        else:
            operation.due()
            self._check_rest()

    def finished(self, operation: Operation) -> None:
        """Forget an operation that expects no more events."""
        self._operations.pop(operation.key, None)
        # The two hold each other: letting go frees both at once, without the cyclic collector.
        if operation.future is not None and operation.future.done():
            operation.future = None

    def budget(self, account: str) -> BudgetRow | None:
        """How a budget's account stands now."""
        return self.services.journal.store.budget(account)

    def may_act_seconds(self) -> float:
        """How long this process may still act for the run."""
        return 0.0 if self.closed else self.services.may_act_seconds()

    # Mail.

    def receive(self, mail: Mail) -> None:
        """A message for this run has come."""
        if not self.closed and self.mailbox.put(mail) and self.live:
            self._read_mail()
            self._check_rest()

    def _read_mail(self) -> None:
        # While the session is ending, a message is for the next claim: `NoMailSince` saw to that,
        # or the message itself has woken the run.
        if self.draining or self._finishing:
            return
        while cancel := self.mailbox.take(lambda mail: mail.kind == "cancel"):
            self._record_cancel(cancel)
        for operation in list(self._operations.values()):
            mail = self.mailbox.take(operation.wants)
            if mail is not None:
                operation.take(mail)

    def child_ended(self, child: str) -> None:
        """A child's result is known: other waits for it need no message."""
        for operation in list(self._operations.values()):
            if isinstance(operation, ChildOperation) and operation.child == child:
                operation.start_again()

    # Cancelling.

    def _record_cancel(self, mail: Mail | None) -> None:
        header: dict[str, Any] = {"reason": "deadline", "by": ""}
        if mail is not None:
            header = {
                "reason": mail.name or "cancelled",
                "by": mail.header.get("by", ""),
                "takes": mail.message_id,
            }
        if self.cancel_reason:
            header["repeated"] = True
        self._uncommitted += 1
        append = Append(self.run_id, (Draft("cancel_requested", "", header),), self.epoch)
        self._submit(Commit((append,)), partial(self._cancel_recorded, header))

    def _cancel_recorded(self, header: dict[str, Any], result: Result | StorageError) -> None:
        self._uncommitted -= 1
        if self.closed or not self._accepted(result, None):
            return
        self._set_time(result.at_us)
        self._cancel_root(header)
        self._pump()
        self._check_rest()

    def _cancel_root(self, header: Any) -> None:
        if header.get("repeated"):  # It must not interrupt the cleaning up.
            return
        self.cancel_reason = header["reason"]
        if self._root is not None and not self._root.done():
            self._root.cancel()

    def _arm_deadline(self, deadline_us: int) -> None:
        if self.cancel_reason:
            return
        if self._finishing:
            self._missed.append(partial(self._arm_deadline, deadline_us))
            return
        seconds = (deadline_us - self.clock.now_us()) / 1e6
        if seconds <= 0:
            self._record_cancel(None)
        else:
            self._deadline = self.host.call_later(seconds, self._arm_deadline, deadline_us)

    # Rest and end.

    def _set_time(self, at_us: int) -> None:
        self.now_us = self._loop.time_us = at_us

    def _pump(self) -> None:
        self._loop.pump()
        if self._root is not None and self._root.done() and not self._code_ended:
            self._leave_code()
        if self._broken is not None:
            error, self._broken = self._broken, None
            if self.live:
                self._park(error)
            else:
                raise error

    def _leave_code(self) -> None:
        """The agent's function has returned: tasks that it left behind end with it.

        Only effects whose outcome is not known are followed further.
        """
        self._code_ended = True
        self.left_behind = bool(self._operations)
        for operation in list(self._operations.values()):
            if operation.needs_the_end():
                operation.future = None
            else:
                self.left_over += operation.left_over()
                operation.stop()
                self._discard(operation)
        self._loop.tear_down()

    def _check_rest(self) -> None:
        if self._resting or self.closed or self._busy or self._uncommitted or not self.live:
            return
        self._resting = True
        self.host.call_soon(self._rest)

    def _rest(self) -> None:
        self._resting = False
        if self.closed or self._busy or self._uncommitted or self._finishing:
            return
        root = self._root
        if root is not None and root.done() and not self._unsettled():
            self._end(root)
        elif self.draining:
            self._finish_session((Draft("run_released"),))
        elif not self._operations:
            self._stuck()
        else:
            self._wait_or_suspend()

    def _unsettled(self) -> bool:
        return any(operation.needs_the_end() for operation in self._operations.values())

    def _stuck(self) -> None:
        self._park(
            NotRecordableError(
                f"{self._loop.line_of_code()}: the code of run {self.run_id} waits for something "
                "that is not durable: an asyncio.Event, Queue or Lock that nothing in the run will "
                "set, or a thread of its own. Wait for a signal or another durable operation; work "
                "in a thread belongs into a synchronous function for run.step."
            )
        )

    def _wait_or_suspend(self) -> None:
        now_us = self.clock.now_us()
        wakes = [us for op in self._operations.values() if (us := op.wake_at_us()) is not None]
        if self.row.deadline_at_us is not None and not self.cancel_reason:
            wakes.append(self.row.deadline_at_us)
        wake_at_us = min(wakes, default=None)
        if wake_at_us is not None and wake_at_us - now_us < self.services.residency_us:
            self._arm_what_is_overdue(now_us)
            return
        self.wake_at_us = wake_at_us
        header = {
            "wake_at_us": wake_at_us,
            "mail_position": self.mailbox.position,
            "waits": [operation.wait_row() for operation in self._operations.values()],
        }
        guard = NoMailSince(self.run_id, self.mailbox.position)
        self._finish_session((Draft("run_suspended", "", header),), guard)

    def _arm_what_is_overdue(self, now_us: int) -> None:
        # The wall clock may have been set forward since a moment was armed on the loop's clock.
        for operation in list(self._operations.values()):
            wake_at_us = operation.wake_at_us()
            if operation.timer is not None and wake_at_us is not None and wake_at_us <= now_us:
                operation.arm(wake_at_us)

    def _end(self, root: asyncio.Task[Any]) -> None:
        try:
            ending = end_of_run(self, root)
        except InterlockError as error:
            self._park(error)
            return
        if ending is None:
            guard = NoMailSince(self.run_id, self.mailbox.position)
            waiting = waiting_for_children(self)
            self.wake_at_us = waiting.header["wake_at_us"]
            self._finish_session((waiting,), guard)
        else:
            self.ending = ending
            self._finish_session(ending.drafts, appends=ending.appends)

    def _park(self, error: InterlockError) -> None:
        if self.closed or self.parking:
            return
        # The message may quote what was recorded, which is not for a log.
        _log.error(
            "run %s is parked (%s): see interlock explain %s", self.run_id, error.code, self.run_id
        )
        # What is in flight elsewhere is not stopped before this is on disk, and not recorded: for
        # the next claim it is as if the process had ended here.
        self.parking = True
        self.ending = None
        body = Failure((type(error).__name__,), error.message).encode()
        self._commit_last((Draft("run_parked", "", {"reason": error.code}, body),))

    def _finish_session(
        self,
        drafts: tuple[Draft, ...],
        guard: Guard | None = None,
        appends: tuple[Append, ...] = (),
    ) -> None:
        try:
            state = self.state_body()
        except InterlockError as error:
            self._park(error)
            return
        if state is not None and state != self.recorded_state:
            drafts = (*drafts, Draft("state_changed", "", {}, state))
        self._commit_last(drafts, guard, appends)

    def _commit_last(
        self,
        drafts: tuple[Draft, ...],
        guard: Guard | None = None,
        appends: tuple[Append, ...] = (),
    ) -> None:
        self._finishing = True
        self._uncommitted += 1
        own = Append(self.run_id, drafts, self.epoch)
        guards = () if guard is None else (guard,)
        self._submit(Commit((own, *appends), guards), self._session_finished)

    def _session_finished(self, result: Result | StorageError) -> None:
        self._uncommitted -= 1
        if self.closed:
            return
        if isinstance(result, Refused) and result.reason == "mail_waiting":
            self._stay()
        elif self._accepted(result, None):
            if self.ending is not None:
                self.ended_row = ended_row(self.row, self.ending.drafts[0], result)
            self._leave()

    def _stay(self) -> None:
        """Mail has come before the suspension: go on, with what was missed meanwhile."""
        self._finishing = False
        missed, self._missed = self._missed, []
        for callback in missed:
            callback()
        for mail in self.services.journal.store.mail(self.run_id, self.mailbox.position):
            self.mailbox.put(mail)
        self._read_mail()
        self._check_rest()

    def _leave(self) -> None:
        if not self.closed:
            self.close()
            self.services.ended(self)

    def drain(self) -> None:
        """Start nothing more; let what is in flight be recorded, then let go of the run."""
        self.draining = True
        self._check_rest()

    def close(self) -> None:
        """Forget the run's code and release what the host holds. Repeatable."""
        if self.closed:
            return
        self.closed = True
        if self._deadline is not None:
            self._deadline.cancel()
        for operation in list(self._operations.values()):
            operation.stop()
        self._loop.tear_down()
        self._operations.clear()
