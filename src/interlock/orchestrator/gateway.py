"""The gateway's judgement of one call: what policies, provenance and autonomy say together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from interlock.base.codec import canonical
from interlock.errors import PolicyError
from interlock.tools.policy.decision import Ask, Decision, Question
from interlock.tools.provenance import Sources
from interlock.tools.tool import Tool

if TYPE_CHECKING:
    from interlock.people.roles import Roles
    from interlock.tools.policy import Policies

__all__ = ["NOTHING_DECIDED", "Call", "Gateway", "load_gateway", "plain_arguments"]

PEOPLE_FILE: Final = "people.yaml"
NOTHING_DECIDED: Final = Decision(verdict="allow")


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that is to be judged. `arguments` are plain JSON values."""

    agent: str
    tenant: str
    tool: Tool[..., Any]
    arguments: dict[str, Any]

    def hash(self, dry_run: bytes, ask: Ask) -> str:
        """What an approval is bound to: the exact call, what its dry run said, and who was asked.

        A policy that asks somebody else meanwhile, or one person more, so voids it.
        """
        asked = [ask.role, ask.two_persons]
        tool = [self.tool.name, self.tool.version]
        what = [self.agent, *tool, self.arguments, dry_run.decode(), asked]
        body = canonical(what, f"the call of tool {self.tool.name!r}")
        return hashlib.sha256(body).hexdigest()


class Gateway:
    """What every call passes. Without policies every call is allowed, as far as the rest goes."""

    def __init__(self, policies: Policies | None = None, roles: Roles | None = None) -> None:
        self.policies = policies
        self.roles = roles

    def concerns(self, tool: Tool[..., Any]) -> bool:
        """Whether there is anything to judge about a tool's calls."""
        return self.policies is not None or tool.standing.may_ask

    def judge(self, call: Call, sources: Sources, now_us: int) -> Decision:
        """Allow, ask or deny. Nothing is recorded, and nothing outside is asked."""
        standing = call.tool.standing
        ungrounded = sources.ungrounded(call.arguments, standing.destinations)
        # Under handles, what they stand for is judged: a policy knows nothing of `iban#1`.
        decision = self._by_policy(call, sources.values(call.arguments), ungrounded, now_us)
        if decision.verdict == "deny":
            return decision
        reasons = [decision.reason] if decision.reason else []
        if ungrounded:
            names = ", ".join(repr(name) for name in ungrounded)
            reasons.append(f"no trusted source names the value of {names}")
        if standing.autonomy == "suggest":
            reasons.append(f"tool {call.tool.name!r} only suggests")
        if not reasons and decision.ask is None:
            return decision
        ask = decision.ask or Ask(role=standing.owner)
        return replace(decision, verdict="ask", ask=ask, reason="; ".join(reasons))

    def _by_policy(
        self, call: Call, arguments: dict[str, Any], ungrounded: tuple[str, ...], now_us: int
    ) -> Decision:
        if self.policies is None:
            return NOTHING_DECIDED
        now = datetime.fromtimestamp(now_us / 1e6, UTC)
        question = Question(
            agent=call.agent,
            tool=call.tool.name,
            arguments=arguments,
            tenant=call.tenant,
            ungrounded=ungrounded,
            hour=now.hour,
            weekday=now.isoweekday(),
        )
        return self.policies.decide(question)

    def header(self, decision: Decision) -> dict[str, Any]:
        """The decision as an event of the call carries it; empty where nothing had to decide."""
        if self.policies is None:
            return {}
        header: dict[str, Any] = {
            "policies": list(decision.policies),
            "policy_hash": self.policies.hash,
        }
        if decision.would:
            header["would"] = [list(each) for each in decision.would]
        return header

    def may_approve(self, person: str, role: str, today: date) -> tuple[str | None, str]:
        """For whom a person acts in a role, or None and why not.

        Where nobody has written down who holds which role, a role is only a name.
        """
        if self.roles is None or not role:
            return person, ""
        why_not = self.roles.why_not(person, role, today)
        return (None, why_not) if why_not else (self.roles.acts_for(person, role, today), "")


def load_gateway(
    folder: Path,
    tools: Iterable[Tool[..., Any]],
    agents: Iterable[str],
    functions: Mapping[str, str],
) -> Gateway:
    """A gateway with the policies and the people of a folder.

    `functions` are agents' own functions that are no declared tools, with `read` or `write`: their
    arguments policies cannot see. Raises `PolicyError`, also for a role that nobody holds.
    """
    from interlock.people.roles import read_roles
    from interlock.tools.policy import load_policies

    declared = list(tools)
    policies = load_policies(folder, declared, agents, functions)
    roles = read_roles(folder / PEOPLE_FILE)
    # Who is asked where no policy says whom.
    owners = {tool.standing.owner for tool in declared if tool.standing.may_ask}
    problems = roles.problems(policies.roles() | owners) if roles is not None else []
    if problems:
        raise PolicyError("\n".join(f"{PEOPLE_FILE}: {problem}" for problem in problems))
    return Gateway(policies, roles)


def plain_arguments(arguments: dict[str, Any], what: str) -> dict[str, Any]:
    """Arguments as the journal holds them. Raises as `canonical`."""
    return json.loads(canonical(arguments, what))
