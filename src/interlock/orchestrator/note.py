"""What a run's code has established, kept in the journal: recorded once, checked on replay."""

from __future__ import annotations

from typing import Any, ClassVar

from interlock.errors import ReplayMismatchError
from interlock.journal.event import Draft, Header
from interlock.orchestrator.operation import Operation, OperationHost

__all__ = ["NoteOperation"]


class NoteOperation(Operation):
    """One event that says what the code found out or decided.

    It follows from what the code was given before, so a replay must find the same: else the run is
    parked. `kind` is one of `kinds`; `body` is canonical JSON.
    """

    kinds: ClassVar[frozenset[str]] = frozenset(
        {"plan_refused", "plan_accepted", "plan_step_failed", "plan_failed"}
    )
    ends = kinds
    wait_kind = "note"
    __slots__ = ("body", "header", "kind")

    def __init__(
        self, session: OperationHost, name: str, kind: str, header: Header, body: bytes
    ) -> None:
        super().__init__(session, name)
        self.kind = kind
        self.header = header
        self.body = body

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """It is on disk."""
        if (kind, body) != (self.kind, self.body):
            raise ReplayMismatchError(
                f"note {self.key!r}: the journal has {kind} {_shown(body)}, and the code now has "
                f"{self.kind} {_shown(self.body)}.",
                key=self.key,
            )
        self.resolve(None)

    def start(self) -> None:
        """Record it."""
        self.session.record(self, Draft(self.kind, self.key, self.header, self.body))


def _shown(body: bytes | None) -> str:
    text = (body or b"").decode("utf-8", "replace")
    return text if len(text) <= 200 else f"{text[:200]}…"
