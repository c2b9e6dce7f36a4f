"""A run's plans and the state of each of their steps, read from the run's events.

Nothing records the states themselves: they follow from the plan that was accepted and from the
events of its steps' calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from interlock.journal.event import Entry, Event
from interlock.observe.operation_key import operation_name, planned_call

__all__ = ["STEP_STATES", "PlanStepView", "PlanView", "plan_views"]

StepState = Literal["pending", "running", "done", "failed", "skipped"]
STEP_STATES: Final = get_args(StepState)

_DONE: Final = frozenset({"read_completed", "effect_completed"})
_FAILED: Final = frozenset(
    {"read_failed", "effect_failed", "plan_step_failed", "operation_cancelled"}
)
_OVER: Final = frozenset({"run_completed", "run_failed", "run_cancelled", "run_continued"})


class PlanStepView(BaseModel):
    """One step of a plan. `state` is one of `STEP_STATES`."""

    model_config = ConfigDict(frozen=True)

    id: str
    tool: str
    depends_on: list[str]
    state: StepState


class PlanView(BaseModel):
    """A plan that a run has accepted."""

    model_config = ConfigDict(frozen=True)

    number: int = Field(description="counts the plans of the run, from 1")
    approved_by: str = Field(description="who approved it, or empty")
    steps: list[PlanStepView]


class _Told:
    """What the events say of one plan: how its steps have ended, and whether more can come."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        self.header = header
        self.ended: dict[str, StepState] = {}
        self.over = False

    def view(self) -> PlanView:
        """The plan with the state of each step."""
        steps = {step["id"]: step for step in self.header.get("steps") or ()}
        states: dict[str, StepState] = {}
        for _ in steps:  # A step may be written before those it depends on.
            for id, step in steps.items():
                after = [each for each in step["after"] if each in steps]
                if id not in states and all(each in states for each in after):
                    states[id] = self._state(id, [states[each] for each in after])
        return PlanView(
            number=self.header.get("plan", 0),
            approved_by=self.header.get("approved_by", ""),
            steps=[
                PlanStepView(
                    id=id,
                    tool=step["tool"],
                    depends_on=list(step["after"]),
                    state=states.get(id, "pending"),
                )
                for id, step in steps.items()
            ],
        )

    def _state(self, id: str, before: list[StepState]) -> StepState:
        if id in self.ended:
            return self.ended[id]
        if self.over or "failed" in before or "skipped" in before:
            return "skipped"
        return "running" if all(state == "done" for state in before) else "pending"


def plan_views(entries: Iterable[Entry]) -> list[PlanView]:
    """The plans that a run's events tell of, in the order of their acceptance.

    A step is `pending` until all that it depends on is done, then `running` until its call has
    ended; it is `skipped` when something that it depends on failed or the run ended before it.
    """
    plans: list[_Told] = []
    current: dict[int, _Told] = {}
    for entry in entries:
        event = entry.event
        if event.kind == "plan_accepted":
            told = current[event.header.get("plan", 0)] = _Told(event.header)
            plans.append(told)
        elif event.kind in _OVER:
            for told in current.values():
                told.over = True
            current.clear()
        else:
            _step_event(event, current)
    return [told.view() for told in plans]


def _step_event(event: Event, current: Mapping[int, _Told]) -> None:
    call = planned_call(operation_name(event.key))
    told = current.get(call.plan) if call is not None else None
    state = _ended(event)
    if call is None or told is None or state is None:
        return
    # A write whose caller has turned away is followed all the same, and its outcome counts.
    if told.ended.get(call.step) != "done":
        told.ended[call.step] = state


def _ended(event: Event) -> StepState | None:
    if event.kind == "effect_resolved":
        verdicts: dict[str, StepState] = {"happened": "done", "given_up": "failed"}
        return verdicts.get(str(event.header.get("verdict")))
    if event.kind in _DONE:
        return "done"
    return "failed" if event.kind in _FAILED else None
