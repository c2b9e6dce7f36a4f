"""How much of a long conversation a model still sees."""

from __future__ import annotations

from pydantic import Field

from interlock.contract.terms import Terms

__all__ = ["ConversationTerms"]


class ConversationTerms(Terms):
    """What is kept of earlier messages; the journal keeps all of them."""

    keep_messages: int = Field(
        default=40, ge=1, le=10_000, description="Most messages that are sent along."
    )
    keep_tokens: int = Field(
        default=20_000, ge=1, le=10_000_000, description="Most tokens that they may have together."
    )
    summarise: bool = Field(
        default=False,
        description="Whether a model sums up what is left out, which costs a call, or it is "
        "dropped.",
    )
