"""What may be spent: by one run, by an agent in a day, by a tenant in a day.

The worst case of a call is reserved before the call is made; one that does not fit is not made.
"""

from __future__ import annotations

from pydantic import Field

from interlock.contract.terms import Amount, Count, Seconds, Terms

__all__ = ["Budget", "Budgets"]


class Budget(Terms):
    """What may be spent within one budget; null is no limit."""

    usd: Amount | None = Field(default=None, description="US dollars; null is no limit.")
    tokens: Count | None = Field(
        default=None, description="Tokens, input and output together; null is no limit."
    )
    model_calls: Count | None = Field(
        default=None, description="Requests to models, each attempt counted; null is no limit."
    )
    tool_calls: Count | None = Field(
        default=None, description="Calls of tools that models make; null is no limit."
    )
    seconds: Seconds | None = Field(
        default=None,
        description="Seconds that calls of models and tools take together; null is no limit.",
    )


class Budgets(Terms):
    """The budgets that a call has to fit into, all of them."""

    run: Budget = Field(
        default_factory=Budget,
        description="What one run may spend, the agents that it delegates to included.",
    )
    agent_day: Budget = Field(
        default_factory=Budget, description="What all runs of this agent may spend in a day (UTC)."
    )
    tenant_day: Budget = Field(
        default_factory=Budget,
        description="What all runs of one tenant may spend in a day (UTC), whichever agent it is.",
    )

    def limit_money(self) -> bool:
        """Whether any of them is in US dollars."""
        return any(each.usd is not None for each in (self.run, self.agent_day, self.tenant_day))
