"""Plans: a graph of tool calls that is written down before anything happens.

A plan is data, made by a model or by hand. It is checked against the tools before the first call
(`plan_problems`), and an argument may refer to the result of an earlier step, which is put in when
that step is done (`resolved`). Both are pure. A plan is carried out by `orchestrator/plan.py`.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from pydantic import BaseModel, ConfigDict, Field

from interlock.errors import InvalidInputError
from interlock.tools.tool import Tool

__all__ = [
    "RESULT_MARK",
    "Plan",
    "PlanStep",
    "Reference",
    "plan_problems",
    "references",
    "resolved",
    "upstream",
]

RESULT_MARK: Final = "$result"
_PATH: Final = "path"
_ID: Final = r"^[A-Za-z][A-Za-z0-9_-]{0,39}$"

AnyTool = Tool[..., Any]


class PlanStep(BaseModel):
    """One call of a tool in a plan.

    An argument, or any value within one, may be a reference to the result of a step that this one
    depends on, directly or through others: `{"$result": "step_id", "path": "items.0.name"}`. The
    path leads into the result by field names and list positions; without it the whole is meant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(
        pattern=_ID,
        description="a short name, unique in the plan: letters, digits, - and _, at most 40",
    )
    tool: str = Field(description="the name of the tool to call")
    arguments: dict[str, Any] = Field(
        default={},
        description="the tool's arguments by name; a value may be "
        '{"$result": "step_id", "path": "field.0.name"}',
    )
    depends_on: tuple[str, ...] = Field(
        default=(), description="ids of the steps that must be done before this one begins"
    )
    purpose: str = Field(
        default="", max_length=200, description="in a few words: what the step is for"
    )


class Plan(BaseModel):
    """Steps that reach a goal. Steps that do not depend on each other run at the same time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: tuple[PlanStep, ...]


class Reference(NamedTuple):
    """A value in a step's arguments that is the result of another step, or a piece of it."""

    step: str
    path: str = ""


def references(value: Any) -> Iterator[Reference]:
    """The references in a value, at any depth. Raises `InvalidInputError` for a malformed one."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if RESULT_MARK in fields:
            yield _reference(fields)
            return
        for item in fields.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from references(item)


def resolved(value: Any, results: Mapping[str, Any]) -> Any:
    """The value with each reference replaced by what it refers to.

    `results` are the results of the steps that are done, as plain data. Raises `InvalidInputError`
    that says how far a path leads.
    """
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if RESULT_MARK in fields:
            return _followed(_reference(fields), results)
        return {name: resolved(item, results) for name, item in fields.items()}
    if isinstance(value, list):
        return [resolved(item, results) for item in cast("list[Any]", value)]
    return value


def _reference(fields: Mapping[str, Any]) -> Reference:
    step, path = fields[RESULT_MARK], fields.get(_PATH, "")
    if fields.keys() - {RESULT_MARK, _PATH} or not (
        isinstance(step, str) and isinstance(path, str)
    ):
        raise InvalidInputError(
            'a reference is {"$result": "step_id"} or {"$result": "step_id", "path": "a.b"}, with '
            f"texts and nothing beside; it has {', '.join(map(repr, sorted(fields)))}."
        )
    return Reference(step, path)


def _followed(reference: Reference, results: Mapping[str, Any]) -> Any:
    if reference.step not in results:
        raise InvalidInputError(f"step {reference.step!r} has no result to refer to.")
    value: Any = results[reference.step]
    gone: list[str] = []
    for part in reference.path.split(".") if reference.path else ():
        try:
            value = value[int(part) if isinstance(value, (list, tuple)) else part]
        except (LookupError, TypeError, ValueError):
            where = ".".join(gone) or "the result"
            raise InvalidInputError(
                f"the result of step {reference.step!r} has no {reference.path!r}: there is no "
                f"{part!r} in {where}."
            ) from None
        gone.append(part)
    return value


def upstream(plan: Plan) -> dict[str, frozenset[str]]:
    """For each step the ids of all steps that it depends on, also through others.

    Ids that are no step's are in it too; a step of a cycle depends on itself.
    """
    direct = {step.id: step.depends_on for step in plan.steps}
    found: dict[str, frozenset[str]] = {}
    for id, first in direct.items():
        reached: dict[str, None] = {}
        ahead = list(first)
        while ahead:
            each = ahead.pop()
            if each not in reached:
                reached[each] = None
                ahead.extend(direct.get(each, ()))
        found[id] = frozenset(reached)
    return found


# The check.


def plan_problems(
    plan: Plan,
    tools: Mapping[str, AnyTool],
    *,
    max_steps: int,
    known: Mapping[str, Any] | None = None,
) -> list[str]:
    """All that is wrong with a plan, each in a sentence that its author can act on; or nothing.

    `known` are results of steps of an earlier plan: they may be referred to without a dependency,
    and their ids are taken. Checked are the ids, the dependencies and their cycles, the tools, the
    references, and the arguments against the tool's types. An argument that holds a reference fits
    any type here and is checked when it is put in.
    """
    known = known or {}
    before = upstream(plan)
    return [
        *_problems_of_the_whole(plan, max_steps, known, before),
        *(
            f"step {step.id!r}: {problem}"
            for step in plan.steps
            for problem in _problems_of_a_step(step, tools, known, before)
        ),
    ]


def _problems_of_the_whole(
    plan: Plan, max_steps: int, known: Mapping[str, Any], before: Mapping[str, frozenset[str]]
) -> Iterator[str]:
    if not plan.steps:
        yield "the plan has no steps."
    if len(plan.steps) > max_steps:
        yield f"the plan has {len(plan.steps)} steps; at most {max_steps} are allowed."
    ids = [step.id for step in plan.steps]
    for id in dict.fromkeys(ids):
        if ids.count(id) > 1:
            yield f"step id {id!r} is used {ids.count(id)} times."
        if id in known:
            yield f"step id {id!r} is taken: that step is done. Choose another."
    if any(id in before[id] for id in ids):
        yield f"steps depend on each other in a circle: {' → '.join(_circle(plan))}."


def _circle(plan: Plan) -> list[str]:
    try:
        graphlib.TopologicalSorter({s.id: s.depends_on for s in plan.steps}).prepare()
    except graphlib.CycleError as error:
        return cast("list[str]", error.args[1])
    return []


def _problems_of_a_step(
    step: PlanStep,
    tools: Mapping[str, AnyTool],
    known: Mapping[str, Any],
    before: Mapping[str, frozenset[str]],
) -> Iterator[str]:
    for id in step.depends_on:
        if id not in before and id not in known:
            yield f"it depends on {id!r}, which is no step."
    tool = tools.get(step.tool)
    if tool is None:
        yield f"there is no tool {step.tool!r}; there is {', '.join(sorted(tools)) or 'none'}."
    try:
        referred = list(dict.fromkeys(references(step.arguments)))
    except InvalidInputError as error:
        yield error.message
        return
    for id in dict.fromkeys(reference.step for reference in referred):
        if id not in before and id not in known:
            yield f"it refers to the result of {id!r}, which is no step."
        elif id not in before[step.id] and id not in known:
            yield f"it refers to the result of {id!r}, which is not in its depends_on."
    if tool is not None:
        yield from _problems_of_arguments(step, tool)


def _problems_of_arguments(step: PlanStep, tool: AnyTool) -> Iterator[str]:
    open_until_run = {
        name for name, value in step.arguments.items() if any(True for _ in references(value))
    }
    try:
        tool.bind((), step.arguments)
    except InvalidInputError as error:
        for problem in error.fields["problems"]:
            name = problem["field"].partition(".")[0]
            if name not in open_until_run or not tool.arguments.takes(name):
                yield f"argument {problem['field']!r} of tool {tool.name!r}: {problem['problem']}."
