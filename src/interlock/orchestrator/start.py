"""How a run comes into being: one event, `run_queued`, with everything admission needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from interlock.clock import Clock
from interlock.errors import InvalidInputError
from interlock.journal.event import NO_BODY, NO_HASH, Draft, Entry, Event
from interlock.journal.guard import Committed
from interlock.journal.rows import RunRow
from interlock.orchestrator.agent import Agent

__all__ = [
    "DEFAULT_TENANT",
    "LAST_MOMENT_US",
    "ClosePolicy",
    "StartOptions",
    "first_claim",
    "queued_draft",
]

ClosePolicy = Literal["cancel", "wait", "abandon"]
DEFAULT_TENANT: Final = "default"
# The end of the year 9999 (UTC), the last that Python's datetime can tell.
LAST_MOMENT_US: Final = 253_402_300_799_000_000
_MAX_PRIORITY: Final = 1000


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """How a run is queued.

    `tenant`: whom the run belongs to; None is `default`, or for a child its parent's.
    `priority`: -1000 to 1000, higher first. `start_after`: not before this moment (with a time
    zone) or this long from now. `deadline`: the run is cancelled when it is not finished by then,
    whatever its state; a moment, or a duration from now. `idempotency_key`: a second start with the
    same key (per tenant and agent) answers the same run. `by`: who starts it, where that is known.
    """

    tenant: str | None = None
    priority: int = 0
    start_after: datetime | timedelta | None = None
    deadline: datetime | timedelta | None = None
    idempotency_key: str | None = None
    by: str = ""

    def __post_init__(self) -> None:
        if not -_MAX_PRIORITY <= self.priority <= _MAX_PRIORITY:
            raise InvalidInputError(
                f"priority={self.priority}: allowed is {-_MAX_PRIORITY} to {_MAX_PRIORITY}."
            )
        if self.tenant is not None and not 1 <= len(self.tenant) <= 200:
            raise InvalidInputError("tenant: give 1 to 200 characters.")
        if self.idempotency_key is not None and not 1 <= len(self.idempotency_key) <= 255:
            raise InvalidInputError("idempotency_key: give 1 to 255 characters.")
        for name in ("start_after", "deadline"):
            moment = getattr(self, name)
            if isinstance(moment, datetime) and moment.tzinfo is None:
                raise InvalidInputError(
                    f"{name}={moment.isoformat()} has no time zone; give one, for example UTC."
                )

    def start_scope(self, agent: str) -> str:
        """The scope in which an idempotency key is unique."""
        return json.dumps(["start", self.tenant or DEFAULT_TENANT, agent])


def queued_draft(
    agent: str,
    body: bytes,
    options: StartOptions,
    clock: Clock,
    *,
    code_version: str,
    parent: str = "",
    parent_key: str = "",
    close_policy: ClosePolicy = "cancel",
    sensitive: Mapping[str, Any] | None = None,
) -> Draft:
    """The first event of a run. `body` is its input as JSON; `sensitive` what views hide of it."""
    now_us = clock.now_us()
    header: dict[str, Any] = {
        "agent": agent,
        "tenant": options.tenant or DEFAULT_TENANT,
        "priority": options.priority,
        "start_after_us": _moment_us("start_after", options.start_after, now_us) or now_us,
        "deadline_at_us": _moment_us("deadline", options.deadline, now_us),
        "parent": parent,
        "parent_key": parent_key,
        "close_policy": close_policy,
        "seed": clock.random_bytes(16).hex(),
        "code_version": code_version,
        **(sensitive or {}),
    }
    if options.by:
        header["by"] = options.by
    if options.idempotency_key is not None:
        header["unique"] = [[options.start_scope(agent), options.idempotency_key]]
    return Draft("run_queued", "", header, body)


def first_claim(
    run: str,
    agent: Agent,
    queued: Draft,
    committed: Committed,
    worker: str,
    pin: Mapping[str, Any],
) -> tuple[RunRow, list[Entry]]:
    """A run that was queued and claimed in one commit, as reading it back would give it.

    `pin` is what its claim says of its contract. Only the hashes are left out: a session does not
    look at them.
    """
    header = queued.header
    position, _ = committed.places[0]
    row = RunRow(
        id=run,
        agent=agent.name,
        tenant=header["tenant"],
        state="running",
        outcome="",
        priority=header["priority"],
        created_at_us=committed.at_us,
        updated_at_us=committed.at_us,
        start_after_us=header["start_after_us"],
        deadline_at_us=header["deadline_at_us"],
        wake_at_us=None,
        parent=header["parent"],
        parent_key=header["parent_key"],
        close_policy=header["close_policy"],
        generation=1,
        generation_seq=1,
        claims=1,
        claim_seq=2,
        worker=worker,
        code_version=header["code_version"],
        reason="",
        waits=(),
        input_position=position,
        result_position=None,
    )
    at_us = committed.at_us
    events = (
        Event(run, 1, position, 1, "run_queued", 1, "", at_us, header, NO_BODY, NO_HASH),
        Event(run, 2, position + 1, 1, "run_claimed", 1, "", at_us, pin, NO_BODY, NO_HASH),
    )
    return row, [Entry(events[0], queued.body), Entry(events[1], None)]


def _moment_us(name: str, moment: datetime | timedelta | None, now_us: int) -> int | None:
    if moment is None:
        return None
    if isinstance(moment, timedelta):
        at_us = now_us + moment // timedelta(microseconds=1)
    else:
        at_us = int(moment.timestamp() * 1_000_000)
    if not 0 <= at_us <= LAST_MOMENT_US:
        raise InvalidInputError(f"{name}={moment}: give a moment between 1970 and 9999.")
    return at_us
