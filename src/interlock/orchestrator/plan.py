"""Plans made and carried out: `run.plan` and `run.execute`.

A plan is made by a model, checked before anything happens, perhaps approved by a person, written
down, and then carried out as a graph: steps that do not depend on each other run at the same time.
A step that fails takes with it what depends on it and nothing else; then the model may make another
plan for the rest. All of this is code of the run: every call and every decision is an operation, so
a replay goes the same way, and nothing that was done is done again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

from pydantic import PrivateAttr

from interlock.base.codec import canonical, codec_for
from interlock.base.failure import Failure, failure_of
from interlock.errors import (
    EffectFailedError,
    InvalidInputError,
    NotRecordableError,
    OutcomeError,
    PayloadTooLargeError,
    PlanFailedError,
)
from interlock.orchestrator.plan_prompt import Report, plan_prompt
from interlock.orchestrator.waits import Decision
from interlock.tools.plan import Plan, PlanStep, plan_problems, resolved
from interlock.tools.tool import Tool

if TYPE_CHECKING:
    import pydantic_ai

__all__ = ["AcceptedPlan", "Ask", "PlanHost", "Planning", "by_name", "carry_out", "make_plan"]

Check = Callable[[Plan], Sequence[str]]
AnyTool = Tool[..., Any]
_State = Literal["done", "failed", "skipped"]
_WRONG: tuple[type[Exception], ...] = (
    InvalidInputError,
    NotRecordableError,
    PayloadTooLargeError,
)


class Ask(Protocol):
    """What plans need of `Run.ask`."""

    def __call__(
        self,
        agent: pydantic_ai.Agent[Any, Any],
        prompt: str,
        *,
        output: Any = None,
        name: str | None = None,
    ) -> Awaitable[Any]:
        """Ask the agent, durably, for a value of type `output`."""
        ...


@dataclass(frozen=True, kw_only=True)
class PlanHost:
    """What plans need of a run.

    `call` is given the operation's name, a tool and checked arguments; `note` a name, a kind, a
    header and a body to be recorded; `numbers` counts the plans of the run.
    """

    ask: Ask
    escalate: Callable[..., Awaitable[Decision]]
    call: Callable[[str, AnyTool, dict[str, Any]], Awaitable[Any]]
    note: Callable[[str, str, dict[str, Any], bytes], Awaitable[None]]
    numbers: Iterator[int]


@dataclass(frozen=True, kw_only=True)
class Planning:
    """How plans for a goal are made: by whom, with which tools, within which bounds.

    `agent` is None for a plan that was given by hand: it is checked once, and nobody makes another.
    """

    agent: pydantic_ai.Agent[Any, Any] | None
    goal: str
    tools: Mapping[str, AnyTool]
    approve: str | None = None
    max_steps: int = 20
    max_replans: int = 2
    max_proposals: int = 3
    check: Check | None = None


class AcceptedPlan(Plan):
    """A plan that was checked, perhaps approved, and written down as number `number` of its run."""

    _number: int = PrivateAttr()
    _planning: Planning = PrivateAttr()

    @classmethod
    def of(cls, plan: Plan, number: int, planning: Planning) -> AcceptedPlan:
        """The plan with what its execution needs to know."""
        accepted = cls(steps=plan.steps)
        accepted._number = number
        accepted._planning = planning
        return accepted

    @property
    def number(self) -> int:
        """Counts the plans of the run from 1."""
        return self._number

    @property
    def planning(self) -> Planning:
        """How it was made, and another one may be."""
        return self._planning


@dataclass(kw_only=True)
class _Progress:
    """What the plans for one goal have come to so far.

    `values` are the results as the code gets them, `known` the same as plain data. `made` are the
    forms of writes that happened, or may have, by the id of their step.
    """

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    known: dict[str, Any] = field(default_factory=dict[str, Any])
    made: dict[str, bytes] = field(default_factory=dict[str, bytes])
    failures: dict[str, Failure] = field(default_factory=dict[str, Failure])
    skipped: list[str] = field(default_factory=list[str])


async def make_plan(host: PlanHost, planning: Planning) -> AcceptedPlan:
    """A plan that is valid, approved where that is asked for, and written down.

    Raises `PlanFailedError` when no valid plan is found and a person gives up, or rejects it.
    """
    return await _make(host, planning, _Progress())


async def carry_out(
    host: PlanHost, plan: Plan, tools: Sequence[AnyTool] | None = None
) -> dict[str, Any]:
    """Carry out a plan, and those that replace it after a failure; the results by step id.

    A plan that was not made by `make_plan` needs `tools`; it is checked first. Raises
    `InvalidInputError` for a wrong plan (nothing happened), and `PlanFailedError`.
    """
    progress = _Progress()
    current = plan if isinstance(plan, AcceptedPlan) else await _given(host, plan, tools)
    replans = 0
    while not await _carried_out(host, current, progress):
        planning = current.planning
        again = planning.agent is not None and replans < planning.max_replans
        await _note_failure(host, current, progress, again=again)
        if not again:
            raise _failed(current, progress)
        replans += 1
        current = await _make(host, planning, progress)
    return progress.values


# Making.


async def _make(host: PlanHost, planning: Planning, progress: _Progress) -> AcceptedPlan:
    number = next(host.numbers)
    last: Plan | None = None
    problems: Sequence[str] = ()
    refused = 0
    while True:
        if refused == planning.max_proposals:
            problems = await _ask_for_help(host, planning, progress, last, problems)
            refused = 0
        last = await _proposal(host, planning, progress, last, problems)
        problems = _problems(planning, last, progress)
        if not problems:
            return await _accept(host, planning, progress, last, number)
        refused += 1
        body = {"plan": _recordable(last), "problems": list(problems)}
        header = {"plan": number, "attempt": refused, "problems": len(problems)}
        await host.note(f"plan:{number}", "plan_refused", header, canonical(body, "a plan"))


async def _given(host: PlanHost, plan: Plan, tools: Sequence[AnyTool] | None) -> AcceptedPlan:
    if tools is None:
        raise InvalidInputError(
            "a plan that run.plan did not make needs its tools: run.execute(plan, tools=[…])."
        )
    planning = Planning(agent=None, goal="", tools=by_name(tools), max_steps=len(plan.steps))
    problems = _problems(planning, plan, _Progress())
    if problems:
        raise InvalidInputError(f"the plan is wrong: {' '.join(problems)}", problems=problems)
    return await _accept(host, planning, _Progress(), plan, next(host.numbers))


def by_name(tools: Sequence[AnyTool]) -> dict[str, AnyTool]:
    """Tools by their names. Raises `InvalidInputError` where two have the same."""
    named = {tool.name: tool for tool in tools}
    if len(named) != len(tools):
        raise InvalidInputError("two tools for a plan have the same name.")
    return named


async def _proposal(
    host: PlanHost,
    planning: Planning,
    progress: _Progress,
    last: Plan | None,
    problems: Sequence[str],
) -> Plan:
    if planning.agent is None:
        raise ValueError("a plan that was given by hand is not proposed again")
    report = Report(
        done=progress.known,
        failed={id: failure.message for id, failure in progress.failures.items()},
        skipped=progress.skipped,
        refused=None if last is None else _plain(last),
        problems=problems,
    )
    prompt = plan_prompt(planning.goal, planning.tools.values(), planning.max_steps, report)
    answer = await host.ask(planning.agent, prompt, output=Plan, name="plan")
    return codec_for(Plan).validate(answer, "the answer to a request for a plan")


def _problems(planning: Planning, plan: Plan, progress: _Progress) -> list[str]:
    try:
        canonical(_plain(plan), "it")
    except _WRONG as error:
        return [str(error)]
    problems = plan_problems(
        plan, planning.tools, max_steps=planning.max_steps, known=progress.known
    )
    problems.extend(_repeated_writes(planning, plan, progress))
    if not problems and planning.check is not None:
        problems.extend(planning.check(plan))
    return problems


def _repeated_writes(planning: Planning, plan: Plan, progress: _Progress) -> Iterator[str]:
    """A new plan may not make again what an earlier one has made, or may have."""
    if not progress.made:
        return
    for step in plan.steps:
        tool = planning.tools.get(step.tool)
        if tool is None or tool.effect == "read":
            continue
        try:
            form = _form(tool.name, tool.bind((), resolved(step.arguments, progress.known)))
        except _WRONG:
            continue  # It needs a result of its own plan, or is wrong and said to be.
        for id, made in progress.made.items():
            if form == made:
                why = "is done" if id in progress.known else "may have happened"
                yield f"step {step.id!r}: it makes the call of step {id!r} again, which {why}."


async def _ask_for_help(
    host: PlanHost,
    planning: Planning,
    progress: _Progress,
    last: Plan | None,
    problems: Sequence[str],
) -> Sequence[str]:
    """No valid plan was found: a person says whether to try again; what the next try is told."""
    decision = await host.escalate(
        f"No valid plan was found in {planning.max_proposals} attempts for: {planning.goal}. Try "
        "again (a note is passed on to the model), or give up?",
        to=planning.approve or "",
        choices=("again", "give_up"),
        details={"problems": list(problems), "plan": None if last is None else _recordable(last)},
        name="plan:help",
    )
    if decision.choice != "again":
        raise PlanFailedError(
            f"no valid plan was found for {planning.goal!r}: {' '.join(problems)}",
            results=progress.values,
            reason="refused",
        )
    note = f"A person says: {decision.note}" if decision.note else ""
    return [*problems, *([note] if note else [])]


async def _accept(
    host: PlanHost, planning: Planning, progress: _Progress, plan: Plan, number: int
) -> AcceptedPlan:
    by = await _approval(host, planning, progress, plan) if planning.approve is not None else ""
    header = {
        "plan": number,
        "approved_by": by,
        "steps": [
            {"id": step.id, "tool": step.tool, "after": list(step.depends_on)}
            for step in plan.steps
        ],
    }
    body = canonical({"goal": planning.goal, "plan": _plain(plan)}, "a plan")
    await host.note(f"plan:{number}", "plan_accepted", header, body)
    return AcceptedPlan.of(plan, number, planning)


async def _approval(host: PlanHost, planning: Planning, progress: _Progress, plan: Plan) -> str:
    """Who approved the plan. Raises `PlanFailedError` when it was rejected."""
    decision = await host.escalate(
        f"May this plan be carried out? Its goal: {planning.goal}",
        to=planning.approve,
        choices=("approve", "reject"),
        details={"plan": _plain(plan)},
        name="plan:approve",
    )
    if decision.choice == "approve":
        return decision.by
    why = f": {decision.note}" if decision.note else ""
    raise PlanFailedError(
        f"the plan for {planning.goal!r} was rejected by {decision.by or 'a person'}{why}",
        results=progress.values,
        reason="rejected",
    )


# Carrying out.


class _Outcome(NamedTuple):
    state: _State
    failure: Failure | None = None


async def _carried_out(host: PlanHost, plan: AcceptedPlan, progress: _Progress) -> bool:
    """Carry out one plan as far as it goes; whether every step is done."""
    progress.failures.clear()
    progress.skipped.clear()
    ended = {step.id: asyncio.Event() for step in plan.steps}
    outcomes: dict[str, _Outcome] = {}

    async def carry_out_step(step: PlanStep) -> None:
        for id in step.depends_on:
            if id in ended:  # Else it is a step of an earlier plan, and done.
                await ended[id].wait()
        waited_for = [outcomes[id].state for id in step.depends_on if id in ended]
        if any(state != "done" for state in waited_for):
            outcomes[step.id] = _Outcome("skipped")
        else:
            outcomes[step.id] = await _step(host, plan, step, progress)
        ended[step.id].set()

    # All at once and in the plan's order, so that a step's place among the run's tasks, and with it
    # the key of its call, does not depend on which step ends first.
    async with asyncio.TaskGroup() as group:
        for step in plan.steps:
            group.create_task(carry_out_step(step))
    for step in plan.steps:
        state, failure = outcomes[step.id]
        if failure is not None:
            progress.failures[step.id] = failure
        elif state == "skipped":
            progress.skipped.append(step.id)
    return not progress.failures


async def _step(
    host: PlanHost, plan: AcceptedPlan, step: PlanStep, progress: _Progress
) -> _Outcome:
    tool = plan.planning.tools[step.tool]
    name = f"plan:{plan.number}:{step.id}:{tool.name}"
    try:
        values = tool.bind((), resolved(step.arguments, progress.known))
        form = _form(tool.name, values)
    except _WRONG as error:
        failure = failure_of(error)
        header = {"plan": plan.number, "step": step.id}
        await host.note(name, "plan_step_failed", header, failure.encode())
        return _Outcome("failed", failure)
    try:
        value = await host.call(name, tool, values)
    except OutcomeError as error:
        # Without the types of an exception nobody said that the write was not made.
        if isinstance(error, EffectFailedError) and not error.error_types:
            progress.made[step.id] = form
        return _Outcome("failed", Failure(error.error_types, error.message))
    progress.values[step.id] = value
    progress.known[step.id] = tool.result.dump(value)
    if tool.effect != "read":
        progress.made[step.id] = form
    return _Outcome("done")


async def _note_failure(
    host: PlanHost, plan: AcceptedPlan, progress: _Progress, *, again: bool
) -> None:
    header = {
        "plan": plan.number,
        "failed": list(progress.failures),
        "skipped": list(progress.skipped),
        "next": "replan" if again else "give_up",
    }
    told = {id: failure.message for id, failure in progress.failures.items()}
    await host.note(
        f"plan:{plan.number}", "plan_failed", header, canonical(told, "a plan's failures")
    )


def _failed(plan: AcceptedPlan, progress: _Progress) -> PlanFailedError:
    told = "; ".join(f"{id}: {failure.message}" for id, failure in progress.failures.items())
    skipped = f"; skipped: {', '.join(progress.skipped)}" if progress.skipped else ""
    return PlanFailedError(
        f"plan {plan.number} failed at {told}{skipped}",
        results=progress.values,
        error_types=tuple(t for f in progress.failures.values() for t in f.types),
        reason="failed",
        plan=plan.number,
        failed=list(progress.failures),
        skipped=list(progress.skipped),
    )


def _form(tool: str, arguments: Any) -> bytes:
    """A call as bytes that are the same for the same call."""
    return canonical([tool, arguments], f"tool {tool!r}")


def _plain(plan: Plan) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(plan.model_dump_json(include={"steps"})))


def _recordable(plan: Plan) -> dict[str, Any] | None:
    """The plan as data, or None where that is what is wrong with it."""
    plain = _plain(plan)
    try:
        canonical(plain, "a plan")
    except _WRONG:
        return None
    return plain
