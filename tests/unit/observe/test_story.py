"""Every event has its sentence, and shows a payload only when asked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.journal.event import NO_BODY, NO_HASH, Entry, Event
from interlock.journal.projections import PROJECTIONS
from interlock.journal.rows import Mail
from interlock.observe.operation_key import operation_name
from interlock.observe.scene import LONGEST_EXCERPT
from interlock.observe.story import is_told, tell, tell_unread
from tests.support.serving import ROOT

NOON_US = 1_777_636_800_000_000
FAILURE = {"types": ["builtins.ValueError", "builtins.Exception"], "message": "no such card"}
WAIT = {"key": "/wait:go#1", "kind": "signal", "what": "signal 'go'"}
MODEL = {"model": "openai:small", "provider": "openai", "attempt": 1, "digest": "d"}
EFFECT = {"effect_key": "effect_1", "tool": "pay", "recovery": "key"}


def answered(*parts: dict[str, Any]) -> dict[str, Any]:
    """What is recorded with a model's answer."""
    return {"prefix": 0, "said": [], "response": {"parts": list(parts), "kind": "response"}}


# kind, key, header, body, what is told (with bodies)
TOLD: list[tuple[str, str, dict[str, Any], Any, str]] = [
    (
        "run_queued",
        "",
        {"agent": "triage", "tenant": "acme", "priority": 3, "parent": "run_0",
         "deadline_at_us": NOON_US},
        {"text": "hi"},
        ("Queued for agent 'triage', tenant 'acme', priority 3, as a child of run run_0, to be "
        "finished by 2026-05-01 12:00:00 UTC. Input: {\"text\": \"hi\"}."),
    ),
    ("run_claimed", "", {"worker": "w", "claim": 1}, None, "Worker 'w' took the run up."),
    (
        "run_claimed", "", {"worker": "w", "claim": 3}, None,
        "Worker 'w' took the run up (claim 3 without getting any further).",
    ),
    (
        "run_suspended", "", {"waits": [WAIT], "wake_at_us": NOON_US}, None,
        "Rests, waiting for signal 'go'; wakes at 2026-05-01 12:00:00 UTC at the latest.",
    ),
    (
        "run_completed", "", {"outcome": "resolved"}, 5,
        "Completed with outcome 'resolved'. Result: 5.",
    ),
    (
        "run_failed", "", {"reason": "ValueError"}, FAILURE,
        "Failed because of 'ValueError': ValueError: no such card.",
    ),
    (
        "run_failed", "", {"reason": "invalid_output"}, {**FAILURE, "value": "x"},
        "Failed because of 'invalid_output': ValueError: no such card. The value was: \"x\".",
    ),
    ("run_cancelled", "", {"reason": "deadline"}, None, "Cancelled: deadline."),
    ("run_cancelled", "", {"reason": "enough", "by": "ana"}, None, "Cancelled by ana: enough."),
    (
        "run_parked", "", {"reason": "replay_mismatch"}, FAILURE,
        "Parked for an operator because of 'replay_mismatch': ValueError: no such card",
    ),
    ("run_retried", "", {"by": "ana"}, None, "ana let the parked run go on."),
    ("run_released", "", {}, None, "The executor let go of the run because it was shutting down."),
    ("run_continued", "", {"generation": 2}, 7, "Continued as new, generation 2. Input: 7."),
    ("outcome_set", "", {"outcome": "refused"}, None, "Its outcome is 'refused'."),
    ("state_changed", "", {}, {"n": 1}, 'Stored its state. State: {"n": 1}.'),
    (
        "cancel_requested", "", {"reason": "enough", "by": "ana"}, None,
        "ana asked to cancel it: enough.",
    ),
    (
        "cancel_requested", "", {"reason": "deadline", "by": ""}, None,
        "Its deadline passed, so its code is being cancelled.",
    ),
    (
        "step_completed", "/1/fetch#2", {}, {"args": ["a"], "result": 5},
        "Step 'fetch' completed. Given: [\"a\"]. Answer: 5.",
    ),
    (
        "step_attempt_failed", "/fetch#1", {"attempt": 2, "retry_at_us": NOON_US}, FAILURE,
        ("Attempt 2 of step 'fetch' failed: ValueError: no such card; the next is at "
        "2026-05-01 12:00:00 UTC."),
    ),
    (
        "step_failed", "/fetch#1", {"attempts": 3}, {"args": [], "result": FAILURE},
        "Step 'fetch' failed for good after 3 attempts: ValueError: no such card.",
    ),
    ("read_completed", "/get#1", {}, {"args": {}, "result": 1}, "Read 'get' completed. Answer: 1."),
    (
        "read_attempt_failed", "/get#1", {"attempt": 1}, FAILURE,
        "Attempt 1 of read 'get' failed: ValueError: no such card.",
    ),
    (
        "read_failed", "/get#1", {"attempts": 1}, {"args": {}, "result": FAILURE},
        "Read 'get' failed for good after 1 attempt: ValueError: no such card.",
    ),
    (
        "read_completed", "/1/degrees#1", {},
        {"args": {}, "result": {"result": 21, "kind": "tool_return"}},
        "Read 'degrees' completed. Answer: 21.",
    ),
    (
        "read_completed", "/2/plan:1:fetch:get#1", {}, {"args": {}, "result": 1},
        "Read 'get' (step 'fetch' of plan 1) completed. Answer: 1.",
    ),
    (
        "effect_unknown", "/2/plan:2:send:pay:all#1", EFFECT, FAILURE,
        ("Whether the call of tool 'pay:all' (step 'send' of plan 2) happened is unknown: "
        "ValueError: no such card."),
    ),
    (
        "effect_denied", "/pay#1", {"reason": "policy", "policies": ["never"]},
        {"types": [], "message": "policy 'never' forbids it"},
        "The call of tool 'pay' was not allowed: policy 'never' forbids it (policies: 'never').",
    ),
    (
        "effect_deduplicated", "/pay#2",
        {"tool": "pay", "first": "effect_1", "run": "run_1", "reason": "same_ask"}, "paid",
        ("The call of tool 'pay' is the same as effect effect_1, made in the same ask: it was not "
         'made again. Result: "paid".'),
    ),
    (
        "approval_given", "/pay#1", {"by": "ana"}, None,
        "ana approved it; another person has to approve it too.",
    ),
    (
        "approval_granted", "/pay#1",
        {"by": "carl", "acts_for": "ana", "approval": "a", "call_hash": "c"}, None,
        "carl approved this very call for ana.",
    ),
    (
        "call_edited", "/pay#1", {"by": "ana"}, {"cents": 5},
        'ana changed the call, which is judged anew. Arguments: {"cents": 5}.',
    ),
    (
        "vault_erased", "", {"by": "ana", "person": "cust-7", "reason": "asked for"}, None,
        "ana had the vault erase what it kept for person cust-7: asked for.",
    ),
    (
        "people_declared", "", {}, {"roles": {"billing-team": ["ana"]}, "delegations": []},
        "The executor began with other people: who holds which role, and who acts for whom.",
    ),
    (
        "plan_accepted", "/plan:1#1",
        {"plan": 1, "approved_by": "ana", "steps": [{"id": "fetch"}, {"id": "send"}]},
        {"goal": "Refund it.", "plan": {"steps": []}},
        ('Accepted plan 1: fetch, send, approved by ana. Goal: "Refund it.". Plan: '
        '{"steps": []}.'),
    ),
    (
        "plan_refused", "/plan:1#1", {"plan": 1, "attempt": 2, "problems": 1},
        {"problems": ["the plan has no steps."]},
        ('Refused proposal 2 for plan 1, which has 1 problem. Problems: ["the plan has no '
        'steps."].'),
    ),
    (
        "plan_step_failed", "/1/plan:1:send:pay#1", {"plan": 1, "step": "send"}, FAILURE,
        "Step 'send' of plan 1 could not be called: ValueError: no such card.",
    ),
    (
        "plan_failed", "/plan:1#2",
        {"plan": 1, "failed": ["send"], "skipped": ["report"], "next": "replan"},
        {"send": "no such card"},
        "Plan 1 failed at send; skipped: report. Another plan is made for the rest.",
    ),
    (
        "plan_failed", "/plan:1#2", {"plan": 1, "failed": ["send"], "next": "give_up"}, {},
        "Plan 1 failed at send. It is given up.",
    ),
    ("operation_cancelled", "/sleep#1", {}, None, "The code gave up waiting for 'sleep'."),
    (
        "effect_intended", "/pay#1", EFFECT, {"amount": 3},
        ("Wrote down that it is about to call tool 'pay' (effect effect_1, recovery 'key'). "
        "Arguments: {\"amount\": 3}."),
    ),
    (
        "effect_completed", "/pay#1", EFFECT, "ok",
        'The call of tool \'pay\' happened. Answer: "ok".',
    ),
    (
        "effect_completed", "/pay#1", EFFECT, {"result": "ok", "kind": "tool_return"},
        'The call of tool \'pay\' happened. Answer: "ok".',
    ),
    (
        "effect_completed", "/pay#1", {**EFFECT, "found": True}, "ok",
        'The call of tool \'pay\' happened (found by looking it up). Answer: "ok".',
    ),
    (
        "effect_failed", "/pay#1", EFFECT, FAILURE,
        "The call of tool 'pay' was certainly not made: ValueError: no such card.",
    ),
    (
        "effect_attempt_failed", "/pay#1", {**EFFECT, "retry_at_us": NOON_US}, FAILURE,
        ("The call of tool 'pay' was not made this time: ValueError: no such card; the next "
        "attempt is at 2026-05-01 12:00:00 UTC."),
    ),
    (
        "effect_attempt_failed", "/pay#1", {**EFFECT, "final": True}, FAILURE,
        ("The call of tool 'pay' was not made this time: ValueError: no such card; another "
        "attempt would end the same, and an earlier one may have been made."),
    ),
    (
        "effect_unknown", "/pay#1", EFFECT, FAILURE,
        "Whether the call of tool 'pay' happened is unknown: ValueError: no such card.",
    ),
    (
        "effect_looked_up", "/pay#1", {**EFFECT, "verdict": "cannot_tell"}, {"reason": ""},
        "Asked the system whether the call of tool 'pay' happened: it cannot tell.",
    ),
    (
        "effect_resolved", "/pay#1", {**EFFECT, "verdict": "given_up", "by": "ana"}, {},
        "ana decided about the call of tool 'pay': give up on it.",
    ),
    (
        "resolution_refused", "/pay#1", {**EFFECT, "by": "ana"}, {"problem": "it does not fit"},
        "ana's word about tool 'pay' could not be used: it does not fit",
    ),
    (
        "task_opened", "/escalate#1", {"task": "task_1", "role": "boss", "due_at_us": NOON_US},
        {"question": "may I?"},
        ("Asked a person (boss), inbox task task_1, to be answered by 2026-05-01 12:00:00 UTC. "
        "Question: \"may I?\"."),
    ),
    (
        "task_decided", "/escalate#1", {"by": "ana"}, {"choice": "yes", "note": "fine"},
        "ana decided: 'yes'. Note: \"fine\".",
    ),
    (
        "task_expired", "/escalate#1", {"task": "task_1"}, None,
        "Nobody answered inbox task task_1 in time.",
    ),
    (
        "task_withdrawn", "/escalate#1", {"task": "task_1"}, None,
        "Inbox task task_1 needs no answer any more.",
    ),
    ("timer_fired", "/sleep#1", {}, None, "The time it waited for ('sleep') came."),
    ("timer_fired", "/1/timer#1", {}, None, "A time limit of its own code ended."),
    ("signal_received", "/wait:go#1", {"signal": "go"}, 1, "Took signal 'go'. Payload: 1."),
    ("wait_timed_out", "/wait:go#1", {}, None, "Signal 'go' did not come in time."),
    (
        "child_started", "/start:sub#1", {"child": "run_2", "agent": "sub"}, None,
        "Started child run run_2 of agent 'sub'.",
    ),
    (
        "child_completed", "/result:sub#1", {"child": "run_2"}, {"state": "completed", "result": 1},
        "Its child run run_2 is completed. Result: 1.",
    ),
    (
        "model_requested", "/faq.model#1",
        {**MODEL, "holds": [["h1", "run/run_1/usd", 50_000], ["h2", "run/run_1/model_calls", 1],
                          ["h3", "agent/faq/2026-05-01/tokens", 4000]]},
        None,
        ("Is about to ask model 'openai:small'; held for it: $0.05 and 1 model call of run/run_1; "
        "4,000 tokens of agent/faq/2026-05-01."),
    ),
    (
        "model_answered", "/faq.model#1",
        {**MODEL, "input_tokens": 1200, "output_tokens": 20, "cost_micro_usd": 1500},
        answered({"part_kind": "thinking", "content": "hm"},
                 {"part_kind": "text", "content": "At nine."}),
        ("Model 'openai:small' answered: 1,200 tokens in, 20 out, $0.0015. Text: "
        '"At nine.".'),
    ),
    (
        "model_answered", "/faq.model#1",
        {**MODEL, "input_tokens": 7, "output_tokens": 2, "cost_micro_usd": None},
        answered({"part_kind": "tool-call", "tool_name": "search", "args": {"q": "é"}},
                 {"part_kind": "tool-call", "tool_name": "send", "args": '{"to": 1}'}),
        ("Model 'openai:small' answered: 7 tokens in, 2 out, at a price nobody knows. Wants: "
        'search {"q": "é"}; send {"to": 1}.'),
    ),
    (
        "model_attempt_failed", "/faq.model#1",
        {**MODEL, "attempt": 2, "transient": 1, "sent": 1, "retry_after_us": 30_000_000}, FAILURE,
        ("Attempt 2 of asking model 'openai:small' failed: ValueError: no such card; the provider "
        "asks to be left alone for 30 seconds."),
    ),
    (
        "model_attempt_failed", "/faq.model#1",
        {**MODEL, "transient": 1, "sent": 0, "retry_after_us": 0}, FAILURE,
        ("Attempt 1 of asking model 'openai:small' failed: ValueError: no such card, and nothing "
        "was sent; another attempt may succeed."),
    ),
    (
        "model_attempt_failed", "/faq.model#1", {**MODEL, "transient": 0, "sent": 1}, FAILURE,
        ("Attempt 1 of asking model 'openai:small' failed: ValueError: no such card; another "
        "attempt would end the same."),
    ),
    (
        "model_skipped", "/faq.model#1", {**MODEL, "reason": "its provider is failing"}, None,
        "Did not ask model 'openai:small': its provider is failing.",
    ),
    (
        "budget_refused", "/faq.model#1",
        {**MODEL, "account": "run/run_1/usd", "detail": "-10 is left and 50000 is needed"}, None,
        ("Budget 'run/run_1/usd' has too little left for asking model 'openai:small': -$0.00001 "
        "left and $0.05 needed. Nothing was sent."),
    ),
    (
        "budget_refused", "/hold#1",
        {"account": "run/run_1/tool_calls", "detail": "0 is left and 1 is needed"}, None,
        ("Budget 'run/run_1/tool_calls' has too little left for a call of a tool: 0 tool calls "
        "left and 1 tool call needed. Nothing was sent."),
    ),
    (
        "call_held", "/hold#1", {"holds": [["h", "run/run_1/seconds", 30_500]]}, None,
        "Held for the next call of a tool: 30.5 seconds of run/run_1.",
    ),
    (
        "call_settled", "/settle#1", {}, None,
        "Took what that call used from its budgets; the rest came back.",
    ),
    (
        "budget_topped_up", "/top_up#1",
        {"account": "run/run_1/usd", "amount": 500_000, "by": "ana"}, {},
        "ana raised budget 'run/run_1/usd' by $0.5.",
    ),
    (
        "budget_rechecked", "/budget#1", {"account": "run/run_1/usd", "task": "task_1"}, None,
        "Budget 'run/run_1/usd' covers the call by now: nobody needs to answer.",
    ),
    (
        "budget_waiters_told", "/top_up#1", {}, None,
        "Told the runs that wait for that budget.",
    ),
    (
        "budget_raised", "m", {"account": "run/run_1/tokens", "amount": 5, "by": ""}, None,
        "Somebody raised budget 'run/run_1/tokens' by 5 tokens.",
    ),
    (
        "budget_set", "", {"account": "tenant/acme/day", "limit": 5}, None,
        "Budget 'tenant/acme/day' was set to 5 units.",
    ),
    (
        "budget_reserved", "/faq.model#1", {"account": "run/run_1/usd", "amount": 5}, None,
        "Held $0.000005 of budget 'run/run_1/usd' for a call.",
    ),
    (
        "budget_settled", "/faq.model#1", {"account": "run/run_1/tokens", "amount": 5}, None,
        "The call took 5 tokens of budget 'run/run_1/tokens'.",
    ),
    (
        "conversation_read", "/conversation#1",
        {"conversation": "conversation/acme/chat%2F7", "seq": 0}, None,
        "Began conversation 'chat/7': nothing was said in it before.",
    ),
    (
        "conversation_read", "/conversation#1",
        {"conversation": "conversation/acme/chat", "seq": 2}, None,
        "Read conversation 'chat', in which 2 asks were answered before.",
    ),
    (
        "contract_recorded", "", {"agent": "triage"}, {"agent": "triage"},
        "Recorded a contract of agent 'triage', for the runs that begin under it.",
    ),
    (
        "conversation_summarised", "", {"run": "run_1"}, {"text": "It began.", "covers": 6},
        'Run run_1 had the first 6 messages summed up. Summary: "It began.".',
    ),
    (
        "conversation_extended", "/remember#1", {"conversation": "conversation/acme/chat"}, None,
        "Added what was said to conversation 'chat'.",
    ),
    (
        "messages_said", "", {"run": "run_1"}, [{"kind": "request"}],
        'Run run_1 added what was said. Messages: [{"kind": "request"}].',
    ),
    (
        "task_opened", "/ask#1", {"task": "task_1", "kind": "ask", "role": "boss"},
        {"question": "Go on?", "problem": "loop",
         "details": {"loop": "same_call", "calls": [
             {"number": 1, "tool": "search", "arguments": "{}", "outcome": "new answer"},
             {"number": 2, "tool": "search", "arguments": "{}", "outcome": "not made yet"}]}},
        ("Asked a person (boss) because no usable answer came, inbox task task_1. Question: \"Go "
        'on?". The calls: (1) search {}: new answer; (2) search {}: not made yet.'),
    ),
    (
        "task_opened", "/budget#1", {"task": "task_1", "kind": "budget", "due_at_us": NOON_US},
        {"question": "More?", "account": "run/run_1/usd"},
        ("Asked a person (anybody who may decide) because a budget is exhausted, inbox task "
        "task_1, to be answered by 2026-05-01 12:00:00 UTC. Question: \"More?\"."),
    ),
    (
        "task_decided", "/budget#1", {"by": "ana"}, {"choice": "top_up", "value": "0.5"},
        "ana decided: 'top_up'. Value: \"0.5\".",
    ),
    (
        "timer_fired", "/pause#1", {}, None,
        "The pause before the next attempt to ask a model is over.",
    ),
    ("something_new", "", {"amount": 5}, None, "Something new (amount 5)."),
]  # fmt: skip


def entry(
    kind: str, key: str, header: dict[str, Any], body: bytes | None, *, erased: bool = False
) -> Entry:
    """An event as the journal would answer it."""
    event = Event("run_1", 1, 1, 1, kind, 1, key, NOON_US, header, NO_BODY, NO_HASH)
    return Entry(event, body, erased)


def encoded(body: Any) -> bytes | None:
    """A body as bytes."""
    return None if body is None else json.dumps(body).encode()


@pytest.mark.parametrize(
    ("kind", "key", "header", "body", "told"), TOLD, ids=[f"{n}-{t[0]}" for n, t in enumerate(TOLD)]
)
def test_an_event_is_told(
    kind: str, key: str, header: dict[str, Any], body: Any, told: str
) -> None:
    assert tell(entry(kind, key, header, encoded(body)), bodies=True) == told


def test_every_kind_that_is_written_has_a_sentence_of_its_own() -> None:
    kinds = set(PROJECTIONS) - {"mail_sent", "bodies_erased"}
    source = ROOT / "src" / "interlock"
    for path in (*source.glob("orchestrator/*.py"), *source.glob("limits/*.py")):
        written = path.read_text(encoding="utf-8")
        kinds |= set(re.findall(r'(?:Draft|reserve)\(\s*"(\w+)"', written))
    kinds -= {"mail_sent"}
    known = {told[0] for told in TOLD}
    assert {kind for kind in kinds - known if not kind.startswith("approval_")} == set()
    assert {"model_requested", "call_held", "budget_set", "messages_said"} <= kinds


def test_what_keeps_the_books_of_a_budget_is_left_out_of_a_story() -> None:
    assert {told[0] for told in TOLD if not is_told(told[0])} == {
        "budget_reserved",
        "budget_settled",
    }


@pytest.mark.parametrize(
    ("kind", "key", "header", "body"),
    [
        ("run_queued", "", {"agent": "a"}, {"secret": 1}),
        ("run_completed", "", {}, {"secret": 1}),
        ("step_completed", "/f#1", {}, {"args": ["secret"], "result": "secret"}),
        ("effect_intended", "/f#1", EFFECT, {"secret": 1}),
        ("signal_received", "/wait:go#1", {"signal": "go"}, "secret"),
        ("task_opened", "/escalate#1", {"task": "t"}, {"question": "secret?"}),
        ("task_decided", "/escalate#1", {}, {"choice": "yes", "note": "secret"}),
        ("child_completed", "/result:sub#1", {"child": "c"}, {"result": "secret"}),
        (
            "model_answered",
            "/faq.model#1",
            MODEL,
            answered({"part_kind": "text", "content": "secret"}),
        ),
        (
            "model_answered",
            "/faq.model#1",
            MODEL,
            answered({"part_kind": "tool-call", "tool_name": "send", "args": {"to": "secret"}}),
        ),
        ("messages_said", "", {"run": "r"}, ["secret"]),
        (
            "task_opened",
            "/ask#1",
            {"task": "t", "kind": "ask"},
            {"details": {"calls": [{"tool": "secret"}]}},
        ),
        ("task_decided", "/ask#1", {}, {"choice": "answer", "value": "secret"}),
    ],
)
def test_no_payload_is_told_unless_asked(
    kind: str, key: str, header: dict[str, Any], body: Any
) -> None:
    written = entry(kind, key, header, encoded(body))
    assert "secret" not in tell(written)
    assert "secret" in tell(written, bodies=True)
    erased = entry(kind, key, header, None, erased=True)
    assert "secret" not in tell(erased, bodies=True)


def test_an_erased_payload_is_said_to_be_erased() -> None:
    erased = entry("run_completed", "", {}, None, erased=True)
    assert tell(erased, bodies=True) == "Completed. Result: erased."


def test_a_long_payload_is_cut_to_one_line_that_says_so() -> None:
    told = tell(entry("run_completed", "", {}, encoded("a\n" * 5000)), bodies=True)
    assert "\n" not in told
    assert len(told) < LONGEST_EXCERPT + 100
    assert "characters" in told


@given(
    st.sampled_from(sorted({told[0] for told in TOLD} | {"something_new"})),
    st.dictionaries(
        st.sampled_from(["agent", "by", "reason", "task", "verdict", "tool", "x"]),
        st.none() | st.text(max_size=20),
        max_size=5,
    ),
    st.none() | st.integers() | st.text(max_size=20) | st.lists(st.integers(), max_size=3)
    | st.dictionaries(st.sampled_from(["choice", "message", "result"]), st.text(max_size=9)),
    st.booleans(),
)  # fmt: skip
def test_no_event_is_too_odd_to_be_told(
    kind: str, header: dict[str, Any], body: Any, bodies: bool
) -> None:
    assert tell(entry(kind, "odd", header, encoded(body)), bodies=bodies)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("/reply#2", "reply"),
        ("/1/12/reply#2", "reply"),
        ("/wait:a/b#1", "wait:a/b"),
        ("/1/x#y#3", "x#y"),
        ("odd", "odd"),
        ("", ""),
    ],
)
def test_the_name_in_a_key(key: str, name: str) -> None:
    assert operation_name(key) == name


def test_an_unread_message_is_told() -> None:
    mail = Mail(5, "m", "run_1", "signal", "go", {"by": "ana"}, b"1", NOON_US)
    told = tell_unread(mail)
    assert told == "signal 'go' from ana, sent at 2026-05-01 12:00:00 UTC, is not taken yet."
