"""The persons of the demo: a script that answers what asks for approval, and says that it is one.

It goes by what the card of the question shows: a refund to an account that the customer directory
names is approved, any other is rejected. Whoever runs a desk decides such things themselves, with
`interlock inbox` and `interlock decide`.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from interlock import Client
from interlock.errors import ConflictError
from interlock.journal.store import Store
from interlock.observe.view import task_view

__all__ = ["Approvals", "answer_approvals", "read_approvals"]

# Who signs, of those who hold the role in policies/people.yaml.
_PERSON: Final = "ruth"
_NOTE: Final = "answered by the demo's script, not by a person"
_ALL: Final = 1_000_000
_STATES: Final = ("open", "decided", "expired", "withdrawn")


@dataclass(frozen=True, kw_only=True)
class Approvals:
    """How often a person was asked about a call, and what they said."""

    asked: int
    approved: int
    rejected: int


async def answer_approvals(client: Client) -> None:
    """Answer every open question about a call. Repeating it is safe."""
    for task in client.journal.store.inbox(limit=_ALL):
        if task.kind != "approval":
            continue
        details: Mapping[str, Any] = client.question(task)["details"]
        sources = cast("Mapping[str, str]", details["sources"])
        choice = "approve" if "account" in sources else "reject"
        with suppress(ConflictError):  # A person was faster.
            await client.decide(task.id, choice, note=_NOTE, by=_PERSON)


def read_approvals(store: Store) -> Approvals:
    """What the journal has of such questions, the open ones included."""
    tasks = [task for task in store.inbox(_STATES, _ALL) if task.kind == "approval"]
    choices = [task_view(store, task).choice for task in tasks]
    return Approvals(
        asked=len(tasks), approved=choices.count("approve"), rejected=choices.count("reject")
    )
