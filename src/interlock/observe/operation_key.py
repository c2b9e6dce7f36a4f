"""What an operation's key says: `/1/reply#2` is the second `reply` of task 1."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["PlannedCall", "called", "is_pause", "is_time_limit", "operation_name", "planned_call"]

_KEY: Final = re.compile(r"^(?:/\d+)*/(?P<name>.*)#\d+$", re.DOTALL)
_PLANNED: Final = re.compile(r"^plan:(?P<plan>\d{1,9}):(?P<step>[^:]+):(?P<tool>.*)$", re.DOTALL)


class PlannedCall(NamedTuple):
    """What the name of an operation says that is a step of a plan: `plan:1:fetch:get_order`."""

    plan: int
    step: str
    tool: str


def planned_call(name: str) -> PlannedCall | None:
    """The step of a plan that an operation with this name is, or None."""
    match = _PLANNED.match(name)
    return PlannedCall(int(match["plan"]), match["step"], match["tool"]) if match else None


def called(name: str) -> str:
    """An operation's name in quotes for a sentence; a plan's step by its tool and its id."""
    call = planned_call(name)
    return f"{call.tool!r} (step {call.step!r} of plan {call.plan})" if call else repr(name)


def operation_name(key: str) -> str:
    """The operation's name within its key; the key itself where it has another form."""
    match = _KEY.match(key)
    return match["name"] if match else key


def is_time_limit(key: str) -> bool:
    """Whether the operation is a time limit (`run.timeout`) and not something to wait for."""
    return operation_name(key) == "timer"


def is_pause(key: str) -> bool:
    """Whether the operation is the time between two attempts to ask a model."""
    return operation_name(key) == "pause"
