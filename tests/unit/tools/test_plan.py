"""A plan is checked before anything happens, and references are put in when their step is done."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from interlock.errors import InvalidInputError
from interlock.tools.plan import Plan, PlanStep, Reference, plan_problems, references, resolved
from interlock.tools.tool import Tool, declare_tool


class Item(BaseModel):
    name: str
    cents: int


def find(customer: str, limit: int = 10) -> list[Item]: ...


def pay(item: Item, amount: int, note: str = "") -> str: ...


def ping() -> None: ...


TOOLS: dict[str, Tool[..., Any]] = {
    "find": declare_tool(find, effect="read"),
    "pay": declare_tool(pay, effect="write", recovery="repeatable"),
    "ping": declare_tool(ping, effect="read"),
}


def step(id: str, tool: str = "ping", *after: str, **arguments: Any) -> PlanStep:
    return PlanStep(id=id, tool=tool, arguments=arguments, depends_on=after)


def result(id: str, path: str = "") -> dict[str, str]:
    return {"$result": id, "path": path} if path else {"$result": id}


def problems(*steps: PlanStep, max_steps: int = 20, **known: Any) -> list[str]:
    return plan_problems(Plan(steps=steps), TOOLS, max_steps=max_steps, known=known)


def test_a_good_plan_has_no_problems() -> None:
    found = step("found", "find", customer="ana")
    paid = step("paid", "pay", "found", item=result("found", "0"), amount=5)
    again = step(
        "again", "pay", "paid", item=result("found", "1"), amount=result("found", "1.cents")
    )
    assert problems(again, found, paid) == [], "the order in which steps are written is free"


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([], ["the plan has no steps."]),
        ([step("a"), step("a")], ["step id 'a' is used 2 times."]),
        (
            [step("a", "ping", "b"), step("b", "ping", "a")],
            ["steps depend on each other in a circle: a → b → a."],
        ),
        ([step("a", "ping", "a")], ["steps depend on each other in a circle: a → a."]),
        ([step("a", "ping", "x")], ["step 'a': it depends on 'x', which is no step."]),
        ([step("a", "rm")], ["step 'a': there is no tool 'rm'; there is find, pay, ping."]),
        ([step("a", "find")], ["step 'a': argument 'customer' of tool 'find': Field required."]),
        (
            [step("a", "find", customer="x", limit="many", most=1)],
            [
                (
                    "step 'a': argument 'limit' of tool 'find': Input should be a valid integer, "
                    "unable to parse string as an integer."
                ),
                "step 'a': argument 'most' of tool 'find': Extra inputs are not permitted.",
            ],
        ),
        (
            [step("a", "pay", item={"name": "x"}, amount=1)],
            ["step 'a': argument 'item.cents' of tool 'pay': Field required."],
        ),
        (
            [step("a", "find", customer=result("x"))],
            ["step 'a': it refers to the result of 'x', which is no step."],
        ),
        (
            [step("b"), step("a", "find", customer=result("b"))],
            ["step 'a': it refers to the result of 'b', which is not in its depends_on."],
        ),
        (
            [step("b"), step("a", "find", "b", customer={"$result": "b", "field": "x"})],
            [
                (
                    'step \'a\': a reference is {"$result": "step_id"} or {"$result": "step_id", '
                    "\"path\": \"a.b\"}, with texts and nothing beside; it has '$result', 'field'."
                )
            ],
        ),
        (
            [step("b"), step("a", "find", "b", customer="x", most=result("b"))],
            ["step 'a': argument 'most' of tool 'find': Extra inputs are not permitted."],
        ),
    ],
)
def test_problems_are_named(steps: list[PlanStep], told: list[str]) -> None:
    assert problems(*steps) == told


def test_too_many_steps_are_a_problem() -> None:
    assert problems(step("a"), step("b"), max_steps=1) == [
        "the plan has 2 steps; at most 1 are allowed."
    ]


def test_an_argument_with_a_reference_within_is_checked_when_it_is_put_in() -> None:
    a = step("a", "find", customer="x")
    b = step("b", "pay", "a", item={"name": result("a", "0.name"), "cents": "?"}, amount=1)
    assert problems(a, b) == []


def test_results_of_an_earlier_plan_are_known_and_their_ids_taken() -> None:
    assert problems(step("b", "find", customer=result("a")), a="ana") == []
    assert problems(step("b", "find", "a", customer=result("a")), a="ana") == []
    assert problems(step("a"), a="ana") == [
        "step id 'a' is taken: that step is done. Choose another."
    ]


@pytest.mark.parametrize("id", ["", "1st", "a b", "a:b", "a/b", "x" * 41])
def test_an_id_is_a_short_name(id: str) -> None:
    with pytest.raises(ValidationError):
        PlanStep(id=id, tool="ping")


def test_a_plan_is_json_and_tells_a_model_its_form() -> None:
    plan = Plan(steps=(step("a", "find", customer=result("b", "x")),))
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert "$result" in json.dumps(Plan.model_json_schema())


RESULTS = {"a": {"items": [{"name": "x"}, {"name": "y"}], "n": 1, "0": "zero"}, "b": None}


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (result("a", "n"), 1),
        (result("a", "0"), "zero"),
        (result("a", "items.1.name"), "y"),
        (result("b"), None),
        ({"x": [result("a", "n"), 2], "y": "a"}, {"x": [1, 2], "y": "a"}),
        ("$result", "$result"),
    ],
)
def test_references_are_replaced(value: Any, becomes: Any) -> None:
    assert resolved(value, RESULTS) == becomes


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (result("c"), "step 'c' has no result"),
        (result("a", "items.2"), "has no 'items.2': there is no '2' in items"),
        (result("a", "items.x"), "there is no 'x' in items"),
        (result("a", "n.x"), "there is no 'x' in n"),
        (result("b", "x"), "there is no 'x' in the result"),
        ({"$result": 1}, "a reference is"),
        ({"$result": "a", "path": 0}, "a reference is"),
    ],
)
def test_what_a_reference_does_not_reach_is_said(value: Any, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        resolved(value, RESULTS)


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_a_value_without_references_stays_as_it_is(value: Any) -> None:
    assert list(references(value)) == []
    assert resolved(value, {}) == value


@given(json_values, json_values)
def test_what_is_put_in_is_not_looked_through_again(value: Any, put_in: Any) -> None:
    """A result that looks like a reference is data: who writes results decides nothing."""
    evil = {"$result": "a", "deep": put_in}
    given_value = {"x": value, "y": result("a")}
    assert list(references(given_value)) == [Reference("a")]
    assert resolved(given_value, {"a": evil}) == {"x": value, "y": evil}


graphs = st.lists(
    st.tuples(st.integers(0, 6), st.lists(st.integers(0, 6), max_size=3)), min_size=1, max_size=7
)


@given(graphs)
def test_a_plan_without_problems_can_be_carried_out(graph: list[tuple[int, list[int]]]) -> None:
    """Its steps come to an end one after the other, each with all that it needs."""
    steps = [step(f"s{id}", "ping", *(f"s{n}" for n in after)) for id, after in graph]
    told = problems(*steps)
    done: set[str] = set()
    while ready := [s for s in steps if s.id not in done and done.issuperset(s.depends_on)]:
        done.update(s.id for s in ready)
    unique = len({s.id for s in steps}) == len(steps)
    assert (told == []) == (unique and len(done) == len(steps))
