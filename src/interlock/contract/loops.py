"""When an agent counts as going round in circles."""

from __future__ import annotations

from pydantic import Field

from interlock.contract.terms import Terms

__all__ = ["LoopTerms"]


class LoopTerms(Terms):
    """Signs of a loop; the first one that shows ends it."""

    same_call: int = Field(
        default=3,
        ge=2,
        le=1000,
        description="So many calls of one tool with the same arguments are a loop.",
    )
    cycle_repeats: int = Field(
        default=2,
        ge=2,
        le=1000,
        description="A sequence of calls that comes so often in a row is a loop.",
    )
    same_error: int = Field(
        default=2,
        ge=2,
        le=1000,
        description="The same error so often in a row from one tool is a loop.",
    )
    stale_steps: int = Field(
        default=8,
        ge=2,
        le=1000,
        description="So many calls in a row that bring nothing new are a loop.",
    )
    requests: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Most requests of one ask to its model; then a person is asked. Without it "
        "100, or as many as the budget of a run allows where that is more.",
    )
