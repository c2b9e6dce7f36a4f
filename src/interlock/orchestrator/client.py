"""What may be asked of runs from anywhere: another process, the command line, the API.

A client never writes to a run's stream. It creates streams (a new run) and sends mail, each in one
transaction with a unique message id, whether or not an executor is up. Repeating a call with the
same id changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from interlock.base.codec import canonical
from interlock.base.identifier import new_id
from interlock.clock import Clock
from interlock.errors import (
    ConflictError,
    IdempotencyConflictError,
    InterlockError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from interlock.journal.event import Draft
from interlock.journal.guard import (
    Append,
    Commit,
    Committed,
    Guard,
    NewMessage,
    Refused,
    Result,
    RunIn,
    TaskOpen,
    UniqueKey,
)
from interlock.journal.journal import Journal
from interlock.journal.rows import BudgetRow, EffectRow, InboxRow, RunRow, RunState
from interlock.limits.budget import raising
from interlock.orchestrator.agent import Agent, same_input
from interlock.orchestrator.budget_task import runs_that_wait_for
from interlock.orchestrator.start import StartOptions, queued_draft

__all__ = ["Client", "Placement", "Raised", "Started"]

_UNFINISHED: tuple[RunState, ...] = ("queued", "running", "waiting", "parked")
_FINISHED: tuple[RunState, ...] = ("completed", "failed", "cancelled")
_VERDICTS = ("happened", "not_happened", "given_up")
_ACCOUNTS_NAMED = 8


class Placement(Protocol):
    """An executor in this process that may take a new run at once, without queueing it first."""

    def reserve(self, run: str, agent: Agent, queued: Draft) -> Draft | None:
        """Keep a place for the run and answer its claim, or None when it has to queue."""
        ...

    def settle(self, run: str, agent: Agent, queued: Draft, result: Result | StorageError) -> None:
        """The commit of a run that has a place is answered: begin it, or free the place."""
        ...

    def release(self, run: str) -> None:
        """Free the place of a run that is not to be."""
        ...

    def committed(self) -> None:
        """A run was queued, or mail was sent."""
        ...


class Started(NamedTuple):
    """A run that was started. `created` is False when an idempotency key found it."""

    run: str
    created: bool


class Raised(NamedTuple):
    """A budget that was raised: its account as it stands, and the runs that were told."""

    budget: BudgetRow
    message: str
    runs: tuple[str, ...]


class Client:
    """Starts runs and writes to them. Safe to use while an executor works on the same store."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        agents: Mapping[str, Agent],
        code_version: str,
        placement: Placement | None = None,
    ) -> None:
        self.journal = journal
        self._clock = clock
        self._agents = agents
        self._code_version = code_version
        self._placement = placement

    # Starting.

    async def start(
        self,
        agent: str,
        input: Any = None,
        options: StartOptions | None = None,
    ) -> Started:
        """Start a run.

        Raises `NotFoundError` for an unknown agent, `InvalidInputError` that names every wrong
        field (no run exists then), and `IdempotencyConflictError` when the options' key was used
        with another input. Safe to repeat with an idempotency key.
        """
        declared = self.agent(agent)
        label = f"the input of agent {agent!r}"
        value = declared.input.validate(input, label)
        return await self.start_encoded(declared, declared.input.encode(value, label), options)

    async def start_encoded(
        self, agent: Agent, body: bytes, options: StartOptions | None = None
    ) -> Started:
        """As `start`, with an input that is validated and encoded already."""
        given = options or StartOptions()
        run = new_id("run", self._clock)
        version = f"{self._code_version}:{agent.version}"
        draft = queued_draft(
            agent.name,
            body,
            given,
            self._clock,
            code_version=version,
            sensitive=agent.sensitive_in("input"),
        )
        guards: tuple[Guard, ...] = ()
        if given.idempotency_key is not None:
            guards = (UniqueKey(given.start_scope(agent.name), given.idempotency_key),)
        result = await self._create(run, agent, draft, guards)
        if isinstance(result, Refused):
            return self._started_before(result, agent, body, given)
        return Started(run, True)

    async def _create(
        self, run: str, agent: Agent, draft: Draft, guards: tuple[Guard, ...]
    ) -> Result:
        place = self._placement
        claim = None if place is None else place.reserve(run, agent, draft)
        if place is None or claim is None:
            append = Append(run, (draft,), after_seq=0)
            result = await self.journal.commit(Commit((append,), guards))
            self._committed()
            return result
        append = Append(run, (draft, claim), epoch=0, raise_epoch=True, after_seq=0)
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        # The place is settled whether or not the caller is still there to hear the answer.
        settle = partial(place.settle, run, agent, draft)
        try:
            self.journal.submit(Commit((append,), guards), partial(_answer, answer, settle))
        except InterlockError:
            place.release(run)
            raise
        return await answer

    def _committed(self) -> None:
        if self._placement is not None:
            self._placement.committed()

    def _started_before(
        self, refused: Refused, agent: Agent, body: bytes, options: StartOptions
    ) -> Started:
        if refused.reason != "key_taken":
            raise _unexpected(refused)
        first = self.journal.store.read(refused.holder, limit=1)[0]
        if not first.erased and not same_input(agent, first.body or b"null", body):
            raise IdempotencyConflictError(
                f"idempotency key {options.idempotency_key!r} was used before with another input "
                f"(run {refused.holder}). Use a new key for a new request.",
                run=refused.holder,
            )
        return Started(refused.holder, False)

    def agent(self, name: str) -> Agent:
        """A declared agent. Raises `NotFoundError` that names those there are."""
        found = self._agents.get(name)
        if found is None:
            known = ", ".join(sorted(self._agents)) or "none"
            raise NotFoundError(f"no agent {name!r} is declared; there are: {known}.", agent=name)
        return found

    # Writing to runs.

    async def signal(
        self,
        run: str,
        name: str,
        payload: Any = None,
        *,
        message_id: str | None = None,
        by: str = "",
    ) -> str:
        """Send a signal and answer its message id.

        It is delivered once, to the first wait for its name, now or later. With `message_id` a
        repeat changes nothing. Raises `NotFoundError`, or `ConflictError` for a finished run.
        """
        if not name or len(name) > 200:
            raise InvalidInputError("a signal's name has 1 to 200 characters.")
        body = canonical(payload, f"signal {name!r}")
        return await self._send(run, "signal", name, body, message_id, by)

    async def cancel(
        self, run: str, *, reason: str = "cancelled", message_id: str | None = None, by: str = ""
    ) -> str:
        """Ask for a run's cancellation: its `finally` blocks run, its children are cancelled.

        Raises `NotFoundError`, or `ConflictError` for a finished run.
        """
        return await self._send(run, "cancel", reason, None, message_id, by)

    async def retry(self, run: str, *, message_id: str | None = None, by: str = "") -> str:
        """Let a parked run continue; completed operations are kept.

        Raises `NotFoundError`, or `ConflictError` when the run is not parked.
        """
        return await self._send(run, "retry", "", None, message_id, by, states=("parked",))

    async def decide(
        self,
        task: str,
        choice: str,
        *,
        note: str = "",
        value: Any = None,
        by: str = "",
    ) -> None:
        """Answer an inbox task. It is decided when this returns; nobody can decide it again.

        Raises `NotFoundError`, `InvalidInputError` for a choice that is not offered, and
        `ConflictError` when it is not open any more (the message says who decided), or is about a
        call that nobody approved in time.
        """
        row = self.inbox_task(task)
        question = self.question(row)
        choices = list(question.get("choices") or [])
        if row.kind == "effect":
            choices = list(_VERDICTS)
        if choices and choice not in choices:
            offered = ", ".join(repr(c) for c in choices)
            raise InvalidInputError(
                f"inbox task {task}: {choice!r} is not offered; there is {offered}."
            )
        if row.kind == "approval" and choice == "edit" and not isinstance(value, dict):
            raise InvalidInputError(
                f"inbox task {task}: an edit needs the call's arguments as a JSON object; give "
                "them all, those that stay too (`--value` on the command line)."
            )
        # The journal would refuse the call all the same; nobody is told "decided" for nothing.
        over = row.due_at_us is not None and self._clock.now_us() >= row.due_at_us
        if row.kind == "approval" and row.state == "open" and over:
            raise ConflictError(
                f"inbox task {task}: its time to approve is over, and the call is not made.",
                task=task,
            )
        answer: dict[str, Any] = {"choice": choice, "note": note, "value": value}
        if row.kind == "effect":
            answer |= {"verdict": choice, "result": value}
        header = {"run": row.run, "kind": "decision", "name": task, "by": by, "task": task}
        body = canonical(answer, f"the decision of inbox task {task}")
        draft = Draft("mail_sent", f"decision:{task}", header, body)
        commit = Commit((Append(f"mail/{row.run}", (draft,)),), (TaskOpen(task),))
        result = await self.journal.commit(commit)
        if isinstance(result, Refused):
            raise _closed(result)
        self._committed()

    async def resolve(
        self,
        effect_key: str,
        verdict: str,
        *,
        result: Any = None,
        message_id: str | None = None,
        by: str = "",
    ) -> str:
        """Say what became of an effect whose outcome is unknown.

        `verdict`: `happened` (with the `result` that the call would have returned), `not_happened`
        (it is made then), or `given_up`. An inbox task about it is closed in the same transaction.
        Raises `NotFoundError`, or `ConflictError` when the effect is not unknown or somebody else
        was first.
        """
        if verdict not in _VERDICTS:
            raise InvalidInputError(f"verdict {verdict!r}: allowed are {', '.join(_VERDICTS)}.")
        row = self.effect(effect_key)
        if row.state in ("completed", "failed"):
            raise ConflictError(
                f"effect {effect_key} is {row.state}: there is nothing to resolve.",
                effect_key=effect_key,
            )
        body = canonical({"verdict": verdict, "result": result}, f"the result of {effect_key}")
        if self.run(row.run).state in _FINISHED:
            await self._resolve_finished(row, verdict, body, by)
            return ""
        about: dict[str, Any] = {"attempt": row.attempts}
        task = self._task_about(row)
        if task is not None:
            about["task"] = task
        return await self._send(
            row.run, "resolution", effect_key, body, message_id, by, about=about
        )

    async def record_erasure(self, person: str, *, by: str = "", reason: str = "") -> None:
        """Record that a person's values are erased from the vault, where `person` names them."""
        header = {"person": person, "by": by, "reason": reason}
        draft = Draft("vault_erased", "", header)
        await self.journal.commit(Commit((Append("tenant/default", (draft,)),)))

    def _task_about(self, effect: EffectRow) -> str | None:
        """The open inbox task that asks about an effect, which its answer closes."""
        tasks = self.journal.store.open_tasks(effect.run)
        about = (task.id for task in tasks if task.kind == "effect" and task.key == effect.key)
        return next(about, None)

    async def _resolve_finished(self, row: EffectRow, verdict: str, body: bytes, by: str) -> None:
        # A run that was parked can be cancelled with its effects still unknown. Nobody executes it
        # any more, so the word is written by whoever brings it, under an epoch of its own.
        head = self.journal.store.head(row.run)
        header = {"effect_key": row.effect_key, "verdict": verdict, "by": by}
        draft = Draft("effect_resolved", row.key, header, body)
        epoch = 0 if head is None else head.epoch
        append = Append(row.run, (draft,), epoch, raise_epoch=True)
        refused = await self.journal.commit(Commit((append,), (RunIn(row.run, _FINISHED),)))
        if isinstance(refused, Refused):
            raise ConflictError(
                f"effect {row.effect_key} is being resolved by somebody else: look again.",
                effect_key=row.effect_key,
            )

    async def raise_budget(
        self, account: str, amount: int, *, by: str = "", message_id: str | None = None
    ) -> Raised:
        """Let an account spend `amount` more, and tell the runs that wait for it.

        `amount`: an integer from 1, in the smallest part of the account's unit (`limits.amount`).
        With `message_id` a repeat raises nothing again, and tells the runs that were not told. A
        run that finds the account exhausted while this goes on looks again once its question is
        open. Raises `NotFoundError` that names the accounts there are, `InvalidInputError` for the
        amount, and `IdempotencyConflictError` when the id was used with another one.
        """
        self.budget(account)
        if amount < 1:
            raise InvalidInputError(f"{account} can be raised, by more than 0.", account=account)
        message = message_id or new_id("msg", self._clock)
        raised = raising(account, amount, message_id=message, by=by)
        result = await self.journal.commit(raised)
        if isinstance(result, Refused):
            self._check_repeated(result.holder, account, amount, message)
        # Read after the raise is on disk: who asks later than this sees it by itself.
        waiting = runs_that_wait_for(self.journal.store, account)
        for run in waiting:
            # A run that has ended meanwhile needs no telling.
            with contextlib.suppress(ConflictError):
                body = canonical({"account": account, "amount": amount}, "a raise")
                await self._send(run, "budget_raised", account, body, f"budget:{message}", by)
        return Raised(self.budget(account), message, waiting)

    def _check_repeated(self, stream: str, account: str, amount: int, message: str) -> None:
        raises = (entry.event for entry in self.journal.store.read(stream))
        amounts = [
            event.header["amount"]
            for event in raises
            if event.kind == "budget_raised" and event.key == message
        ]
        if amounts != [amount]:
            raise IdempotencyConflictError(
                f"message id {message!r} raised {account} before by another amount. Use a new id "
                "for a new raise.",
                account=account,
            )

    async def _send(
        self,
        run: str,
        kind: str,
        name: str,
        body: bytes | None,
        message_id: str | None,
        by: str,
        states: tuple[RunState, ...] = _UNFINISHED,
        about: Mapping[str, Any] = MappingProxyType({}),
    ) -> str:
        message = message_id or new_id("msg", self._clock)
        header = {"run": run, "kind": kind, "name": name, "by": by, **about}
        # Scoped by run, so that two callers who choose the same id do not shadow each other.
        draft = Draft("mail_sent", f"{run}:{message}", header, body)
        guards: tuple[Guard, ...] = (NewMessage(f"{run}:{message}"), RunIn(run, states))
        if "task" in about:
            guards = (*guards, TaskOpen(about["task"]))
        result = await self.journal.commit(Commit((Append(f"mail/{run}", (draft,)),), guards))
        if isinstance(result, Committed):
            self._committed()
        elif result.reason == "task_closed":
            raise _closed(result)
        elif result.reason != "message_exists":
            raise self._cannot_send(run, kind, states)
        return message

    def _cannot_send(self, run: str, kind: str, states: tuple[RunState, ...]) -> InterlockError:
        row = self.journal.store.run(run)
        if row is None:
            return NotFoundError(f"no run {run!r} in this store.", run=run)
        return ConflictError(
            f"run {run} is {row.state}: {kind} needs a run that is {' or '.join(states)}.", run=run
        )

    # Reading.

    def run(self, run: str) -> RunRow:
        """A run. Raises `NotFoundError`."""
        row = self.journal.store.run(run)
        if row is None:
            raise NotFoundError(f"no run {run!r} in this store.", run=run)
        return row

    def result(self, row: RunRow) -> Any:
        """A finished run's recorded result or failure as plain JSON, or None."""
        if row.result_position is None:
            return None
        entry = self.journal.store.entry(row.result_position)
        return json.loads(entry.body) if entry is not None and entry.body else None

    def inbox_task(self, task: str) -> InboxRow:
        """An inbox task. Raises `NotFoundError`."""
        row = self.journal.store.inbox_task(task)
        if row is None:
            raise NotFoundError(f"no inbox task {task!r} in this store.", task=task)
        return row

    def question(self, row: InboxRow) -> dict[str, Any]:
        """What an inbox task asks: `question`, `choices`, `details`."""
        entry = self.journal.store.entry(row.position)
        return json.loads(entry.body) if entry is not None and entry.body else {}

    def budget(self, account: str) -> BudgetRow:
        """An account. Raises `NotFoundError` that names those there are, the likeliest."""
        row = self.journal.store.budget(account)
        if row is None:
            known = self._accounts_like(account)
            if len(known) > _ACCOUNTS_NAMED:
                known[_ACCOUNTS_NAMED:] = ["… (`interlock budget list` shows them all)"]
            raise NotFoundError(
                f"no budget account {account!r} in this store; there are: "
                f"{', '.join(known) or 'none'}.",
                account=account,
            )
        return row

    def _accounts_like(self, account: str) -> list[str]:
        """Accounts that share as many parts of the name as any does."""
        parts = account.split("/")
        for shared in range(len(parts) - 1, -1, -1):
            prefix = "".join(f"{part}/" for part in parts[:shared])
            found = self.journal.store.budgets(prefix, _ACCOUNTS_NAMED + 1)
            if found:
                return [row.account for row in found]
        return []

    def effect(self, effect_key: str) -> EffectRow:
        """An effect. Raises `NotFoundError`."""
        row = self.journal.store.effect(effect_key)
        if row is None:
            raise NotFoundError(f"no effect {effect_key!r} in this store.", effect_key=effect_key)
        return row


def _answer(
    answer: asyncio.Future[Result],
    settle: Callable[[Result | StorageError], None],
    result: Result | StorageError,
) -> None:
    settle(result)
    if answer.cancelled():
        return
    if isinstance(result, StorageError):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _closed(refused: Refused) -> ConflictError:
    task = refused.subject
    return ConflictError(
        f"inbox task {task} is not open any more: {refused.detail or refused.reason}.", task=task
    )


def _unexpected(refused: Refused) -> StorageError:
    return StorageError(f"the journal refused a commit: {refused.reason} ({refused.detail}).")
