"""The states of a plan's steps, read from the events alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.journal.event import NO_BODY, NO_HASH, Entry, Event
from interlock.observe.operation_key import called, planned_call
from interlock.observe.plan import STEP_STATES, plan_views
from interlock.observe.wait import wait_in_words

DIAMOND = [
    {"id": "end", "tool": "t", "after": ["left", "right"]},
    {"id": "start", "tool": "t", "after": []},
    {"id": "left", "tool": "t", "after": ["start"]},
    {"id": "right", "tool": "t", "after": ["start"]},
]


def entry(kind: str, key: str = "", **header: Any) -> Entry:
    event = Event(
        stream="run_1", seq=1, position=1, epoch=1, kind=kind, version=1, key=key, at_us=1,
        header=header, commitment=NO_BODY, prev_hash=NO_HASH,
    )  # fmt: skip
    return Entry(event, None, False)


def accepted(number: int = 1, steps: Any = DIAMOND) -> Entry:
    return entry("plan_accepted", f"/plan:{number}#1", plan=number, steps=steps)


def ended(kind: str, step: str, plan: int = 1, **header: Any) -> Entry:
    return entry(kind, f"/2/plan:{plan}:{step}:t#1", **header)


def states(*entries: Entry) -> list[dict[str, str]]:
    return [{s.id: s.state for s in plan.steps} for plan in plan_views(entries)]


@pytest.mark.parametrize(
    ("events", "start", "left", "right", "end"),
    [
        ([], "running", "pending", "pending", "pending"),
        ([ended("read_completed", "start")], "done", "running", "running", "pending"),
        ([ended("read_attempt_failed", "start")], "running", "pending", "pending", "pending"),
        ([ended("read_failed", "start")], "failed", "skipped", "skipped", "skipped"),
        (
            [ended("effect_completed", "start"), ended("plan_step_failed", "left")],
            "done", "failed", "running", "skipped",
        ),
        (
            [ended("effect_intended", "start"), ended("effect_unknown", "start")],
            "running", "pending", "pending", "pending",
        ),
        (
            [ended("effect_resolved", "start", verdict="happened")],
            "done", "running", "running", "pending",
        ),
        (
            [ended("effect_resolved", "start", verdict="not_happened")],
            "running", "pending", "pending", "pending",
        ),
        (
            [ended("effect_resolved", "start", verdict="given_up")],
            "failed", "skipped", "skipped", "skipped",
        ),
        (
            [ended("operation_cancelled", "start"), ended("effect_completed", "start")],
            "done", "running", "running", "pending",
        ),
        (
            [ended("read_completed", "start"), entry("run_cancelled")],
            "done", "skipped", "skipped", "skipped",
        ),
        (
            [entry("step_completed", "/start#1"), ended("read_completed", "start", plan=2)],
            "running", "pending", "pending", "pending",
        ),
    ],
)  # fmt: skip
def test_states_follow_from_the_events(
    events: list[Entry], start: str, left: str, right: str, end: str
) -> None:
    assert states(accepted(), *events) == [
        {"end": end, "start": start, "left": left, "right": right}
    ]


def test_plans_of_a_run_that_continued_as_new_are_told_apart() -> None:
    steps = [{"id": "a", "tool": "t", "after": []}]
    told = states(
        accepted(1, steps), entry("run_continued"), accepted(1, steps), ended("read_failed", "a")
    )
    assert told == [{"a": "skipped"}, {"a": "failed"}]


def test_what_a_step_is_called() -> None:
    assert planned_call("plan:1:fetch:get:x") == (1, "fetch", "get:x")
    assert planned_call("plan:one:fetch:get") is None
    assert called("get") == "'get'"
    waits = {"key": "/1/plan:1:fetch:get#1", "what": "attempt 2 of read 'plan:1:fetch:get'"}
    assert wait_in_words(waits) == "attempt 2 of read 'get' (step 'fetch' of plan 1)"


ids = st.sampled_from("abcd")
odd_steps = st.lists(
    st.fixed_dictionaries({"id": ids, "tool": st.just("t"), "after": st.lists(ids, max_size=3)}),
    max_size=5,
)


@given(odd_steps, st.lists(st.tuples(st.sampled_from(("read_completed", "read_failed")), ids)))
def test_no_plan_is_too_odd_to_be_read(
    steps: list[dict[str, Any]], events: list[tuple[str, str]]
) -> None:
    """Circles do not come out of the check, but a reader of damaged events must not hang."""
    (told,) = states(accepted(1, steps), *(ended(kind, id) for kind, id in events))
    assert set(told.values()) <= set(STEP_STATES)
