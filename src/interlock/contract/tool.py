"""What the contract says about a function that is an agent's own and no declared tool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from interlock.contract.terms import CallSeconds, Conflict, Terms

__all__ = ["ToolTerms"]


class ToolTerms(Terms):
    """A function that a model may call: what it touches, and how an unknown outcome ends."""

    effect: Literal["read", "write", "delegate"] = Field(
        description="read: changes nothing and may be repeated. write: changes something outside. "
        "delegate: runs another agent inside the run, whose calls are judged one by one."
    )
    recovery: Literal["repeatable", "never"] | None = Field(
        default=None,
        description="For a write whose outcome is unknown. repeatable: calling again changes "
        "nothing more. never: a person decides. A system that can be asked, or that honours an "
        "idempotency key, needs a tool declared with @app.tool.",
    )
    timeout_seconds: CallSeconds | None = Field(
        default=None,
        description="How long one call may take; 30 without it. Not for a delegate, which its own "
        "calls bound.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """A write without recovery, and what only a write or a call has."""
        if self.effect == "write" and self.recovery is None:
            problem = "a write has to say what happens when nobody knows whether it happened"
            yield Conflict(("recovery",), problem, "repeatable, never")
        if self.effect != "write" and self.recovery is not None:
            yield Conflict(("recovery",), f"a {self.effect} has no recovery", "only with a write")
        if self.effect == "delegate" and self.timeout_seconds is not None:
            problem = "a delegate has no timeout of its own"
            yield Conflict(("timeout_seconds",), problem, "only with a read or a write")
