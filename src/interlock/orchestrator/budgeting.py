"""Holds: what a call may take at most is kept back from its budgets before it is made.

The hold and the event that announces the call are one commit, and so are the settlement and the
outcome. An account that does not exist yet is opened, and the hold is asked for again. Where only
what others hold for calls under way stands in the way, the call waits for them: they take less than
their worst case, and a person is asked only about what is spent.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from interlock.journal.event import Draft, Header
from interlock.journal.guard import Refused
from interlock.limits.amount import unit_of
from interlock.limits.budget import (
    Account,
    Hold,
    Spent,
    WorstCase,
    opening,
    release,
    reserve,
    settle,
    settle_worst_case,
)
from interlock.models.operations import Held
from interlock.orchestrator.operation import Operation, OperationHost

__all__ = ["Budgeted", "HoldOperation", "SettleOperation"]

_LOOK_AGAIN_US: Final = 250_000


class Budgeted(Operation):
    """An operation that holds its worst case before it acts."""

    __slots__ = ("_asked", "_patient_until_us", "_short_of", "under_way")

    def __init__(self, session: OperationHost, name: str) -> None:
        super().__init__(session, name)
        self._asked: tuple[str, Header, tuple[Account, ...], WorstCase] | None = None
        # The account that others hold too much of, and until when it is worth waiting for them.
        self._short_of = ""
        self._patient_until_us = 0
        # On their way to disk: a cancellation that comes behind them gives them back.
        self.under_way: tuple[Hold, ...] = ()

    def reserve(
        self, kind: str, header: Header, accounts: tuple[Account, ...], worst: WorstCase
    ) -> None:
        """Record an event together with its hold; `exhausted` follows where a budget refuses."""
        self._asked = (kind, header, accounts, worst)
        session = self.session
        reservation = reserve(
            accounts,
            worst,
            run=session.run_id,
            generation=session.generation,
            key=self.key,
            attempt=1,
        )
        self.under_way = reservation.holds
        holds = [[hold.id, hold.account, hold.amount] for hold in reservation.holds]
        draft = Draft(kind, self.key, {**header, "holds": holds})
        session.record(self, draft, guards=reservation.guards, also=reservation.drafts)

    def holds_of(self, header: Header) -> tuple[Hold, ...]:
        """The holds that an event wrote with it."""
        return tuple(Hold(id, account, amount, self.key) for id, account, amount in header["holds"])

    def refused(self, refusal: Refused) -> None:
        """A budget refused the hold, or does not exist yet."""
        self.under_way = ()
        if refusal.reason == "budget_absent" and self._asked is not None:
            accounts = [a for a in self._asked[2] if a.name == refusal.subject]
            self.session.commit_aside(opening(accounts), self._again)
        elif refusal.reason == "budget_exhausted":
            self._short(refusal.subject, refusal.detail)
        else:
            super().refused(refusal)

    def _short(self, account: str, detail: str) -> None:
        now_us = self.session.clock.now_us()
        worst = self._worst()
        if not self._patient_until_us:
            # Nobody's call is under way for longer than its time limit; ours stands for theirs.
            self._patient_until_us = now_us + worst.milliseconds * 1000
        needed = worst.amount(unit_of(account))
        row = self.session.budget(account)
        if row is None or row.limit - row.spent < needed or now_us >= self._patient_until_us:
            self._short_of = ""
            self.exhausted(account, detail, needed)
        else:
            self._short_of = account
            self.arm(now_us + _LOOK_AGAIN_US)

    def _worst(self) -> WorstCase:
        return WorstCase() if self._asked is None else self._asked[3]

    def waits_for_others(self) -> bool:
        """Whether it waits until others have settled what they hold."""
        return bool(self._short_of)

    def look_again(self) -> None:
        """Others may have settled what they held."""
        account, self._short_of = self._short_of, ""
        row = self.session.budget(account)
        needed = self._worst().amount(unit_of(account))
        if row is not None and row.left() < needed:
            self._short(account, f"{row.left()} is left and {needed} is needed")
        else:
            self._again()

    def wake_at_us(self) -> int | None:
        """At once, while it stands in a line: in memory, since it would lose its place."""
        return None if self.timer is None else self.session.clock.now_us() + 1

    def _again(self) -> None:
        if self._asked is not None and self.open and not self.cancel_asked:
            self.reserve(*self._asked)

    def exhausted(self, account: str, detail: str, needed: int) -> None:
        """A budget has too little left of what is `needed`; nothing is held."""
        raise NotImplementedError


class HoldOperation(Budgeted):
    """Holds the worst case of a tool's call."""

    kinds: ClassVar[frozenset[str]] = frozenset({"call_held", "budget_refused"})
    ends = kinds
    wait_kind = "budget"
    __slots__ = ("accounts", "worst")

    def __init__(
        self, session: OperationHost, accounts: tuple[Account, ...], worst: WorstCase
    ) -> None:
        super().__init__(session, "hold")
        self.accounts = accounts
        self.worst = worst

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """The hold is there, or it is not."""
        if kind == "budget_refused":
            needed = header.get("needed", 0)
            self.resolve(Held((), header["account"], header["detail"], needed))
        else:
            self.under_way = self.holds_of(header)
            self.resolve(Held(self.under_way))

    def start(self) -> None:
        """Ask the budgets."""
        self.reserve("call_held", {}, self.accounts, self.worst)

    def due(self) -> None:
        """Others may have settled what they held."""
        self.look_again()

    def exhausted(self, account: str, detail: str, needed: int) -> None:
        """A budget has too little left."""
        header = {"account": account, "detail": detail, "needed": needed}
        self.session.record(self, Draft("budget_refused", self.key, header))

    def with_cancellation(self) -> tuple[Draft, ...]:
        """What is held returns: the code never heard of it, and calls nothing."""
        return release(self.under_way)

    def left_over(self) -> tuple[Draft, ...]:
        """As with a cancellation."""
        return self.with_cancellation()

    def waits_for(self) -> str:
        """In words."""
        return "its budgets"


class SettleOperation(Operation):
    """Takes what a tool's call has used, and returns the rest."""

    kinds: ClassVar[frozenset[str]] = frozenset({"call_settled"})
    ends = kinds
    wait_kind = "budget"
    __slots__ = ("holds", "spent")

    def __init__(
        self, session: OperationHost, holds: tuple[Hold, ...], spent: Spent | None
    ) -> None:
        super().__init__(session, "settle")
        self.holds = holds
        self.spent = spent

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """It is settled."""
        self.resolve(None)

    def start(self) -> None:
        """Settle all at once."""
        spent = self.spent
        also = settle_worst_case(self.holds) if spent is None else settle(self.holds, spent)
        self.session.record(self, Draft("call_settled", self.key), also=also)

    def waits_for(self) -> str:
        """In words."""
        return "its budgets"
