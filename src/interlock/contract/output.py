"""What happens when a model's answer does not fit."""

from __future__ import annotations

from pydantic import Field

from interlock.contract.terms import RoleName, Terms

__all__ = ["OutputTerms"]


class OutputTerms(Terms):
    """How often an answer that does not fit its type is asked for again, and who is asked then."""

    attempts: int = Field(
        default=3,
        ge=1,
        le=10,
        description="Answers that a model may give before one has to fit, the first included.",
    )
    escalate_to: RoleName | None = Field(
        default=None,
        description="The role whose inbox gets the question when no answer fits; without it, "
        "whoever looks after the inbox.",
    )
