"""What each kind of event does to the projections."""

from __future__ import annotations

import pytest

from interlock.journal.event import Draft
from interlock.journal.guard import Commit
from interlock.journal.rows import BudgetRow, EffectRow, InboxRow, QueueGroup, RunRow
from interlock.journal.store import Store
from tests.conformance.backend import START_US, OwnClock
from tests.conformance.commits import (
    assert_sound,
    claimed,
    commit,
    event,
    queued,
    sent,
    write,
)

FIRST = RunRow(
    id="r1",
    agent="triage",
    tenant="default",
    state="queued",
    outcome="",
    priority=0,
    created_at_us=START_US,
    updated_at_us=START_US,
    start_after_us=0,
    deadline_at_us=None,
    wake_at_us=None,
    parent="",
    parent_key="",
    close_policy="",
    generation=1,
    generation_seq=1,
    claims=0,
    claim_seq=0,
    worker="",
    code_version="",
    reason="",
    waits=[],
    input_position=1,
    result_position=None,
)


def row_of(store: Store, run: str = "r1") -> RunRow:
    row = store.run(run)
    assert row is not None
    assert_sound(store)
    return row


@pytest.fixture
def run(store: Store, clock: OwnClock) -> Store:
    """A store with the queued run r1, one second later."""
    write(store, queued("r1"))
    clock.pass_seconds(1)
    return store


LATER = START_US + 1_000_000


def test_run_queued(store: Store) -> None:
    write(store, queued("r1"))
    assert row_of(store) == FIRST
    full = {
        "tenant": "acme",
        "priority": -3,
        "start_after_us": 5,
        "deadline_at_us": 9,
        "parent": "r1",
        "parent_key": "/1/sub#1",
        "close_policy": "cancel",
        "code_version": "v1",
        "seed": 77,
    }
    write(store, queued("r2", **full))
    del full["seed"]
    assert row_of(store, "r2") == FIRST._replace(**full, id="r2", wake_at_us=9, input_position=2)
    assert store.run("nobody") is None


def test_run_claimed(run: Store) -> None:
    write(run, claimed("r1", claim=3, worker="w9"))
    assert row_of(run) == FIRST._replace(
        state="running", worker="w9", claims=3, claim_seq=2, updated_at_us=LATER
    )


def test_run_suspended_and_claimed_again(run: Store) -> None:
    write(run, claimed("r1"))
    waits = [{"key": "/1/go#1", "kind": "signal", "what": "go", "since_us": 1}]
    suspended = event("run_suspended", wake_at_us=99, mail_position=0, waits=waits)
    write(run, commit("r1", suspended, epoch=1))
    row = row_of(run)
    assert (row.state, row.wake_at_us, row.waits, row.worker) == ("waiting", 99, waits, "")
    write(run, claimed("r1", epoch=1, claim=1))
    row = row_of(run)
    assert (row.state, row.wake_at_us, row.waits, row.worker) == ("running", None, [], "w1")


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_the_end_of_a_run(run: Store, state: str) -> None:
    write(run, claimed("r1"))
    write(run, commit("r1", event("outcome_set", outcome="escalated"), epoch=1))
    write(run, commit("r1", event("task_opened", task="t1", kind="question"), epoch=1))
    end = event(f"run_{state}", outcome="", reason="why", body=b'"result"')
    write(run, commit("r1", end, epoch=1))
    row = row_of(run)
    assert (row.state, row.outcome, row.reason, row.worker) == (state, "escalated", "why", "")
    assert (row.wake_at_us, row.waits) == (None, [])
    assert row.result_position is not None
    entry = run.entry(row.result_position)
    assert entry is not None
    assert entry.body == b'"result"'
    task = run.inbox_task("t1")
    assert task is not None
    assert task.state == "withdrawn"


def test_an_end_can_name_its_outcome(run: Store) -> None:
    write(run, commit("r1", event("outcome_set", outcome="escalated"), epoch=0))
    assert row_of(run).outcome == "escalated"
    write(run, commit("r1", event("run_completed", outcome="resolved"), epoch=0))
    assert row_of(run).outcome == "resolved"


def test_run_parked_and_retried(run: Store) -> None:
    write(run, claimed("r1", claim=5))
    write(run, commit("r1", event("run_parked", reason="mismatch", body=b"{}"), epoch=1))
    row = row_of(run)
    assert (row.state, row.reason, row.worker, row.wake_at_us) == ("parked", "mismatch", "", None)
    assert row.result_position == 3
    write(run, sent("r1", "m1", "retry"))
    assert row_of(run).wake_at_us == 0
    write(run, commit("r1", event("run_retried", by="ada", takes="m1"), epoch=1))
    row = row_of(run)
    assert (row.state, row.reason, row.claims, row.start_after_us) == ("queued", "", 0, LATER)
    assert row.wake_at_us is None
    assert run.mail("r1") == []


def test_a_parked_run_wakes_at_its_deadline_or_to_be_cancelled(run: Store) -> None:
    deadline = {"deadline_at_us": LATER + 5}
    for name, told in (("late", ""), ("cancelled", "cancel"), ("signalled", "signal")):
        write(run, queued(name, **deadline))
        write(run, claimed(name))
        if told:
            write(run, sent(name, f"m-{name}", told))
        write(run, commit(name, event("run_parked", reason="mismatch"), epoch=1))
    assert row_of(run, "late").wake_at_us == LATER + 5
    assert row_of(run, "cancelled").wake_at_us == 0
    assert row_of(run, "signalled").wake_at_us == LATER + 5
    assert [row.id for row in run.due(LATER, 9)] == ["cancelled"]


def test_run_released(run: Store) -> None:
    write(run, claimed("r1", claim=2))
    write(run, commit("r1", event("run_released"), epoch=1))
    row = row_of(run)
    assert (row.state, row.worker, row.claims, row.start_after_us) == ("queued", "", 0, LATER)
    assert [waiting.id for waiting in run.queued(QueueGroup(0, "default", "triage"), LATER, 9)]


def test_run_continued(run: Store) -> None:
    write(run, claimed("r1", claim=2))
    write(run, commit("r1", event("task_opened", task="t1", kind="question"), epoch=1))
    write(run, commit("r1", event("run_continued", generation=2, body=b'{"n": 2}'), epoch=1))
    row = row_of(run)
    assert (row.state, row.generation, row.generation_seq, row.input_position) == (
        "queued",
        2,
        4,
        4,
    )
    assert (row.claims, row.start_after_us, row.worker) == (0, LATER, "")
    task = run.inbox_task("t1")
    assert task is not None
    assert task.state == "withdrawn"


WAKING = {
    "queued": {"cancel", "retry"},
    "running": set(),
    "waiting": {"signal", "decision", "resolution", "child", "budget_raised", "cancel", "retry"},
    "parked": {"cancel", "retry"},
    "completed": set(),
}


@pytest.mark.parametrize("kind", sorted(WAKING["waiting"]))
@pytest.mark.parametrize("state", WAKING)
def test_mail_wakes_a_run_that_nobody_executes(run: Store, state: str, kind: str) -> None:
    if state != "queued":
        write(run, claimed("r1"))
    last = {"waiting": "run_suspended", "parked": "run_parked", "completed": "run_completed"}
    if state in last:
        write(run, commit("r1", event(last[state]), epoch=1))
    write(run, sent("r1", "m1", kind))
    woken = kind in WAKING[state]
    assert row_of(run).wake_at_us == (0 if woken else None)
    assert [row.id for row in run.due(1, 10)] == (["r1"] if woken else [])


INTENT = Draft(
    "effect_intended",
    "/1/reply#1",
    {"effect_key": "e1", "tool": "reply", "tool_version": "2", "recovery": "lookup"},
    b'{"to": 1}',
)
INTENDED = EffectRow(
    effect_key="e1",
    run="r1",
    key="/1/reply#1",
    tool="reply",
    tool_version="2",
    recovery="lookup",
    state="intended",
    attempts=1,
    reason="",
    intended_at_us=LATER,
    settled_at_us=None,
    position=2,
    result_position=None,
)


def effect_of(store: Store) -> EffectRow:
    row = store.effect("e1")
    assert row is not None
    assert_sound(store)
    return row


def test_effect_intended_and_intended_again(run: Store) -> None:
    assert run.effect("e1") is None
    write(run, commit("r1", INTENT, epoch=0))
    assert effect_of(run) == INTENDED
    write(run, commit("r1", event("effect_unknown", effect_key="e1", reason="timeout"), epoch=0))
    assert effect_of(run) == INTENDED._replace(state="unknown", reason="timeout")
    write(run, commit("r1", INTENT, epoch=0))
    assert effect_of(run) == INTENDED._replace(attempts=2)


@pytest.mark.parametrize(
    ("settled", "expected"),
    [
        (
            event("effect_completed", effect_key="e1", body=b"1"),
            {"state": "completed", "settled_at_us": LATER, "result_position": 3},
        ),
        (
            event("effect_failed", effect_key="e1", reason="refused"),
            {"state": "failed", "reason": "refused", "settled_at_us": LATER},
        ),
        (event("effect_failed", effect_key="e1"), {"state": "failed", "settled_at_us": LATER}),
        (event("effect_unknown", effect_key="e1", reason="r"), {"state": "unknown", "reason": "r"}),
        (
            event("effect_attempt_failed", effect_key="e1", reason="r", maybe_made=1),
            {"state": "unknown", "reason": "r"},
        ),
        (
            event("effect_attempt_failed", effect_key="e1", reason="r"),
            {"state": "failed", "reason": "r"},
        ),
        (
            event("effect_resolved", effect_key="e1", verdict="happened", by="ada"),
            {"state": "completed", "settled_at_us": LATER, "result_position": 3},
        ),
        (
            event("effect_resolved", effect_key="e1", verdict="not_happened", by="ada"),
            {"state": "failed", "reason": "not_happened", "settled_at_us": LATER},
        ),
        (
            event("effect_resolved", effect_key="e1", verdict="given_up", by="ada"),
            {"state": "failed", "reason": "given_up", "settled_at_us": LATER},
        ),
        (event("effect_looked_up", effect_key="e1", verdict="happened"), {}),
    ],
)
def test_an_effect_settles(run: Store, settled: Draft, expected: dict[str, object]) -> None:
    write(run, commit("r1", INTENT, epoch=0))
    write(run, commit("r1", settled, epoch=0))
    assert effect_of(run) == INTENDED._replace(**expected)


OPENED = event("task_opened", "/1/ask#1", task="t1", kind="question", role="boss", due_at_us=7)
OPEN = InboxRow(
    id="t1",
    run="r1",
    key="/1/ask#1",
    kind="question",
    role="boss",
    state="open",
    opened_at_us=LATER,
    due_at_us=7,
    decided_by="",
    decided_at_us=None,
    position=2,
    decision_position=None,
)


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        (None, {}),
        (commit("r1", event("task_expired", task="t1")), {"state": "expired"}),
        (commit("r1", event("task_withdrawn", task="t1")), {"state": "withdrawn"}),
        (
            sent("r1", "d1", "decision", task="t1", by="ada"),
            {
                "state": "decided",
                "decided_by": "ada",
                "decided_at_us": LATER,
                "decision_position": 3,
            },
        ),
    ],
)
def test_a_task(run: Store, then: Commit | None, expected: dict[str, object]) -> None:
    write(run, commit("r1", OPENED))
    if then is not None:
        write(run, then)
    assert run.inbox_task("t1") == OPEN._replace(**expected)
    if expected:
        for late in ("task_expired", "task_withdrawn"):
            write(run, commit("r1", event(late, task="t1")))
        write(run, sent("r1", "d2", "decision", task="t1", by="bob"))
        assert run.inbox_task("t1") == OPEN._replace(**expected)
    assert_sound(run)


def test_mail_sent(run: Store) -> None:
    write(run, sent("r1", "m1", "signal", name="go", by="ada"))
    (mail,) = run.mail("r1")
    assert mail._replace(header={}) == mail._replace(
        position=2,
        message_id="m1",
        run="r1",
        kind="signal",
        name="go",
        header={},
        body=b"1",
        at_us=LATER,
    )
    assert mail.header == {"run": "r1", "kind": "signal", "name": "go", "by": "ada"}


def budget_of(store: Store) -> BudgetRow:
    row = store.budget("a")
    assert row is not None
    assert_sound(store)
    return row


def test_a_budget_is_set_raised_held_and_spent(store: Store) -> None:
    assert store.budget("a") is None
    write(store, commit("budget/a", event("budget_set", account="a", limit=100)))
    assert budget_of(store) == BudgetRow("a", limit=100, held=0, spent=0)
    for _ in range(2):
        write(store, commit("budget/a", event("budget_raised", account="a", amount=20)))
    assert budget_of(store) == BudgetRow("a", limit=140, held=0, spent=0)
    for hold, amount in (("h1", 60), ("h2", 80)):
        write(store, commit("r", event("budget_reserved", account="a", hold=hold, amount=amount)))
    assert (budget_of(store).held, budget_of(store).left()) == (140, 0)
    write(store, commit("r", event("budget_settled", hold="h1", amount=10)))
    assert budget_of(store) == BudgetRow("a", limit=140, held=80, spent=10)
    write(store, commit("r", event("budget_settled", hold="h2", amount=200)))
    assert budget_of(store).left() == -70
    write(store, commit("budget/a", event("budget_set", account="a", limit=5)))
    assert budget_of(store) == BudgetRow("a", limit=5, held=0, spent=210)


def test_a_raise_ends_at_the_largest_integer(store: Store) -> None:
    largest = 2**63 - 1
    write(
        store,
        commit("budget/a", event("budget_set", account="a", limit=5)),
        commit("budget/a", event("budget_raised", account="a", amount=largest)),
        commit("budget/a", event("budget_raised", account="a", amount=1)),
    )
    assert budget_of(store).limit == largest


def test_nothing_counts_on_an_account_that_was_never_set(store: Store) -> None:
    write(store, commit("budget/a", event("budget_raised", account="a", amount=20)))
    write(store, commit("r", event("budget_reserved", account="a", hold="h1", amount=60)))
    assert store.budgets() == []
    write(store, commit("budget/a", event("budget_set", account="a", limit=100)))
    write(store, commit("r", event("budget_settled", hold="h1", amount=60)))
    assert budget_of(store) == BudgetRow("a", limit=100, held=0, spent=0)


def test_an_event_of_another_kind_changes_no_projection(run: Store) -> None:
    before = row_of(run)
    for kind in ("step_completed", "timer_fired", "child_started", "anything_else"):
        write(run, commit("r1", event(kind, "k", agent="x", state="failed", body=b"1"), epoch=0))
    assert row_of(run) == before
    assert run.effects() == []
    assert run.inbox(("open", "decided", "expired", "withdrawn")) == []
