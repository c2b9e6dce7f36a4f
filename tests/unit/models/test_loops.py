"""Loops of a model: every one is found at its limit, and work that gets on is never called one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.models.loops import (
    LONGEST_EXCERPT,
    Loop,
    LoopLimits,
    LoopWatch,
    normalised_arguments,
)

OFF = {"same_call": 0, "cycle_repeats": 0, "same_error": 0, "stale_steps": 0}


def only(**limits: int) -> LoopWatch:
    """A watch for one form."""
    return LoopWatch(LoopLimits(**{**OFF, **limits}))


def made(
    watch: LoopWatch, tool: str, arguments: Any, answer: str | None, error: str = "", **turn: int
) -> Loop | None:
    """One call from its announcement to its outcome."""
    return watch.before_call(tool, arguments, **turn) or watch.after_call(
        tool, arguments, answer, error
    )


def kind_of(loop: Loop | None) -> str:
    return loop.kind if loop else ""


# The same call.


def test_the_third_same_call_is_a_loop_before_it_is_made() -> None:
    watch = LoopWatch()
    assert made(watch, "find", {"id": 1}, "a") is None
    assert made(watch, "find", {"id": 1}, "a") is None
    loop = watch.before_call("find", {"id": 1})
    assert loop is not None
    assert loop.sentence == (
        "The model calls tool 'find' with the same arguments, {\"id\":1}, 3 times, this one "
        "included, and nothing new came of it."
    )
    assert [call.outcome for call in loop.calls] == [
        "new answer", "same answer as before", "not made yet",
    ]  # fmt: skip


def test_other_calls_between_do_not_hide_it() -> None:
    watch = LoopWatch()
    for place in range(2):
        assert made(watch, "find", {"id": 1}, "a") is None
        assert made(watch, "find", {"id": 10 + place}, f"other {place}") is None
    assert kind_of(watch.before_call("find", {"id": 1})) == "same_call"


def test_a_changed_answer_begins_the_count_again() -> None:
    """New information came: polling something that changes is work."""
    watch = LoopWatch()
    for answer in ("0 %", "40 %", "80 %", "80 %"):
        assert made(watch, "progress", {}, answer) is None
    assert kind_of(watch.before_call("progress", {})) == "same_call"


def test_the_same_call_three_times_in_one_turn_is_a_loop_too() -> None:
    watch = LoopWatch()
    assert watch.before_call("find", {"id": 1}, turn=0) is None
    assert watch.before_call("find", {"id": 1}, turn=0) is None
    assert kind_of(watch.before_call("find", {"id": 1}, turn=0)) == "same_call"


def test_parallel_calls_with_different_arguments_are_none() -> None:
    watch = LoopWatch()
    for number in range(40):
        assert watch.before_call("find", {"id": number}, turn=0) is None
    for number in range(40):
        assert watch.after_call("find", {"id": number}, f"answer {number}") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": " x\n"}, {"a": "x"}),
        ({"a": [{"b": "x "}]}, {"a": [{"b": "x"}]}),
        ({"a": 1.0}, {"a": 1}),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ('{"b": 2,  "a": 1.0}', {"a": 1, "b": 2}),
        (None, {}),
        ("", {}),
    ],
)
def test_differences_that_mean_nothing(one: Any, other: Any) -> None:
    assert normalised_arguments(one) == normalised_arguments(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "x"}, {"a": "X"}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": "x y"}, {"a": "x  y"}),
        ({"a": 2**60}, {"a": 2**60 + 1}),
        ("not JSON", "not json"),
    ],
)
def test_differences_that_mean_something(one: Any, other: Any) -> None:
    assert normalised_arguments(one) != normalised_arguments(other)


# Cycles.


def test_a_b_a_b_is_a_cycle() -> None:
    watch = only(cycle_repeats=2)
    assert made(watch, "a", {}, "1") is None
    assert made(watch, "b", {}, "2") is None
    assert made(watch, "a", {}, "1") is None
    loop = watch.before_call("b", {})
    assert kind_of(loop) == "cycle"
    assert loop is not None
    assert "a({}) → b({})" in loop.sentence
    assert [call.tool for call in loop.calls] == ["a", "b", "a", "b"]


def test_a_cycle_that_brings_something_new_is_none() -> None:
    watch = only(cycle_repeats=2)
    for answer in range(8):
        assert made(watch, "test", {}, f"{answer} failed") is None
        assert made(watch, "edit", {}, None) is None


def test_one_call_again_and_again_is_no_cycle() -> None:
    watch = only(cycle_repeats=2)
    for _ in range(12):
        assert made(watch, "a", {}, "1") is None


# Errors.


def test_the_same_error_twice_is_a_loop() -> None:
    watch = LoopWatch()
    assert made(watch, "find", {"id": 1}, None, "ValueError: no such  card") is None
    loop = made(watch, "find", {"id": 2}, None, "ValueError: no such card")
    assert kind_of(loop) == "same_error"
    assert loop is not None
    assert "no such card" in loop.sentence
    assert [json.loads(call.arguments)["id"] for call in loop.calls] == [1, 2]


def test_a_success_of_the_tool_between_forgives_the_error() -> None:
    watch = LoopWatch()
    for number in range(6):
        assert made(watch, "find", {"id": number}, None, "timed out") is None
        assert made(watch, "find", {"id": number}, f"answer {number}") is None


def test_another_error_or_another_tool_is_no_repetition() -> None:
    watch = LoopWatch()
    assert made(watch, "find", {"id": 1}, None, "no such card") is None
    assert made(watch, "find", {"id": 2}, None, "card is locked") is None
    assert made(watch, "pay", {"id": 2}, None, "card is locked") is None


def test_calls_of_one_turn_that_fail_alike_have_failed_once() -> None:
    watch = LoopWatch()
    for number in range(5):
        assert watch.before_call("find", {"id": number}, turn=3) is None
    for number in range(5):
        assert watch.after_call("find", {"id": number}, None, "timed out") is None
    assert watch.before_call("find", {"id": 9}, turn=4) is None
    assert kind_of(watch.after_call("find", {"id": 9}, None, "timed out")) == "same_error"


# Nothing new.


def test_turns_without_anything_new_are_a_loop() -> None:
    """The calls differ, and each answers what was known before."""
    watch = LoopWatch()
    assert made(watch, "search", {"q": "start"}, "nothing") is None
    for number in range(8):
        assert made(watch, "search", {"q": f"word {number}"}, "nothing") is None
    loop = watch.before_call("search", {"q": "once more"})
    assert kind_of(loop) == "stale"
    assert loop is not None
    assert len(loop.calls) == 9


def test_writes_that_answer_nothing_are_news() -> None:
    watch = LoopWatch()
    for number in range(30):
        assert made(watch, "label", {"ticket": number}, None) is None
    assert made(watch, "label", {"ticket": 29}, None) is None
    assert kind_of(watch.before_call("label", {"ticket": 29})) == "same_call"


def test_polling_with_a_changing_answer_is_not_stale() -> None:
    watch = LoopWatch()
    for number in range(40):
        assert made(watch, "status", {}, "idle" if number % 2 else "busy") is None


def test_one_new_answer_in_a_turn_is_enough() -> None:
    watch = only(stale_steps=2)
    for turn in range(10):
        for number in range(3):
            assert watch.before_call("search", {"turn": turn, "n": number}, turn=turn) is None
        for number in range(3):
            answer = f"found {turn}" if number == 0 else "nothing"
            assert watch.after_call("search", {"turn": turn, "n": number}, answer) is None


# What a loop says.


def test_a_loop_is_told_again_until_it_is_cleared() -> None:
    watch = LoopWatch()
    made(watch, "find", {}, None, "no")
    first = made(watch, "find", {}, None, "no")
    assert first is not None
    assert watch.before_call("other", {}) is first
    watch.clear()
    assert watch.after_call("other", {}, "late") is None
    assert made(watch, "find", {}, None, "no") is None


def test_the_details_are_json_and_short() -> None:
    watch = only(same_call=2)
    long = {"text": "x" * 5000}
    made(watch, "find", long, "a")
    loop = watch.before_call("find", long)
    assert loop is not None
    details = json.loads(json.dumps(loop.as_details()))
    assert details["loop"] == "same_call"
    assert [call["number"] for call in details["calls"]] == [1, 2]
    assert all(len(call["arguments"]) <= LONGEST_EXCERPT + 1 for call in details["calls"])


@pytest.mark.parametrize("limits", [{"same_call": 1}, {"cycle_repeats": 1}, {"stale_steps": -1}])
def test_limits_that_make_no_sense_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        LoopLimits(**limits)


# Laws.

arguments = st.dictionaries(
    st.text(max_size=4),
    st.none() | st.booleans() | st.integers(-50, 50) | st.text(max_size=6),
    max_size=3,
)
distinct_calls = st.lists(
    st.tuples(st.sampled_from(("find", "pay", "read")), arguments),
    max_size=25,
    unique_by=lambda call: (call[0], normalised_arguments(call[1])),
)
turns = st.lists(st.integers(0, 1), min_size=25, max_size=25)


def numbered(steps: list[int]) -> list[int]:
    """Turn numbers that stay or rise by one."""
    return [sum(steps[: place + 1]) for place in range(len(steps))]


@given(distinct_calls, turns)
def test_different_calls_with_new_answers_are_never_a_loop(
    calls: list[tuple[str, dict[str, Any]]], steps: list[int]
) -> None:
    watch = LoopWatch()
    for place, (tool, given_arguments) in enumerate(calls):
        turn = numbered(steps)[place]
        assert made(watch, tool, given_arguments, f"answer {place}", turn=turn) is None


@given(distinct_calls, turns, st.lists(st.booleans(), min_size=25, max_size=25))
def test_different_calls_that_fail_in_new_ways_are_never_a_loop(
    calls: list[tuple[str, dict[str, Any]]], steps: list[int], failing: list[bool]
) -> None:
    watch = LoopWatch()
    for place, (tool, given_arguments) in enumerate(calls):
        error = f"error {place}" if failing[place] else ""
        turn = numbered(steps)[place]
        assert made(watch, tool, given_arguments, f"answer {place}", error, turn=turn) is None


@given(distinct_calls, st.data(), st.integers(2, 6))
def test_a_repeated_call_is_found_at_its_limit(
    calls: list[tuple[str, dict[str, Any]]], data: st.DataObject, limit: int
) -> None:
    """It is planted between calls that get on, and found when it is announced that often."""
    watch = LoopWatch(LoopLimits(same_call=limit, cycle_repeats=0))
    places = data.draw(st.lists(st.integers(0, len(calls)), min_size=limit, max_size=limit))
    announced = 0
    for place in range(len(calls) + 1):
        for _ in range(places.count(place)):
            announced += 1
            loop = watch.before_call("planted", {"same": True})
            if announced == limit:
                assert kind_of(loop) == "same_call"
                return
            assert loop is None
            assert watch.after_call("planted", {"same": True}, "planted answer") is None
        if place < len(calls):
            assert made(watch, *calls[place], f"answer {place}") is None


@given(
    distinct_calls,
    st.integers(2, 3),
    st.integers(2, 5),
)
def test_a_cycle_is_found_at_its_limit(
    before: list[tuple[str, dict[str, Any]]], length: int, repeats: int
) -> None:
    watch = only(cycle_repeats=repeats)
    for place, call in enumerate(before):
        assert made(watch, *call, f"answer {place}") is None
    for place in range(length * repeats - 1):
        assert made(watch, f"cycle {place % length}", {}, f"c{place % length}") is None
    assert kind_of(watch.before_call(f"cycle {length - 1}", {})) == "cycle"


@given(distinct_calls, st.integers(1, 6))
def test_a_repeated_error_is_found_at_its_limit(
    between: list[tuple[str, dict[str, Any]]], limit: int
) -> None:
    watch = only(same_error=limit)
    for place in range(limit - 1):
        assert made(watch, "planted", {"n": place}, None, "boom") is None
        if place < len(between):
            assert made(watch, *between[place], f"answer {place}") is None
    assert kind_of(made(watch, "planted", {"n": limit}, None, "boom")) == "same_error"


@given(distinct_calls, st.integers(1, 10), st.integers(1, 4))
def test_stale_turns_are_found_at_their_limit(
    before: list[tuple[str, dict[str, Any]]], limit: int, width: int
) -> None:
    watch = only(stale_steps=limit)
    for place, call in enumerate(before):
        assert made(watch, *call, f"answer {place}", turn=place) is None
    first = len(before)
    assert made(watch, "planted", {}, "nothing", turn=first) is None
    for turn in range(first + 1, first + 1 + limit):
        for number in range(width):
            assert watch.before_call("planted", {"turn": turn, "n": number}, turn=turn) is None
        for number in range(width):
            assert watch.after_call("planted", {"turn": turn, "n": number}, "nothing") is None
    assert kind_of(watch.before_call("planted", {"last": 1}, turn=first + 1 + limit)) == "stale"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(("x", "y")), st.booleans())))
def test_what_is_said_follows_from_what_was_told(calls: list[tuple[str, str, bool]]) -> None:
    """As in a replay: a second watch that is told the same says the same."""
    one, other = LoopWatch(), LoopWatch()
    for tool, answer, fails in calls:
        error = answer if fails else ""
        assert made(one, tool, {}, answer, error) == made(other, tool, {}, answer, error)
