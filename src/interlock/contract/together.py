"""What the contracts of one application have to agree on, and with its agents."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping

from interlock.contract.contract import Contract

__all__ = ["contradictions"]


def contradictions(contracts: Mapping[str, Contract], agents: Collection[str]) -> Iterator[str]:
    """A sentence for each thing that cannot be as it is said.

    A contract whose agent does not exist governs nobody, while the agent that was meant works
    without budgets. A tenant's day is one account for all agents, so it has one limit.
    """
    for name in contracts:
        if name not in agents:
            yield _without_agent(name, agents)
    yield from _tenant_days(contracts)


def _without_agent(name: str, agents: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(agents), n=1)
    meant = f"did you mean {close[0]!r}?" if close else f"declared are: {_listed(agents)}."
    return (
        f"there is a contract for agent {name!r}, and no such agent: {meant} Correct `agent:` in "
        "the contract, declare the agent, or take the contract away."
    )


def _tenant_days(contracts: Mapping[str, Contract]) -> Iterator[str]:
    first: dict[str, tuple[str, object]] = {}
    for name, contract in contracts.items():
        for unit, limit in contract.budgets.tenant_day:
            if limit is None:
                continue
            other, known = first.setdefault(unit, (name, limit))
            if known != limit:
                yield (
                    f"budgets.tenant_day.{unit} is {known} in the contract of agent {other!r} and "
                    f"{limit} in that of {name!r}. A tenant's day is one account for all agents: "
                    "say the same in both."
                )


def _listed(agents: Collection[str]) -> str:
    return ", ".join(repr(agent) for agent in sorted(agents)) or "none"
