"""What may be spent: by one run, by an agent in a day, by a tenant in a day.

The worst case of a call is reserved before the call is made; one that does not fit is not made.
"""

from __future__ import annotations

from pydantic import Field

from interlock.contract.terms import Amount, Count, Seconds, Terms

__all__ = ["Budgets", "DayBudget", "RunBudget"]


class RunBudget(Terms):
    """What one run may spend, the agents that it delegates to included."""

    usd: Amount | None = Field(default=None, description="US dollars; null is no limit.")
    tokens: Count | None = Field(
        default=None, description="Tokens, input and output together; null is no limit."
    )
    model_calls: Count | None = Field(
        default=100, description="Requests to models, each attempt counted; null is no limit."
    )
    tool_calls: Count | None = Field(
        default=200, description="Calls of tools that models make; null is no limit."
    )
    seconds: Seconds | None = Field(
        default=None, description="How long the run may work, in seconds; null is no limit."
    )


class DayBudget(Terms):
    """What may be spent in a day (UTC)."""

    usd: Amount | None = Field(default=None, description="US dollars; null is no limit.")


class Budgets(Terms):
    """The budgets that a call has to fit into, all of them."""

    run: RunBudget = Field(default_factory=RunBudget, description="What one run may spend.")
    agent_day: DayBudget = Field(
        default_factory=DayBudget, description="What all runs of this agent may spend in a day."
    )
    tenant_day: DayBudget = Field(
        default_factory=DayBudget,
        description="What all runs of one tenant may spend in a day, whichever agent it is.",
    )
