"""The executor: claims runs, gives them their sessions, and wakes what waits.

One executor owns a store at a time. It admits runs as far as its concurrency allows: first those
that had begun before a crash, then those that wake up, then the queue by priority and fair share.
A run that waits is a row in the database and costs nothing here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from interlock.base.failure import Failure
from interlock.clock import Acting, Clock, Threads
from interlock.errors import (
    NotFoundError,
    StorageCorruptError,
    StorageError,
    StorageLockedError,
)
from interlock.journal.event import Draft, Entry
from interlock.journal.guard import Append, Commit, Committed, Result, RunIn
from interlock.journal.journal import Journal
from interlock.journal.rows import Mail, RunRow
from interlock.orchestrator.admission import Admission
from interlock.orchestrator.agent import Agent
from interlock.orchestrator.blocking import refuse_blocking_calls
from interlock.orchestrator.ending import cancel_children, child_message, open_holds
from interlock.orchestrator.feed import Feed
from interlock.orchestrator.gateway import Gateway
from interlock.orchestrator.history import History
from interlock.orchestrator.pinning import ContractPins
from interlock.orchestrator.run import agent_body
from interlock.orchestrator.session import Session
from interlock.orchestrator.start import first_claim
from interlock.people.declared import declaration

if TYPE_CHECKING:
    from interlock.contract import Contract
    from interlock.models.ask import Asker
    from interlock.tools.masking.vault import Vault

__all__ = ["EndedRun", "Executor", "ExecutorOptions", "Lease"]

_log = logging.getLogger("interlock")
_MAX_CLAIMS_WITHOUT_PROGRESS: Final = 5
_US: Final = timedelta(microseconds=1)


class Lease(Protocol):
    """The right to execute the runs of a store."""

    def remaining_seconds(self) -> float:
        """How long this process may still act; 0 when it has lost the right."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions:
    """How an executor works.

    `concurrency`: how many runs may execute at once; waiting ones do not count. `residency`: a run
    whose next moment is closer than this stays in memory. `poll`: how often to look for what other
    processes wrote. `worker`: this executor's name in the journal.
    """

    concurrency: int = 200
    residency: timedelta = timedelta(seconds=1)
    poll: timedelta = timedelta(milliseconds=10)
    worker: str = "local"


class EndedRun(NamedTuple):
    """A run that is finished or parked, and its recorded result or failure."""

    row: RunRow
    body: bytes | None


class Executor:
    """Executes runs. Everything happens on one event loop, that of `run`."""

    def __init__(
        self,
        *,
        journal: Journal,
        clock: Clock,
        threads: Threads,
        lease: Lease,
        agents: Mapping[str, Agent],
        options: ExecutorOptions,
        code_version: str,
        asker: Callable[[], Asker],
        gateway: Gateway | None = None,
        contracts: Mapping[str, Contract] | None = None,
        session_type: type[Session] = Session,
        vault: Vault | None = None,
    ) -> None:
        self.journal = journal
        self.clock = clock
        self.threads = threads
        # Writes that may still act, though their call has timed out or their run was let go.
        self.acting = Acting()
        self.worker = options.worker
        self.residency_us = options.residency // _US
        self.failure: StorageError | None = None
        self.feed = Feed()
        self.vault = vault
        self.gateway = gateway or Gateway()
        self.contracts = ContractPins(journal.store, contracts or {})
        self._make_asker = asker
        self._asker: Asker | None = None
        self._lease = lease
        self._agents = agents
        self._options = options
        self._code_version = code_version
        self._session_type = session_type
        self._sessions: dict[str, Session] = {}
        self._claiming: set[str] = set()
        self._admission = Admission(journal.store, agents, options.concurrency)
        self._draining = False
        self._nudged: asyncio.Event | None = None
        self._empty: asyncio.Event | None = None
        self._ending: dict[str, list[asyncio.Future[EndedRun]]] = {}
        self._mail_position = 0
        self._changes = 0

    # Life.

    async def run(self) -> None:
        """Execute runs until `drain` is called. Raises the `StorageError` that stops it."""
        self.loop = asyncio.get_running_loop()
        refuse_blocking_calls()
        nudged = self._nudged = asyncio.Event()
        self._empty = asyncio.Event()
        self._changes = self.journal.store.changes()
        await self._declare_people()
        self._admission.recover()
        self.nudge()
        while not (self._draining or self.failure):
            await self._wait_for_work(nudged)
            self._look_around()
        await self._until_empty()
        if self.failure:
            raise self.failure

    async def _declare_people(self) -> None:
        """Let doors that have no more than the journal know who may decide."""
        declared = declaration(self.journal.store, self.gateway.roles)
        if declared is not None:
            await self.journal.commit(declared)

    def drain(self) -> None:
        """Take no more runs, let operations in flight end, then let `run` return. Repeatable."""
        self._draining = True
        for session in list(self._sessions.values()):
            session.drain()
        self.nudge()

    def stop(self) -> None:
        """Forget all runs at once; the next start recovers them. Repeatable."""
        self._draining = True
        for session in list(self._sessions.values()):
            session.close()
        self._sessions.clear()
        self._claiming.clear()
        self.nudge()

    async def _until_empty(self) -> None:
        while self._empty is not None and (self._sessions or self._claiming):
            self._empty.clear()
            await self._empty.wait()

    async def _wait_for_work(self, nudged: asyncio.Event) -> None:
        seconds = self._options.poll.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                await nudged.wait()
        except TimeoutError:
            pass
        nudged.clear()

    def nudge(self) -> None:
        """Something was committed that an executor should look at."""
        if self._nudged is not None and self._empty is not None:
            self._nudged.set()
            self._empty.set()

    def _look_around(self) -> None:
        try:
            changes = self.journal.store.changes()
            if changes != self._changes:
                self._changes = changes
                self._admission.changed()
                self._route_mail()
            self._admit()
        except StorageError as error:
            self.failed(error)

    def committed(self) -> None:
        """This process has queued a run or sent mail: look at once."""
        self._admission.changed()
        self._route_mail()
        self.nudge()

    def _route_mail(self) -> None:
        while mails := self.journal.store.mail_since(self._mail_position):
            self._mail_position = mails[-1].position
            for mail in mails:
                session = self._sessions.get(mail.run)
                if session is not None:
                    session.receive(mail)

    # Admission and claims.

    def reserve(self, run: str, agent: Agent, queued: Draft) -> Draft | None:
        """Keep a place for a new run, where nobody else waits for one (see `client.Placement`)."""
        if self._draining or self.failure or self._nudged is None:
            return None
        if not self._admission.idle() or not self._admission.has_room(agent):
            return None
        if queued.header["start_after_us"] > self.clock.now_us():
            return None
        self._claiming.add(run)
        self._admission.began(run, agent.name, queued.header["tenant"])
        header = {"worker": self.worker, "claim": 1, **self._pin(agent.name)}
        return Draft("run_claimed", "", header)

    def settle(self, run: str, agent: Agent, queued: Draft, result: Result | StorageError) -> None:
        """Begin a run that had a place, or free the place (see `client.Placement`)."""
        self._claiming.discard(run)
        if isinstance(result, StorageError):
            self.failed(result)
        elif not isinstance(result, Committed) or self._draining:
            self._left(run)
        else:
            pin, _ = self.contracts.pin(agent.name)
            row, entries = first_claim(run, agent, queued, result, self.worker, pin)
            # Nobody knows the run's id yet, so nobody has sent it mail.
            self._begin(row, 1, entries, ())

    def release(self, run: str) -> None:
        """Free the place of a run that is not to be (see `client.Placement`)."""
        self._claiming.discard(run)
        self._left(run)

    def _admit(self) -> None:
        if self._draining or self.failure:
            return
        now_us = self.clock.now_us()
        for row in self._admission.to_be_ended(now_us):
            self._claim(row, has_place=False)
        for row in self._admission.next(now_us):
            self._claim(row)

    def _claim(self, row: RunRow, *, has_place: bool = True) -> None:
        head = self.journal.store.head(row.id)
        if head is None:
            raise StorageCorruptError(f"run {row.id} is listed but has no events.", run=row.id)
        count = row.claims + 1 if head.seq == row.claim_seq else 1
        drafts, appends = self._instead_of_executing(row, count)
        if row.id in self._claiming or not (drafts or has_place):
            return
        header = {"worker": self.worker, "claim": count, **self._pin(row.agent, row)}
        claim = Draft("run_claimed", "", header)
        self._claiming.add(row.id)
        if has_place:
            self._admission.began(row.id, row.agent, row.tenant)
        own = Append(row.id, (claim, *drafts), head.epoch, raise_epoch=True, after_seq=head.seq)
        guard = RunIn(row.id, ("queued", "running", "waiting", "parked"))
        done = partial(self._claimed, row, head.epoch + 1 if not drafts else None)
        self.journal.submit(Commit((own, *appends), (guard,)), done)

    def _pin(self, agent: str, row: RunRow | None = None) -> dict[str, Any]:
        """What a claim says of the run's contract; a contract that is new is recorded before it."""
        header, commit = self.contracts.pin(agent, row)
        if commit is not None:
            self.journal.submit(commit, self._recorded)
        return header

    def _recorded(self, result: Result | StorageError) -> None:
        if isinstance(result, StorageError):
            self.failed(result)

    def _instead_of_executing(
        self, row: RunRow, count: int
    ) -> tuple[tuple[Draft, ...], tuple[Append, ...]]:
        """The events that end a claim at once, where the code must not run."""
        never_began = row.claim_seq == 0 and row.state == "queued"
        if row.state == "parked" or never_began:
            # Before all else: whether its agent is declared here says nothing about its end.
            ending = self._cancel_or_retry(row)
            if ending[0]:
                return ending
        if count > _MAX_CLAIMS_WITHOUT_PROGRESS:
            text = (
                f"run {row.id} was claimed {count - 1} times without getting any further: it "
                "probably kills its process. Look at its last event, deploy a fix, then "
                f"`interlock retry {row.id}`."
            )
            body = Failure(("PoisonRun",), text).encode()
            return (Draft("run_parked", "", {"reason": "poison"}, body),), ()
        if row.agent not in self._agents:
            text = f"no agent {row.agent!r} is declared here. Deploy it, then retry the run."
            body = Failure(("NotFoundError",), text).encode()
            return (Draft("run_parked", "", {"reason": "unknown_agent"}, body),), ()
        return (), ()

    def _cancel_or_retry(self, row: RunRow) -> tuple[tuple[Draft, ...], tuple[Append, ...]]:
        for mail in self.journal.store.mail(row.id):
            header = {"by": mail.header.get("by", ""), "takes": mail.message_id}
            if mail.kind == "cancel":
                return self._cancelled(row, header | {"reason": mail.name or "cancelled"})
            if mail.kind == "retry" and row.state == "parked":
                return (Draft("run_retried", "", header),), ()
        overdue = row.deadline_at_us is not None and row.deadline_at_us <= self.clock.now_us()
        if overdue:
            return self._cancelled(row, {"reason": "deadline"})
        return (), ()

    def _cancelled(
        self, row: RunRow, header: dict[str, Any]
    ) -> tuple[tuple[Draft, ...], tuple[Append, ...]]:
        last = Draft("run_cancelled", "", header)
        appends = cancel_children(self.journal.store, row.id)
        drafts = (last, *open_holds(self.journal.store, row.id))
        return drafts, (*appends, child_message(row, last)) if row.parent else appends

    def _claimed(self, row: RunRow, epoch: int | None, result: Result | StorageError) -> None:
        self._claiming.discard(row.id)
        if isinstance(result, StorageError):
            self.failed(result)
        elif not isinstance(result, Committed) or epoch is None or self._draining:
            self._left(row.id)
            self.committed()
            self._tell(row.id)
        else:
            self._open(row.id, epoch)

    def _open(self, run: str, epoch: int) -> None:
        store = self.journal.store
        row = store.run(run)
        if row is None:
            raise StorageCorruptError(f"run {run} was claimed but is not listed.", run=run)
        entries = store.read(run, row.generation_seq - 1)
        self._begin(row, epoch, entries, store.mail(run))

    def _begin(self, row: RunRow, epoch: int, entries: list[Entry], mail: Sequence[Mail]) -> None:
        agent = self._agents[row.agent]
        history = History(row.id, entries)
        session = self._session_type(self, row, agent, epoch, history, mail, self._body)
        self._sessions[row.id] = session
        session.begin()

    def _body(self, session: Session) -> Any:
        return agent_body(session, self._version_of)

    def _version_of(self, agent: str) -> str:
        return f"{self._code_version}:{self._agents[agent].version}"

    # What sessions need (see `session.Services`).

    def asker(self) -> Asker:
        """What asks models; made when it is first needed, since that loads a large library."""
        if self._asker is None:
            self._asker = self._make_asker()
        return self._asker

    def may_act_seconds(self) -> float:
        """How long this process may still make effects. Having lost the right stops it."""
        seconds = self._lease.remaining_seconds()
        if seconds <= 0:
            lost = StorageLockedError(
                "the right to execute the runs of this store is lost: its lock file was removed or "
                "replaced. Nothing more is done here; the next start recovers the runs."
            )
            self.loop.call_soon(self.failed, lost)
        return seconds

    def agent(self, name: str) -> Agent:
        """A declared agent. Raises `NotFoundError`."""
        found = self._agents.get(name)
        if found is None:
            known = ", ".join(sorted(self._agents)) or "none"
            raise NotFoundError(f"no agent {name!r} is declared; there are: {known}.", agent=name)
        return found

    def progressed(self, run: str) -> None:
        """A claim has led to its first new event (see `session.Services`)."""
        if self._admission.cleared(run):
            self.nudge()

    def ended(self, session: Session) -> None:
        """A session is over."""
        self._sessions.pop(session.run_id, None)
        ending = session.ending
        if session.wake_at_us is not None:
            self._admission.wakes_at(session.wake_at_us)
        if session.parking:
            self._admission.changed()  # It may have been cancelled, or be late, meanwhile.
        self._left(session.run_id)
        if ending is not None and (ending.appends or ending.drafts[0].kind == "run_continued"):
            self.committed()
        row = session.ended_row
        known = None if ending is None or row is None else EndedRun(row, ending.drafts[0].body)
        self._tell(session.run_id, known)

    def failed(self, error: StorageError) -> None:
        """The journal cannot go on: nothing more is done."""
        if self.failure is None:
            self.failure = error
            _log.critical("the executor stops: %s", error.message)
            self.stop()
            for waiting in self._ending.values():
                for future in waiting:
                    if not future.done():
                        future.set_exception(error)
            self._ending.clear()

    def _left(self, run: str) -> None:
        self._admission.ended(run)
        if self._draining or not self._admission.idle():
            self.nudge()

    # Waiting for results.

    def when_ended(self, run: str) -> asyncio.Future[EndedRun]:
        """A future of the run as it is when it is finished or parked."""
        future: asyncio.Future[EndedRun] = asyncio.get_running_loop().create_future()
        self._ending.setdefault(run, []).append(future)
        future.add_done_callback(partial(self._forget_waiting, run))
        if run not in self._sessions and run not in self._claiming:
            self._tell(run)
        return future

    def _forget_waiting(self, run: str, future: asyncio.Future[EndedRun]) -> None:
        waiting = self._ending.get(run, [])
        if future in waiting:  # Its caller gave up.
            waiting.remove(future)
            if not waiting:
                del self._ending[run]

    def _tell(self, run: str, ended: EndedRun | None = None) -> None:
        """Answer who waits for a run, if it has come to its end."""
        if not self._ending.get(run):
            return
        ended = ended or self._read_ended(run)
        if ended is None:
            return
        for future in self._ending.pop(run):
            if not future.done():
                future.set_result(ended)

    def _read_ended(self, run: str) -> EndedRun | None:
        row = self.journal.store.run(run)
        if row is None or row.state not in ("completed", "failed", "cancelled", "parked"):
            return None
        last = (
            None if row.result_position is None else self.journal.store.entry(row.result_position)
        )
        return EndedRun(row, None if last is None else last.body)
