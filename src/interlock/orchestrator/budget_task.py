"""The inbox task of a run whose budget is exhausted: a person's word ends it, or the money does.

Whoever raises the account tells the runs whose tasks ask about it, by mail. A run whose task was
not on disk when they were read is not told, so it looks at the account itself once the task is
there, and whenever it begins to wait again. One of the two always sees the other.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from interlock.base.codec import canonical
from interlock.base.identifier import derived_id
from interlock.journal.event import Draft, Header
from interlock.journal.guard import (
    Append,
    Commit,
    Guard,
    NewMessage,
    Refused,
    RunIn,
    TakesMail,
    TaskOpen,
)
from interlock.journal.rows import Mail
from interlock.journal.store import Store
from interlock.limits.budget import raising
from interlock.orchestrator.operation import Operation, OperationHost, read_object
from interlock.orchestrator.waits import Decision, TaskOperation

__all__ = ["BudgetTaskOperation", "TopUpOperation", "runs_that_wait_for"]

_ALL_TASKS: Final = 1_000_000


def runs_that_wait_for(store: Store, account: str) -> tuple[str, ...]:
    """The runs with an open inbox task that asks about an account, each once."""
    tasks = (task for task in store.inbox(("open",), _ALL_TASKS) if task.kind == "budget")
    waiting = (task.run for task in tasks if _asks_about(store, task.position) == account)
    return tuple(dict.fromkeys(waiting))


def _asks_about(store: Store, position: int) -> Any:
    entry = store.entry(position)
    return None if entry is None else read_object(entry.body).get("account")


class BudgetTaskOperation(TaskOperation):
    """A task of kind `budget`. It is withdrawn when the account covers what is needed.

    `needed` is in the smallest part of the account's unit; 0 where an older event does not say.
    """

    kinds: ClassVar[frozenset[str]] = TaskOperation.kinds | {"budget_rechecked"}
    ends = TaskOperation.ends | {"budget_rechecked"}
    __slots__ = ("account", "decided", "needed")

    def __init__(
        self,
        session: OperationHost,
        *,
        account: str,
        needed: int,
        role: str,
        question: bytes,
        due_us: int | None,
    ) -> None:
        super().__init__(
            session, "budget", task_kind="budget", role=role, question=question, due_us=due_us
        )
        self.account = account
        self.needed = needed
        # A decision was let in at the door: its message is on its way, and it has the say.
        self.decided = False

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """As any task; or the account was raised, which is a top-up that is made already."""
        if kind == "budget_rechecked":
            self.resolve(Decision(choice="top_up", by=header.get("by", "")))
        else:
            super().apply(kind, header, body, value)

    def start(self) -> None:
        """Open the task; then look at the account once more, and wait."""
        if self.opened and not self.decided and self._covered():
            self._recheck(None)
        else:
            super().start()

    def _covered(self) -> bool:
        row = self.session.budget(self.account)
        return row is not None and row.left() >= max(1, self.needed)

    def wants(self, mail: Mail) -> bool:
        """The decision of this task, or the word that its account was raised."""
        return super().wants(mail) or self._raises(mail)

    def _raises(self, mail: Mail) -> bool:
        told = mail.kind == "budget_raised" and mail.name == self.account
        return told and self.idle() and self.opened and not self.decided

    def take(self, mail: Mail) -> None:
        """Record the decision, or try the hold again."""
        if mail.kind == "budget_raised":
            self.disarm()
            self.taken = mail
            self._recheck(mail)
        else:
            super().take(mail)

    def _recheck(self, mail: Mail | None) -> None:
        header: dict[str, Any] = {"task": self.task, "account": self.account}
        guards: tuple[Guard, ...] = (TaskOpen(self.task),)
        if mail is not None:
            header |= {"takes": mail.message_id, "by": mail.header.get("by", "")}
            guards = (*guards, TakesMail(mail.message_id))
        draft = Draft("budget_rechecked", self.key, header)
        self.session.record(self, draft, guards=guards, also=self.with_cancellation())

    def refused(self, refusal: Refused) -> None:
        """Somebody decided just before: their message is on its way."""
        self.decided = self.decided or refusal.reason == "task_closed"
        super().refused(refusal)


class TopUpOperation(Operation):
    """Raises an account by a person's word, then tells the others who wait for it.

    Told are those whose tasks are open once the raise is on disk; a crash in between repeats it.
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"budget_topped_up", "budget_waiters_told"})
    ends = frozenset({"budget_waiters_told"})
    wait_kind = "budget"
    __slots__ = ("account", "amount", "by", "raised", "store")

    def __init__(
        self, session: OperationHost, store: Store, account: str, amount: int, by: str
    ) -> None:
        super().__init__(session, "top_up")
        self.store = store
        self.account = account
        self.amount = amount
        self.by = by
        self.raised = False

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """The limit is raised; those who wait are told."""
        if kind == "budget_waiters_told":
            self.resolve(None)
            return
        self.raised = True
        if self.session.live and not self.session.draining:
            self.start()

    def start(self) -> None:
        """Raise it, then tell."""
        if self.raised:
            commits = [self._telling(run) for run in runs_that_wait_for(self.store, self.account)]
            if commits:
                self.session.commit_aside(commits, self._told)
            else:
                self._told()
            return
        commit = raising(self.account, self.amount, message_id=self._message(), by=self.by)
        header = {"account": self.account, "amount": self.amount, "by": self.by}
        self.session.record(
            self,
            Draft("budget_topped_up", self.key, header),
            guards=tuple(commit.guards),
            appends=tuple(commit.appends),
        )

    def _message(self) -> str:
        return derived_id("raise", self.session.run_id, self.session.generation, self.key)

    def _telling(self, run: str) -> Commit:
        message = f"{run}:budget:{self._message()}"
        header = {"run": run, "kind": "budget_raised", "name": self.account, "by": self.by}
        body = canonical({"account": self.account, "amount": self.amount}, "a raise")
        told = Append(f"mail/{run}", (Draft("mail_sent", message, header, body),))
        states = ("queued", "running", "waiting", "parked")
        return Commit((told,), (NewMessage(message), RunIn(run, states)))

    def _told(self) -> None:
        if self.open:
            self.session.record(self, Draft("budget_waiters_told", self.key))

    def waits_for(self) -> str:
        """In words."""
        return f"budget {self.account!r} to be raised"
