"""Whether a call may be made, as its events say: who was asked, and what they answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Permission"]


@dataclass
class Permission:
    """A fold of one call's approval events.

    `task` is the inbox task that is open, `call` the hash of the call that it is about. `approvers`
    have said yes to that very call. `approval` is the approval that they make together.
    """

    task: str = ""
    role: str = ""
    asks: int = 0
    call: str = ""
    due_at_us: int | None = None
    two_persons: bool = False
    approvers: list[str] = field(default_factory=list[str])
    # In whose right they said it: their own, or that of who delegated it to them.
    holders: list[str] = field(default_factory=list[str])
    approval: str = ""
    expired: bool = False
    # A decision was let in at the door before the deadline: it is on its way.
    decided_in_time: bool = False

    def apply(self, kind: str, header: Mapping[str, Any]) -> None:
        """Fold one event in; of those that are not about permission, nothing is taken."""
        match kind:
            case "task_opened" if header.get("kind") == "approval":
                self._asked(header)
            case "approval_given":
                self._approved(header)
            case "approval_granted":
                self._approved(header)
                self.approval = header["approval"]
            case "call_edited":
                self._forget()
            case "resolution_refused" if header.get("task") == self.task:
                self.task = ""
            case "task_expired" if header.get("task") == self.task:
                self.task = ""
                self.expired = True
            case _:
                pass

    def _approved(self, header: Mapping[str, Any]) -> None:
        self.approvers.append(header["by"])
        self.holders.append(header.get("acts_for", header["by"]))
        self.task = ""

    def _asked(self, header: Mapping[str, Any]) -> None:
        if header["call_hash"] != self.call:
            self._forget()
        self.task = header["task"]
        self.role = header["role"]
        self.call = header["call_hash"]
        self.due_at_us = header["due_at_us"]
        self.two_persons = bool(header.get("two_persons"))
        self.asks += 1

    def _forget(self) -> None:
        """What was approved was another call."""
        self.task = self.call = self.approval = ""
        self.approvers.clear()
        self.holders.clear()

    def completes(self) -> bool:
        """Whether one more yes is enough."""
        return len(self.approvers) + 1 >= (2 if self.two_persons else 1)
