"""Calls of offered tools by agents that are not ours: a run for each, and what to answer.

Knows nothing of the protocol. A call is checked against the tool's types before there is a run;
what follows is the run's. A call that cannot be answered in time goes on: its answer says what it
waits for, and a repeat, or a look at the run, gets the result.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

from interlock.base.failure import read_failure
from interlock.entry.problem import RequestError
from interlock.errors import InterlockError, NotFoundError, StorageError
from interlock.journal.rows import InboxRow, RunFilter, RunRow
from interlock.journal.store import Store
from interlock.orchestrator.agent import same_input
from interlock.orchestrator.client import Client
from interlock.orchestrator.offered import Offer, OfferedCall
from interlock.orchestrator.start import StartOptions
from interlock.tools.masking import mask_text
from interlock.tools.tool import Tool

__all__ = ["Asked", "CallAnswer", "CallHost", "ToolCaller", "ToolCalls"]

_UNFINISHED: Final = ("queued", "running", "waiting", "parked")
_MOST_LOOKED_AT: Final = 200


class CallHost(Protocol):
    """What executes runs, here or in another process."""

    @property
    def client(self) -> Client:
        """Starts runs."""
        ...

    @property
    def store(self) -> Store:
        """The journal, to be read."""
        ...

    def check_open(self) -> None:
        """Raise why nothing new is taken."""
        ...

    def stop_if_failed(self) -> None:
        """End the process that serves, if its journal cannot go on."""
        ...

    async def when_ended(self, run: str, seconds: float) -> RunRow:
        """The run's row once it is finished or parked, and after `seconds` at the latest."""
        ...


@dataclass(frozen=True, kw_only=True)
class ToolCaller:
    """Who calls, and for which tenant. `name` is empty where nobody is asked who they are."""

    name: str
    tenant: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A call. `key` is what the caller repeats it by; `request` names the request within a session
    that the server made, empty where there is none. `wait_seconds` bounds the wait for its end.
    """

    tool: str
    arguments: Mapping[str, Any]
    key: str = ""
    request: tuple[str, ...] = ()
    wait_seconds: float


@dataclass(frozen=True, kw_only=True)
class CallAnswer:
    """What became of a call.

    `completed`: `value` is the result, as JSON. `failed`: the run ended otherwise. `pending`: it
    goes on. `refused`: there is no run. `text` says it in words, with what to do; `code` is an
    error's code; `fields` are identifiers.
    """

    state: Literal["completed", "failed", "pending", "refused"]
    tool: str
    value: Any = None
    text: str = ""
    code: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


class ToolCalls:
    """Makes the calls of one server. Repeating a call by its key makes no second run."""

    def __init__(self, host: CallHost) -> None:
        self._host = host
        self._starting = asyncio.Lock()

    async def call(
        self, offer: Offer, tool: Tool[..., Any], who: ToolCaller, asked: Asked
    ) -> CallAnswer:
        """Make a call, or find the one that it repeats. Raises `StorageError`."""
        try:
            self._host.check_open()
            tool.bind((), asked.arguments)
            run = await self._started(offer, tool, who, asked)
        except StorageError:
            raise
        except InterlockError as error:
            return _refused(asked.tool, error)
        row = await self._host.when_ended(run, asked.wait_seconds)
        return self._answer(row, asked.tool)

    async def look(
        self, offer: Offer, who: ToolCaller, run: str, wait_seconds: float
    ) -> CallAnswer:
        """What became of an earlier call of the same caller."""
        row = self._host.store.run(run)
        if row is None or not self._is_of(offer, who, row):
            missing = NotFoundError(f"there is no call {run!r} of yours.", run=run)
            return _refused("", missing)
        row = await self._host.when_ended(run, wait_seconds)
        return self._answer(row, self._asked(row).tool)

    async def _started(
        self, offer: Offer, tool: Tool[..., Any], who: ToolCaller, asked: Asked
    ) -> str:
        given = OfferedCall(tool=asked.tool, arguments=dict(asked.arguments))
        if asked.key or not tool.writes:
            return await self._start(offer, who, asked, given)
        # One after the other, so that of two at once the second finds the first.
        async with self._starting:
            return self._twin(offer, who, given) or await self._start(offer, who, asked, given)

    async def _start(self, offer: Offer, who: ToolCaller, asked: Asked, given: OfferedCall) -> str:
        options = StartOptions(
            tenant=who.tenant, by=who.name, idempotency_key=_idempotency_key(who, asked)
        )
        return (await self._host.client.start(offer.agent.name, given, options)).run

    def _twin(self, offer: Offer, who: ToolCaller, given: OfferedCall) -> str | None:
        """The same call of the same caller, where it has not ended: repeated, it is not doubled."""
        where = RunFilter(
            states=_UNFINISHED, agent=offer.agent.name, tenant=who.tenant, limit=_MOST_LOOKED_AT
        )
        body = offer.agent.input.encode(given, "a call")
        for row in self._host.store.runs(where):
            if self._is_of(offer, who, row):
                recorded = self._input(row)
                if recorded is not None and same_input(offer.agent, recorded, body):
                    return row.id
        return None

    def _is_of(self, offer: Offer, who: ToolCaller, row: RunRow) -> bool:
        if (row.agent, row.tenant) != (offer.agent.name, who.tenant):
            return False
        first = self._host.store.entry(row.input_position)
        return first is not None and first.event.header.get("by", "") == who.name

    def _input(self, row: RunRow) -> bytes | None:
        entry = self._host.store.entry(row.input_position)
        return None if entry is None else entry.body

    def _asked(self, row: RunRow) -> OfferedCall:
        body = self._input(row)
        return OfferedCall(tool="") if body is None else OfferedCall.model_validate_json(body)

    def _answer(self, row: RunRow, tool: str) -> CallAnswer:
        fields = {"run": row.id}
        if row.state == "completed":
            value = self._host.client.result(row)
            return CallAnswer(state="completed", tool=tool, value=value, fields=fields)
        if row.state in ("failed", "cancelled"):
            return self._failed(row, tool)
        tasks = self._host.store.open_tasks(row.id)
        told = [_told(task) for task in tasks]
        return CallAnswer(
            state="pending",
            tool=tool,
            text=f"{' '.join(_asks(task) for task in tasks) or _goes_on(row)} {_how_to_go_on(row)}",
            code="approval_needed" if any(t.kind == "approval" for t in tasks) else "pending",
            fields={**fields, "tasks": told} if told else fields,
        )

    def _failed(self, row: RunRow, tool: str) -> CallAnswer:
        position = row.result_position
        entry = None if position is None else self._host.store.entry(position)
        failure = read_failure(entry.body if entry is not None else None)
        words = failure.message or row.reason or row.state
        return CallAnswer(
            state="failed",
            tool=tool,
            text=f"{tool}: {mask_text(words)}",
            code=_code(failure.types, row.state),
            fields={"run": row.id},
        )


_CODES: Final = {
    "NotAllowedError": "not_allowed",
    "EffectFailedError": "effect_failed",
    "StepFailedError": "step_failed",
}


def _code(types: tuple[str, ...], state: str) -> str:
    names = (name.rpartition(".") for name in types)
    ours = (last for module, _, last in names if module == "interlock.errors")
    return next((_CODES[name] for name in ours if name in _CODES), f"run_{state}")


def _refused(tool: str, error: InterlockError) -> CallAnswer:
    code = error.problem_code if isinstance(error, RequestError) else error.code
    return CallAnswer(
        state="refused", tool=tool, text=mask_text(error.message), code=code, fields=error.fields
    )


def _idempotency_key(who: ToolCaller, asked: Asked) -> str | None:
    """Unique per caller; of a fixed length, whatever a client sends."""
    if asked.key:
        parts = ["key", who.name, asked.key]
    elif asked.request:
        parts = ["request", who.name, *asked.request]
    else:
        return None
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _told(task: InboxRow) -> dict[str, Any]:
    due = task.due_at_us
    return {
        "task": task.id,
        "kind": task.kind,
        "role": task.role,
        "dueAt": None if due is None else _moment(due),
    }


def _moment(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat()


def _asks(task: InboxRow) -> str:
    who = f"somebody who is {task.role!r}" if task.role else "a person"
    until = "" if task.due_at_us is None else f" until {_moment(task.due_at_us)}"
    if task.kind == "approval":
        said = "Nothing has been done yet: the call needs an approval."
        choices = "approve|edit|reject"
    elif task.kind == "effect":
        said = "Nobody knows yet whether the call has taken effect; do not make it again."
        choices = "happened|not_happened|given_up"
    else:
        said, choices = "The call waits for a person.", "CHOICE"
    return (
        f"{said} Inbox task {task.id} asks {who}{until}; they answer with `interlock decide "
        f"{task.id} {choices}` or POST /v1/inbox/{task.id}/decision."
    )


def _goes_on(row: RunRow) -> str:
    if row.state == "parked":
        return f"The call is parked for an operator ({row.reason})."
    return "The call has not ended yet and goes on."


def _how_to_go_on(row: RunRow) -> str:
    return f"Call interlock_result with run {row.id!r} for its result; do not make the call again."
