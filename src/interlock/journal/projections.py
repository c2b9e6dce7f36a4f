"""Which events change which projections: one table, shared by all databases.

`PROJECTIONS` maps a kind to the header fields it needs and to the named statements that fold it.
A kind that is not in the table has no projection beside the head of its stream: that is the hot
path, since most events of a run are such. Each database has the statements under the same names
and the same parameters, in its own SQL.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from interlock.journal.event import Header
from interlock.journal.rows import RunState

__all__ = [
    "GENERIC_FIELDS",
    "LARGEST_INTEGER",
    "PROJECTIONS",
    "STATE_AFTER",
    "Field",
    "Fold",
    "Parameters",
    "Place",
    "Projection",
    "add_folds",
    "folds",
]

LARGEST_INTEGER = 2**63 - 1
Parameters = Mapping[str, Any]
Fold = tuple[str, Parameters]


class Field(NamedTuple):
    """A header field that a projection reads; `least` is the smallest number it may be."""

    name: str
    types: tuple[type, ...]
    required: bool = True
    default: Any = None
    least: int = -(2**63) + 1


class Projection(NamedTuple):
    """How one kind is folded: fields of its header, statements in order, fixed parameters."""

    fields: tuple[Field, ...]
    statements: tuple[str, ...]
    fixed: Parameters = MappingProxyType({})


class Place(NamedTuple):
    """Where a projected event stands."""

    position: int
    stream: str
    seq: int
    key: str
    at_us: int


def _text(name: str) -> Field:
    return Field(name, (str,))


def _text_or(name: str, default: str) -> Field:
    return Field(name, (str,), required=False, default=default)


def _integer(name: str) -> Field:
    return Field(name, (int,))


def _amount(name: str, least: int = 0) -> Field:
    return Field(name, (int,), least=least)


def _integer_or(name: str, default: int) -> Field:
    return Field(name, (int,), required=False, default=default)


def _moment(name: str) -> Field:
    return Field(name, (int, type(None)), required=False)


def _end(state: RunState) -> Projection:
    fields = (_text_or("outcome", ""), _text_or("reason", ""))
    return Projection(fields, ("run_ended", "withdraw_tasks"), MappingProxyType({"state": state}))


_QUEUED = (
    _text("agent"),
    _text_or("tenant", "default"),
    _integer_or("priority", 0),
    _integer_or("start_after_us", 0),
    _moment("deadline_at_us"),
    _text_or("parent", ""),
    _text_or("parent_key", ""),
    _text_or("close_policy", ""),
    _text_or("code_version", ""),
)
_EFFECT = _text("effect_key")
_INTENDED = (_EFFECT, _text("tool"), _text_or("tool_version", ""), _text("recovery"))
_MAIL = (
    _text("run"),
    _text("kind"),
    _text_or("name", ""),
    _text_or("task", ""),
    _text_or("by", ""),
)
_WAITS = Field("waits", (list, tuple), required=False, default=())

PROJECTIONS: Mapping[str, Projection] = MappingProxyType(
    {
        "run_queued": Projection(_QUEUED, ("run_queued",)),
        "run_claimed": Projection((_text("worker"), _integer("claim")), ("run_claimed",)),
        "run_suspended": Projection((_moment("wake_at_us"), _WAITS), ("run_suspended",)),
        "run_completed": _end("completed"),
        "run_failed": _end("failed"),
        "run_cancelled": _end("cancelled"),
        "run_parked": Projection((_text_or("reason", ""),), ("run_parked",)),
        "run_retried": Projection((), ("run_retried",)),
        "run_released": Projection((), ("run_retried",)),
        "run_continued": Projection((_integer("generation"),), ("run_continued", "withdraw_tasks")),
        "outcome_set": Projection((_text("outcome"),), ("outcome_set",)),
        "effect_intended": Projection(_INTENDED, ("effect_intended",)),
        "effect_completed": Projection((_EFFECT,), ("effect_completed",)),
        "effect_failed": Projection((_EFFECT, _text_or("reason", "")), ("effect_failed",)),
        "effect_attempt_failed": Projection(
            (_EFFECT, _text_or("reason", ""), _integer_or("maybe_made", 0)),
            ("effect_attempt_failed",),
        ),
        "effect_unknown": Projection((_EFFECT, _text_or("reason", "")), ("effect_unknown",)),
        "effect_resolved": Projection((_EFFECT, _text("verdict")), ("effect_resolved",)),
        "task_opened": Projection(
            (_text("task"), _text("kind"), _text_or("role", ""), _moment("due_at_us")),
            ("task_opened",),
        ),
        "task_expired": Projection((_text("task"),), ("task_expired",)),
        "task_withdrawn": Projection((_text("task"),), ("task_withdrawn",)),
        "mail_sent": Projection(_MAIL, ("mail_sent", "mail_wakes", "task_decided")),
        "budget_set": Projection((_text("account"), _amount("limit")), ("budget_set",)),
        "budget_raised": Projection((_text("account"), _amount("amount", 1)), ("budget_raised",)),
        "budget_reserved": Projection(
            (_text("account"), _text("hold"), _amount("amount")), ("hold_counted", "hold_stored")
        ),
        "budget_settled": Projection(
            (_text("hold"), _amount("amount")), ("spend_counted", "hold_settled")
        ),
        "approval_granted": Projection(
            (_text("approval"), _text("call_hash"), _moment("expires_at_us")), ("approval_granted",)
        ),
    }
)

STATE_AFTER: Mapping[str, RunState] = MappingProxyType(
    {
        "run_queued": "queued",
        "run_claimed": "running",
        "run_suspended": "waiting",
        "run_completed": "completed",
        "run_failed": "failed",
        "run_cancelled": "cancelled",
        "run_parked": "parked",
        "run_retried": "queued",
        "run_released": "queued",
        "run_continued": "queued",
    }
)

GENERIC_FIELDS = ("unique", "takes", "consumes")


def folds(kind: str, header: Header, place: Place) -> Iterator[Fold]:
    """The statements that fold one event, in order, each with its named parameters."""
    projection = PROJECTIONS.get(kind)
    if projection is not None:
        parameters = _parameters(projection, header, place)
        for statement in projection.statements:
            if statement != "task_decided" or parameters["task"]:
                yield statement, parameters
    yield from _generic_folds(header, place)


def add_folds(folded: list[Fold], more: Iterable[Fold]) -> None:
    """Add folds to those of a group.

    A run that is claimed in the commit that queues it, as most are, is written once, as running,
    and never enters the indexes of the queue.
    """
    for fold in more:
        statement, claimed = fold
        if statement == "run_claimed" and folded and folded[-1][0] == "run_queued":
            queued = folded[-1][1]
            if queued["stream"] == claimed["stream"]:
                claim = {"worker": claimed["worker"], "claim": claimed["claim"]}
                folded[-1] = ("run_started", {**queued, **claim, "claim_seq": claimed["seq"]})
                continue
        folded.append(fold)


def _parameters(projection: Projection, header: Header, place: Place) -> Parameters:
    position, stream, seq, key, at_us = place
    parameters: dict[str, Any] = {
        "position": position,
        "stream": stream,
        "seq": seq,
        "key": key,
        "at_us": at_us,
        **projection.fixed,
    }
    for name, _, _, default, _ in projection.fields:
        value = header.get(name, default)
        # Sorted, so that folding a header as written and as read back gives the same text.
        parameters[name] = json.dumps(value, sort_keys=True) if name == "waits" else value
    return parameters


def _generic_folds(header: Header, place: Place) -> Iterator[Fold]:
    position = place.position
    for scope, key in header.get("unique", ()):
        claim = {"scope": scope, "unique_key": key, "stream": place.stream, "position": position}
        yield "key_claimed", claim
    if "takes" in header:
        yield "mail_taken", {"message_id": header["takes"], "position": position}
    if "consumes" in header:
        yield "approval_consumed", {"approval": header["consumes"], "position": position}
