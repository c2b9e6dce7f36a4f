"""The inbox task of a run whose budget is exhausted: a person's word ends it, or the money does.

Whoever raises the account tells the runs whose tasks ask about it, by mail. A run whose task was
not on disk when they were read is not told, so it looks at the account itself once the task is
there, and whenever it begins to wait again. One of the two always sees the other.
"""

from __future__ import annotations

from typing import Any, ClassVar

from interlock.journal.event import Draft, Header
from interlock.journal.guard import Guard, Refused, TakesMail, TaskOpen
from interlock.journal.rows import Mail
from interlock.orchestrator.operation import OperationHost
from interlock.orchestrator.waits import Decision, TaskOperation

__all__ = ["BudgetTaskOperation"]


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
