"""The policies of an application, read once, and how they decide.

Cedar's rules hold: without a permit the answer is no, and a forbid goes before every permit. A
permit with `@approval` allows what a person approves, and counts only where no other permit does.
An error while a policy is evaluated is a no, since Cedar would leave the policy out: a forbid too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from interlock.errors import PolicyError
from interlock.tools.policy import cedar
from interlock.tools.policy.decision import Decision, Question
from interlock.tools.policy.remedy import never_there, with_remedies
from interlock.tools.policy.schema import (
    AGENT,
    GROUPS,
    THING,
    ActionSchema,
    action_schemas,
    cedar_schema,
)
from interlock.tools.policy.statements import Statement, read_statements
from interlock.tools.tool import Tool

__all__ = ["Policies", "load_policies"]


def load_policies(
    folder: Path,
    tools: Iterable[Tool[..., Any]],
    agents: Iterable[str] = (),
    functions: Mapping[str, str] | None = None,
) -> Policies:
    """Read every `*.cedar` file of a folder, in the order of their names, and check them.

    Raises `PolicyError` for a folder without policies, and for one that does not fit the tools: it
    names the file, the line and what is wrong.
    """
    files = sorted(folder.glob("*.cedar"))
    statements = [each for file in files for each in read_statements(file, file.name)]
    if not statements:
        where = ", ".join(file.name for file in files) or "there is no *.cedar file"
        raise PolicyError(
            f"{folder} holds no policy ({where}): without a permit every call would be refused. "
            "Write one, or name another folder."
        )
    return Policies(statements, tools, agents, functions)


class Policies:
    """Checked policies. `hash` names them, with the schema they were checked against.

    Raises `PolicyError`. Safe to use from several threads.
    """

    def __init__(
        self,
        statements: Sequence[Statement],
        tools: Iterable[Tool[..., Any]],
        agents: Iterable[str] = (),
        functions: Mapping[str, str] | None = None,
    ) -> None:
        self.statements = tuple(statements)
        self.actions = action_schemas(tools, functions or {})
        self._by_id = {statement.id: statement for statement in statements}
        self._places = {statement.id: place for place, statement in enumerate(statements)}
        schema = cedar_schema(self.actions.values())
        _check_ids(statements)
        concerned = [each for each in statements if self._concerns_any(each)]
        _check_schema(concerned, schema, self.actions)
        _check_agents(statements, frozenset(agents))
        self._slices = {
            name: _Slice(action, [each for each in statements if each.is_for(name, action.groups)])
            for name, action in self.actions.items()
        }
        _check_reads(self._slices.values())
        # Agents that a scope names; for all others the same policies count.
        self._named = frozenset(each.agent() for each in statements) - {None}
        self._by_agent: dict[tuple[str, str | None], _Slice] = {}
        text = json.dumps([[each.text for each in statements], schema], sort_keys=True)
        self.hash = hashlib.sha256(text.encode()).hexdigest()

    def _concerns_any(self, statement: Statement) -> bool:
        """False for one about a group that no tool is in yet, which Cedar takes for a mistake."""
        return not statement.is_for_groups(GROUPS) or any(
            statement.is_for(name, action.groups) for name, action in self.actions.items()
        )

    def roles(self) -> frozenset[str]:
        """The roles whose approval is asked for."""
        return frozenset(each.ask.role for each in self.statements if each.ask is not None)

    def decide(self, question: Question) -> Decision:
        """The answer for one call. Repeatable, and the same for the same question."""
        part = self._slice(question)
        if part is None:
            reason = f"no policy can know the tool {question.tool!r}"
            return Decision(verdict="deny", reason=reason)
        try:
            request = part.request(question)
            decision = self._enforced(part, request)
            would = tuple(self._logged(part, request))
        except (OverflowError, ValueError) as error:
            return Decision(verdict="deny", reason=f"no policy can judge the call: {error}")
        if not would:
            return decision
        return Decision(
            verdict=decision.verdict,
            policies=decision.policies,
            ask=decision.ask,
            reason=decision.reason,
            would=would,
        )

    def _slice(self, question: Question) -> _Slice | None:
        """The policies whose scope can hold for this tool and this agent.

        Made when it is first asked for; by two threads at once, the same twice.
        """
        whole = self._slices.get(question.tool)
        if whole is None:
            return None
        agent = question.agent if question.agent in self._named else None
        part = self._by_agent.get((question.tool, agent))
        if part is None:
            part = whole.by(agent)
            self._by_agent[question.tool, agent] = part
        return part

    def _enforced(self, part: _Slice, request: dict[str, Any]) -> Decision:
        answer = cedar.decide(request, part.enforced, part.entities)
        in_order = sorted(answer.reasons, key=self._places.__getitem__)
        deciding = [self._by_id[name] for name in in_order]
        if answer.errors:
            problem = "; ".join(answer.errors)
            return Decision(verdict="deny", reason=f"a policy could not be evaluated: {problem}")
        ids = tuple(each.id for each in deciding)
        if not answer.allowed:
            return Decision(verdict="deny", policies=ids, reason=_reason(deciding, "forbid"))
        plain = [each for each in deciding if each.ask is None]
        if plain:
            return Decision(verdict="allow", policies=tuple(each.id for each in plain))
        first = deciding[0]
        return Decision(
            verdict="ask", policies=(first.id,), ask=first.ask, reason=_reason([first], "permit")
        )

    def _logged(self, part: _Slice, request: dict[str, Any]) -> Iterable[tuple[str, str]]:
        if part.logged is None:
            return
        for name in sorted(cedar.decide(request, part.logged, part.entities).reasons):
            statement = self._by_id[name]
            verdict = "ask" if statement.ask else "allow"
            yield name, "deny" if statement.effect == "forbid" else verdict


class _Slice:
    """The policies that can concern one tool: the others need not be evaluated."""

    def __init__(self, action: ActionSchema, statements: Sequence[Statement]) -> None:
        self.action = action
        self.statements = statements
        self.entities = cedar.entities(action.tool, action.groups)
        self.enforced = _policy_set([each for each in statements if not each.log_only])
        logged = [each for each in statements if each.log_only]
        self.logged = _policy_set(logged) if logged else None

    def by(self, agent: str | None) -> _Slice:
        """Those of them that can concern calls by an agent; None for one that no scope names."""
        return _Slice(self.action, [each for each in self.statements if each.is_by(agent)])

    def request(self, question: Question) -> dict[str, Any]:
        """The request in Cedar's form."""
        arguments = question.arguments
        context: dict[str, Any] = {
            "args": self.action.project(arguments),
            "tenant": question.tenant,
            "ungrounded": list(question.ungrounded),
            "hour": question.hour,
            "weekday": question.weekday,
        }
        if self.action.amount is not None:
            context["amount"] = context["args"][self.action.amount]
        return {
            "principal": {"type": AGENT, "id": question.agent},
            "action": {"type": "Action", "id": question.tool},
            "resource": {"type": THING, "id": self.action.thing(arguments)},
            "context": context,
        }


def _policy_set(statements: Sequence[Statement]) -> cedar.PolicySet:
    return cedar.policy_set({each.id: each.parsed for each in statements})


def _reason(statements: Sequence[Statement], effect: str) -> str:
    if not statements:
        return "no policy permits it"
    said = [each.reason for each in statements if each.reason]
    verb = "forbids it" if effect == "forbid" else "asks for a person's approval"
    names = ", ".join(repr(each.id) for each in statements)
    return f"policy {names} {verb}" + (f": {' '.join(said)}" if said else "")


def _check_ids(statements: Sequence[Statement]) -> None:
    seen: dict[str, Statement] = {}
    for each in statements:
        first = seen.setdefault(each.id, each)
        if first is not each:
            raise PolicyError(
                f"{each.place}: @id({each.id!r}) is that of {first.place} too; give it another."
            )


def _check_schema(
    statements: Sequence[Statement],
    schema: Mapping[str, Any],
    actions: Mapping[str, ActionSchema],
) -> None:
    against = cedar.schema(schema)
    problems: list[str] = []
    for each in statements:
        where = f"{each.place}: policy {each.id!r}"
        told = with_remedies(cedar.problems(each.text, against), actions)
        about = [one for name, one in actions.items() if each.is_for(name, one.groups)]
        told += never_there(each.parsed, about)
        problems += [f"{where}: {problem}" for problem in told]
    if problems:
        raise PolicyError("\n".join(problems))


def _check_agents(statements: Sequence[Statement], agents: frozenset[str]) -> None:
    for each in statements:
        named = each.agent()
        if agents and named is not None and named not in agents:
            known = ", ".join(sorted(agents))
            raise PolicyError(
                f"{each.place}: policy {each.id!r} is for {AGENT}::{named!r}, which is no "
                f"agent of the application; there are: {known}."
            )


def _check_reads(slices: Iterable[_Slice]) -> None:
    for part in slices:
        if "any read" not in part.action.groups:
            continue
        for each in part.statements:
            if each.ask is not None and each.parsed["action"]["op"] != "All":
                raise PolicyError(
                    f"{each.place}: policy {each.id!r} has a person approve {part.action.tool!r}, "
                    "which only reads: permit or forbid it."
                )
