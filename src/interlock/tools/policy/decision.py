"""What the policies are asked, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

__all__ = ["Ask", "Decision", "Question"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """May this agent make this call now?

    `arguments` are plain JSON values by name. `ungrounded` names the destination arguments whose
    values stem from no trusted source. `hour` (0 to 23) and `weekday` (1 is Monday) are UTC.
    """

    agent: str
    tool: str
    arguments: dict[str, Any]
    tenant: str = "default"
    ungrounded: tuple[str, ...] = ()
    hour: int = 0
    weekday: int = 1


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A person has to approve: who, how many, and until when. An answer that does not come by then
    is a no.
    """

    role: str = ""
    within: timedelta = timedelta(days=1)
    two_persons: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer. `policies` are the ids of those that decided it; none permitted it if empty.

    `ask` is there exactly when a person is asked. `reason` is a sentence for a person. `would` are
    policies that are only logged: what each of them would have decided.
    """

    verdict: Literal["allow", "ask", "deny"]
    policies: tuple[str, ...] = ()
    ask: Ask | None = None
    reason: str = ""
    would: tuple[tuple[str, str], ...] = field(default=())
