"""Who may answer an inbox task: asked at the door, before a decision is let in.

The run judges each decision again when it takes it, by the roles that hold then. Here whoever may
not decide is told so at once, and the task stays open for those who may.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from interlock.errors import NotEntitledError
from interlock.journal.rows import InboxRow
from interlock.people.roles import Roles

__all__ = ["check_entitled", "names_role"]


def names_role(roles: Roles | None, task: InboxRow) -> bool:
    """Whether the file of people says who has the role that a task asks."""
    return roles is not None and bool(task.role) and task.role in roles.roles


def check_entitled(
    task: InboxRow, question: Mapping[str, Any], by: str, roles: Roles | None, now_us: int
) -> None:
    """Raise `NotEntitledError`, which says who may, when `by` may not decide an open task.

    `question` is what the task asks. A role that `roles` does not name is only a name: anybody may.
    """
    if roles is None or not names_role(roles, task) or task.state != "open":
        return
    today = datetime.fromtimestamp(now_us / 1e6, UTC).date()
    why = roles.why_not(by, task.role, today)
    details: Mapping[str, Any] = question.get("details") or {}
    if not why and task.kind == "approval" and details.get("two_persons"):
        holder = roles.acts_for(by, task.role, today)
        for first in details.get("approved_by") or ():
            if by == first or holder in (first, roles.acts_for(first, task.role, today)):
                why = f"{first} has approved it already: another person is asked"
    if why:
        raise NotEntitledError(
            f"inbox task {task.id}: {why}. It stays open.", task=task.id, role=task.role
        )
