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
from interlock.observe.story import LONGEST_EXCERPT, tell, tell_unread
from tests.support.serving import ROOT

NOON_US = 1_777_636_800_000_000
FAILURE = {"types": ["builtins.ValueError", "builtins.Exception"], "message": "no such card"}
WAIT = {"key": "/wait:go#1", "kind": "signal", "what": "signal 'go'"}
EFFECT = {"effect_key": "effect_1", "tool": "pay", "recovery": "key"}

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
        "read_completed", "/2/plan:1:fetch:get#1", {}, {"args": {}, "result": 1},
        "Read 'get' (step 'fetch' of plan 1) completed. Answer: 1.",
    ),
    (
        "effect_unknown", "/2/plan:2:send:pay:all#1", EFFECT, FAILURE,
        ("Whether the call of tool 'pay:all' (step 'send' of plan 2) happened is unknown: "
        "ValueError: no such card."),
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
        "budget_reserved", "", {"account": "day", "amount": 5}, None,
        "Budget reserved (account 'day', amount 5).",
    ),
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
    for path in (ROOT / "src" / "interlock" / "orchestrator").glob("*.py"):
        kinds |= set(re.findall(r'Draft\(\s*"(\w+)"', path.read_text(encoding="utf-8")))
    kinds -= {"mail_sent"}
    known = {told[0] for told in TOLD}
    unknown = {kind for kind in kinds - known if not kind.startswith(("budget_", "approval_"))}
    assert unknown == set()


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
