"""How a handler gets at what it needs from a request: the service, and what the caller may do.

Every handler names the right that it needs by the type of its `caller` (`Reader`, `Starter`, …).
Where the server asks nobody who they are (on this machine only), everything is allowed and people
say themselves who they are, as on the command line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from interlock.entry.auth_identity import Identity, Right
from interlock.entry.door import IDENTITY
from interlock.entry.idempotency_key import parse_idempotency_key
from interlock.entry.problem import RequestError
from interlock.entry.service import Service
from interlock.errors import NotFoundError
from interlock.journal.rows import BudgetRow, EffectRow, InboxRow, RunRow
from interlock.limits.budget import account_owner
from interlock.orchestrator.entitled import check_entitled, names_role
from interlock.orchestrator.start import DEFAULT_TENANT

__all__ = [
    "Caller",
    "Decider",
    "IdempotencyKey",
    "OpenService",
    "Operator",
    "Reader",
    "ReadingService",
    "Starter",
]


class Caller:
    """Who calls, and what is theirs. `identity` is None where nobody is asked."""

    def __init__(self, service: Service, identity: Identity | None) -> None:
        self.identity = identity
        self._service = service

    @property
    def tenant(self) -> str:
        """The only tenant whose things they see; empty when they see everybody's."""
        return (self.identity.tenant or "") if self.identity is not None else ""

    def check(self, right: Right) -> None:
        """Raise `RequestError` when no role of theirs grants the right."""
        who = self.identity
        if who is None or who.may(right):
            return
        why = (
            "only a person decides"
            if right == "decide" and who.kind != "person"
            else f"that needs the role {right!r}"
        )
        raise RequestError("forbidden", f"{who.name} ({who.credential}) may not do this: {why}.")

    def check_reveal(self, reveal: bool) -> None:  # noqa: FBT001 - the field of the query
        """Raise `RequestError` when what is masked is wanted and not theirs to see."""
        if reveal:
            self.check("reveal")

    def by(self, claimed: str) -> str:
        """The name for the journal. Raises `RequestError` for another's."""
        if self.identity is None:
            return claimed
        if claimed not in ("", self.identity.name):
            raise RequestError(
                "forbidden",
                f"by: you are {self.identity.name!r} and cannot act as {claimed!r}. Leave it out.",
            )
        return self.identity.name

    def starting_tenant(self, asked: str | None) -> str:
        """The tenant of a run they start. Raises `RequestError` for another's."""
        own = self.identity.tenant if self.identity is not None else None
        if own is None:
            return asked or DEFAULT_TENANT
        if asked not in (None, own):
            raise RequestError(
                "forbidden", f"tenant: you start runs of {own!r} only. Leave it out."
            )
        return own

    # What belongs to another tenant is answered as if there were none.

    def run(self, run: str) -> RunRow:
        """A run. Raises `NotFoundError`."""
        row = self._service.client.run(run)
        if not self._sees(row):
            raise NotFoundError(f"no run {run!r} in this store.", run=run)
        return row

    def task(self, task: str) -> InboxRow:
        """An inbox task. Raises `NotFoundError`."""
        row = self._service.client.inbox_task(task)
        if not self._sees_run(row.run):
            raise NotFoundError(f"no inbox task {task!r} in this store.", task=task)
        return row

    def effect(self, effect_key: str) -> EffectRow:
        """An effect. Raises `NotFoundError`."""
        row = self._service.client.effect(effect_key)
        if not self._sees_run(row.run):
            raise NotFoundError(f"no effect {effect_key!r} in this store.", effect_key=effect_key)
        return row

    def sees_account(self, account: str) -> bool:
        """Whether a budget's account is theirs: their tenant's, or a run's of it."""
        if not self.tenant:
            return True
        kind, owner = account_owner(account)
        if kind == "run":
            return self._sees_run(owner)
        return kind == "tenant" and owner == self.tenant

    def account(self, account: str) -> None:
        """Raise `NotFoundError` when an account is not theirs, without naming those of others."""
        if not self.sees_account(account):
            raise NotFoundError(f"no budget account {account!r} in this store.", account=account)

    def visible(self, rows: list[BudgetRow]) -> list[BudgetRow]:
        """Those of the accounts that are theirs."""
        return [row for row in rows if self.sees_account(row.account)]

    def check_holds(self, task: InboxRow, by: str) -> None:
        """Raise when a task asks a role that they, or whose name they give, do not have.

        The file of people says who has it, where it names the role (`NotEntitledError`); else the
        caller's credential does (`RequestError`).
        """
        who, roles = self.identity, self._service.local.executor.gateway.roles
        if names_role(roles, task):
            question = self._service.client.question(task)
            check_entitled(task, question, by, roles, self._service.clock.now_us())
        elif who is not None and task.role and task.role not in who.roles:
            raise RequestError(
                "forbidden", f"{who.name} does not have the role {task.role!r}, which is asked."
            )

    def _sees(self, row: RunRow) -> bool:
        return self.identity is None or self.identity.belongs_to(row.tenant)

    def _sees_run(self, run: str) -> bool:
        row = self._service.store.run(run)
        return row is not None and self._sees(row)


# All of these are coroutines: FastAPI would call plain functions in threads, and the store must be
# read on the loop's thread only.


async def _reading(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _open(request: Request) -> Service:
    service: Service = request.app.state.service
    service.check_open()
    return service


def _with(right: Right) -> Callable[[Request], Awaitable[Caller]]:
    async def allowed(request: Request) -> Caller:
        caller = Caller(request.app.state.service, request.scope.get(IDENTITY))
        caller.check(right)
        return caller

    return allowed


async def _key(request: Request) -> str | None:
    return parse_idempotency_key(request.headers.getlist("idempotency-key"))


ReadingService = Annotated[Service, Depends(_reading)]
OpenService = Annotated[Service, Depends(_open)]
Reader = Annotated[Caller, Depends(_with("read"))]
Starter = Annotated[Caller, Depends(_with("start"))]
Decider = Annotated[Caller, Depends(_with("decide"))]
Operator = Annotated[Caller, Depends(_with("operate"))]
IdempotencyKey = Annotated[str | None, Depends(_key)]
