"""A policy set of the size that a company ends up with: 200 policies for forty tools.

It is written as such sets are: for each tool permits by agent, by amount and by person, and beside
them rules that concern every write, or every call. So a call is judged by its tool's own policies
and by all general ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ["AGENTS", "POLICIES", "TOOLS", "policy_text"]

POLICIES: Final = 200
AGENTS: Final = 12
TOOLS: Final = 40
_GENERAL: Final = 40
"""Policies that concern every write or every call, whatever the tool."""


def policy_text(tools: list[str], agents: list[str]) -> str:
    """The policies as a Cedar file: `POLICIES` of them, for these tools and agents."""
    general = list(_general(agents))
    own = list(_own(tools, agents, POLICIES - len(general)))
    return "\n\n".join([*own, *general]) + "\n"


def _general(agents: list[str]) -> Iterator[str]:
    """Forbids by tenant, by hour, by ground, by what is touched and by who acts."""
    for number in range(_GENERAL):
        agent = agents[number % len(agents)]
        scope, when = (
            (
                'principal, action in Action::"any write", resource',
                f'context.tenant == "closed-{number}"',
            ),
            (
                'principal, action in Action::"any write", resource',
                f'resource == Thing::"frozen-{number}"',
            ),
            (
                f'principal == Agent::"{agent}", action, resource',
                f'context.tenant == "trial-{number}" && context.hour < 6',
            ),
            (
                'principal, action in Action::"anything irreversible", resource',
                f'context.ungrounded.contains("account") && context.tenant == "strict-{number}"',
            ),
            ("principal, action, resource", f'context.tenant like "blocked-{number}-*"'),
        )[number % 5]
        yield (
            f'@id("general-{number}") @reason("General rule {number}.")\n'
            f"forbid ({scope})\nwhen {{ {when} }};"
        )


def _own(tools: list[str], agents: list[str], count: int) -> Iterator[str]:
    """For each tool in turn: permits by amount, one with an approval, one for a group's case."""
    for number in range(count):
        place, tool = number // len(tools), tools[number % len(tools)]
        agent = agents[(number + place) % len(agents)]
        scope = f'principal, action == Action::"{tool}", resource'
        if place == 0:
            yield f'@id("{tool}-small")\npermit ({scope})\nwhen {{ context.amount <= 50000 }};'
        elif place == 1:
            yield (
                f'@id("{tool}-large") @approval("lead") @within("4h")\n'
                f"permit ({scope})\nwhen {{ context.amount > 50000 }};"
            )
        elif place == 2:
            yield (
                f'@id("{tool}-currency")\nforbid ({scope})\n'
                'unless { ["EUR", "USD", "GBP"].contains(context.args.currency) };'
            )
        else:
            yield (
                f'@id("{tool}-{agent}-{place}")\n'
                f'forbid (principal == Agent::"{agent}", action == Action::"{tool}", resource)\n'
                f'when {{ context.tenant == "foreign-{place}" || '
                'context.args.note like "*test*" };'
            )
