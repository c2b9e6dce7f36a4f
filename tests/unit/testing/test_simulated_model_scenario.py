"""Scenarios: which reply a request gets, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from interlock.errors import InvalidInputError
from interlock.testing.simulated_model import (
    Misbehaviour,
    Reply,
    Request,
    Rule,
    Scenario,
    SimulatedModel,
    When,
    parse_scenario,
    read_scenario,
)
from tests.support.chat import answered, chat, client, says, with_results

PATH = "/v1/chat/completions"


def ask(scenario: Scenario, *bodies: Any, headers: dict[str, str] | None = None) -> list[Any]:
    """What a scenario answers in turn: a text, or the status and the error's code."""
    with SimulatedModel(scenario) as simulated, client(simulated.url) as http:
        return [said(http.post(PATH, json=body, headers=headers)) for body in bodies]


def said(response: httpx.Response) -> Any:
    """A text, or the status and code of an error."""
    if response.status_code == 200:
        return answered(response)["content"]
    return response.status_code, response.json()["error"]["code"]


AFTER_LOOK = chat("go", *with_results(("look", "found 7")))
BRIEF = {"model": "small", "messages": [says("Be brief.", "system"), says("hello")]}
OFFERING = chat(tools=[{"type": "function", "function": {"name": "pay"}}])
IN_PARTS = {
    "model": "small",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "in parts"}]}],
}


@pytest.mark.parametrize(
    ("when", "holds_for", "not_for"),
    [
        ({"model": "small"}, chat(), chat(model="large")),
        ({"turn": 1}, AFTER_LOOK, chat()),
        ({"turn": 0}, chat(), AFTER_LOOK),
        ({"user_contains": "refund"}, chat("a refund"), chat("a Refund")),
        ({"user_contains": "parts"}, IN_PARTS, chat("in one")),
        ({"user_matches": r"\bT-\d+$"}, chat("see T-17"), chat("see T-17!")),
        ({"instructions_contain": "brief"}, BRIEF, chat("brief")),
        ({"has_result_of": ["look"]}, AFTER_LOOK, chat()),
        ({"lacks_result_of": ["look"]}, chat(), AFTER_LOOK),
        ({"result_contains": "found"}, AFTER_LOOK, chat("found")),
        ({"offers": "pay"}, OFFERING, chat("pay")),
        ({"streaming": False}, chat(), None),
        ({"model": "small", "user_contains": "a"}, chat("a"), chat("a", model="large")),
    ],
    ids=str,
)
def test_a_rule_holds_when_all_that_it_states_is_so(
    when: dict[str, Any], holds_for: Any, not_for: Any
) -> None:
    rules = (
        Rule(when=When.model_validate(when), reply=Reply(text="holds")),
        Rule(reply=Reply(text="else")),
    )
    bodies = [body for body in (holds_for, not_for) if body]
    assert ask(Scenario(rules=rules), *bodies) == ["holds", "else"][: len(bodies)]


def test_a_rule_asks_for_headers_in_any_case() -> None:
    rule = Rule(when=When(headers={"X-Tenant": "a"}), reply=Reply(text="of a"))
    scenario = Scenario(rules=(rule,), turns=(Reply(text="else"),))
    assert ask(scenario, chat(), headers={"x-tenant": "a"}) == ["of a"]
    assert ask(scenario, chat(), headers={"x-tenant": "b"}) == ["else"]


def test_turns_follow_the_conversation_and_rules_go_first() -> None:
    scenario = Scenario(
        rules=(Rule(when=When(user_contains="rule"), reply=Reply(text="by rule")),),
        turns=(Reply(text="first"), Reply(text="second")),
    )
    bodies = (AFTER_LOOK, chat("go"), AFTER_LOOK, chat("a rule"))
    assert ask(scenario, *bodies) == ["second", "first", "second", "by rule"]


def test_counters_count_all_or_each_request() -> None:
    busy = Reply(misbehaviour=Misbehaviour(status=503))
    a, b = chat("a"), chat("b")
    for counted, ends in (("all", 2), ("each_request", 1)):
        rule = Rule.model_validate({"reply": busy, "times": ends, "counted": counted})
        answers = ask(Scenario(rules=(rule,), turns=(Reply(text="ok"),)), a, b, a, b)
        assert answers == [(503, "overloaded")] * 2 + ["ok"] * 2


def test_counters_begin_again_with_another_server_and_not_with_a_stop() -> None:
    rule = Rule(reply=Reply(text="once"), times=1)
    scenario = Scenario(rules=(rule,), turns=(Reply(text="later"),))
    assert ask(scenario, chat()) == ask(scenario, chat()) == ["once"]
    simulated = SimulatedModel(scenario)
    for expected in ("once", "later"):
        with simulated, client(simulated.url) as http:
            assert said(http.post(PATH, json=chat())) == expected


def test_what_the_scenario_does_not_foresee_is_refused() -> None:
    def broken(request: Request) -> Reply:
        raise KeyError(request.user_text)

    assert ask(Scenario(turns=(Reply(text="x"),)), AFTER_LOOK) == [(400, "invalid_input")]

    def wrong(request: Request) -> Any:
        return request.user_text

    for respond in (broken, wrong):
        assert ask(Scenario.of(respond), chat()) == [(400, "invalid_input")]
    only_small = Scenario(turns=(Reply(text="x"),), models=("small",))
    assert ask(only_small, chat(), chat(model="other")) == ["x", (404, "model_not_found")]


CALLS = with_results(("look", "7"), ("look", "8"))
SAME_ID = [{**CALLS[0], "tool_calls": [CALLS[0]["tool_calls"][0]] * 2}, CALLS[1]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"model": "small"}, "messages"),
        ({"model": "small", "messages": []}, "'messages' is empty"),
        ({"model": "", "messages": [says("x")]}, "model"),
        (chat(n=2), "n:"),
        (chat(tools=[{"type": "function", "function": {"name": "no name"}}]), "tools.0"),
        (chat(response_format={"type": "json_schema"}), "response_format.json_schema"),
        (chat("x", *CALLS[:2]), "messages[3]: the tool calls c1 before it have no answer"),
        (chat("x", CALLS[0], says("and?")), "messages[2]: the tool calls c0, c1"),
        (chat("x", CALLS[1]), "messages[1]: it answers 'c0', and no open call has it"),
        (chat("x", *CALLS, CALLS[1]), "messages[4]: it answers 'c0'"),
        (chat("x", *SAME_ID), "messages[1]: two of its tool calls have the same id"),
        (chat("x", {**CALLS[0], "role": "user"}), "messages[1]: a message of role 'user'"),
        ([], "Input should be"),
    ],
)
def test_a_request_that_the_protocol_forbids_is_refused(body: Any, message: str) -> None:
    with (
        SimulatedModel(Scenario(turns=(Reply(text="x"),))) as simulated,
        client(simulated.url) as http,
    ):
        response = http.post(PATH, json=body)
        assert response.status_code == 400
        assert message in response.json()["error"]["message"]
        (entry,) = simulated.ledger.entries()
        assert (entry.status, entry.answered, entry.outcome) == (400, False, "sent")


def test_what_is_no_json_is_refused_and_entered() -> None:
    scenario = Scenario(turns=(Reply(text="x"),))
    with SimulatedModel(scenario) as simulated, client(simulated.url) as http:
        assert http.post(PATH, content=b"{no").status_code == 400
        assert http.get(PATH).status_code == 405
        assert http.get("/v1/nothing").json()["error"]["type"] == "invalid_request_error"
        assert [entry.model for entry in simulated.ledger.entries()] == [""]


# Files.


def test_a_file_says_the_same_as_python(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(
        dedent(
            """\
            models: [small, large]
            obeying: true
            rules:
              - name: busy
                when: {model: large, user_matches: "^T-[0-9]+"}
                times: 2
                counted: each_request
                reply:
                  misbehaviour: {status: 429, retry_after_seconds: 3, retry_after_as: date}
              - loop:
                  - tool_calls: [{name: look, arguments: {id: 7, deep: {a: [null, 1.5, no]}}}]
                  - output: {a: 1}
                    usage: {prompt_tokens: 5, completion_tokens: 6}
            turns:
              - text: |
                  two
                  lines
            """
        )
    )
    read = read_scenario(file)
    assert read.rules[0] == Rule(
        name="busy",
        when=When(model="large", user_matches="^T-[0-9]+"),
        times=2,
        counted="each_request",
        reply=Reply(
            misbehaviour=Misbehaviour(status=429, retry_after_seconds=3, retry_after_as="date")
        ),
    )
    (call,) = read.rules[1].loop[0].tool_calls
    assert call.arguments == {"id": 7, "deep": {"a": [None, 1.5, "no"]}}
    assert read.turns == (Reply(text="two\nlines\n"),)
    assert (read.models, read.obeying) == (("small", "large"), True)


@pytest.mark.parametrize(
    ("text", "line", "field", "problem"),
    [
        ("", 1, "(whole)", "valid dictionary"),
        ("turns: []", 1, "(whole)", "rules or turns"),
        ("turns:\n- {text: a}\nrules: [", 3, "(whole)", "no YAML"),
        ("turns:\n- text: a\n  text: b", 3, "(whole)", "duplicate key"),
        ("turns:\n- text: a\n- txt: b", 3, "turns.1.txt", "Extra inputs"),
        ("turns:\n- text: a\n\n- text: [1]", 4, "turns.1.text", "valid string"),
        ("turns:\n- {}", 2, "turns.0", "a reply needs"),
        ("turns:\n- tool_calls:\n  - arguments: {}", 3, "turns.0.tool_calls.0.name", "required"),
        (
            "turns:\n- text: a\n  misbehaviour:\n    status: 200",
            4,
            "turns.0.misbehaviour.status",
            "greater than or equal to 400",
        ),
        (
            "turns:\n- text: a\n  misbehaviour: {hangs: true, status: 500}",
            3,
            "turns.0.misbehaviour",
            "status and hangs exclude each other",
        ),
        (
            "rules:\n- when:\n    user_matches: '['\n  reply: {text: a}",
            3,
            "rules.0.when.user_matches",
            "not a regular expression",
        ),
        ("rules:\n- when: {turn: 0}", 2, "rules.0", "exactly one of"),
        ("rules:\n- respond: 7", 2, "rules.0.respond", "callable"),
        ("rules:\n- reply: {text: a}\n  counted: each_request", 2, "rules.0", "needs times"),
    ],
)
def test_an_error_names_the_line_and_the_field(
    text: str, line: int, field: str, problem: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_scenario(text, "s.yaml")
    (found,) = caught.value.fields["problems"]
    assert (found["line"], found["field"]) == (line, field)
    assert problem in found["problem"]
    assert str(caught.value).startswith(f"s.yaml: line {line}, {field}: ")


def test_a_date_is_no_json_value_and_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"line 2, turns\.0\.output"):
        parse_scenario("turns:\n- output: {day: 2026-01-01}")
    with pytest.raises(InvalidInputError, match=r"no\.yaml cannot be read"):
        read_scenario(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    "wrong",
    [{"retry_after_seconds": 1}, {"latency_seconds": -1}, {"hangs": True, "cut_after_chunks": 0}],
    ids=str,
)
def test_misbehaviours_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Misbehaviour.model_validate(wrong)
