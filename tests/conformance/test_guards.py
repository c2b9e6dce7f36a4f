"""Each guard, each of its refusals, and that a refusal writes nothing."""

from __future__ import annotations

from typing import get_args

import pytest

from interlock.journal.event import Draft
from interlock.journal.guard import (
    Append,
    Commit,
    Guard,
    HoldsBudget,
    NewMessage,
    NoMailSince,
    Refused,
    RunIn,
    StreamAbsent,
    TakesMail,
    TaskOpen,
    UniqueKey,
    UsesApproval,
)
from interlock.journal.rows import RunState
from interlock.journal.store import Store
from tests.conformance.backend import START_US, OwnClock
from tests.conformance.commits import (
    assert_sound,
    claimed,
    commit,
    event,
    queued,
    refusal,
    sent,
    write,
)

STATES: tuple[RunState, ...] = get_args(RunState)


def guarded(*guards: Guard) -> Commit:
    """A harmless commit under guards."""
    return commit("note", event("noted"), guards=guards)


def test_only_the_current_epoch_appends(store: Store) -> None:
    write(store, queued("r1"))
    write(store, claimed("r1", 0))
    stale = refusal(store, commit("r1", event(), epoch=0))
    assert (stale.reason, stale.subject) == ("stale_epoch", "r1")
    write(store, commit("r1", event(), epoch=1))
    assert refusal(store, claimed("r1", 0)).reason == "stale_epoch"
    write(store, claimed("r1", 1))
    assert refusal(store, commit("r1", event(), epoch=1)).reason == "stale_epoch"
    assert refusal(store, commit("r1", event(), epoch=9)).reason == "stale_epoch"
    assert [e.event.epoch for e in store.read("r1")] == [0, 1, 1, 2]
    assert_sound(store)


def test_an_owned_stream_refuses_who_names_no_epoch(store: Store) -> None:
    write(store, queued("r1"))
    write(store, claimed("r1"))
    assert refusal(store, commit("r1", event())).reason == "stale_epoch"


def test_an_absent_stream_has_epoch_zero_and_no_events(store: Store) -> None:
    assert refusal(store, commit("r1", event(), epoch=1)).reason == "stale_epoch"
    assert refusal(store, commit("r1", event(), after_seq=1)).reason == "wrong_seq"
    write(store, commit("r1", event(), epoch=0, after_seq=0))


def test_an_append_follows_the_head_that_it_names(store: Store) -> None:
    write(store, commit("a", event(), event()))
    wrong = refusal(store, commit("a", event(), after_seq=1))
    assert (wrong.reason, wrong.subject) == ("wrong_seq", "a")
    assert "expected the last event to be 1, but it is 2" in wrong.detail
    write(store, commit("a", event(), after_seq=2))


def test_a_stale_writer_learns_that_before_anything_else(store: Store) -> None:
    write(store, queued("r1"))
    write(store, claimed("r1"))
    late = commit("r1", event(), epoch=0, after_seq=99, guards=[TakesMail("nothing")])
    assert refusal(store, late).reason == "stale_epoch"


def test_a_stream_that_must_be_absent(store: Store) -> None:
    write(store, guarded(StreamAbsent("note")))
    refused = refusal(store, guarded(StreamAbsent("note")))
    assert (refused.reason, refused.subject) == ("stream_exists", "note")


def test_a_run_begins_once_even_without_a_guard(store: Store) -> None:
    write(store, queued("r1"))
    assert refusal(store, queued("r1")).reason == "stream_exists"
    assert len(store.read("r1")) == 1


def test_a_unique_key_is_claimed_once_and_names_its_holder(store: Store) -> None:
    claim = UniqueKey("start/triage", "order-7")

    def claiming(run: str) -> Commit:
        start = queued(run, unique=[["start/triage", "order-7"]])
        return start._replace(guards=(claim,))

    write(store, claiming("r1"))
    refused = refusal(store, claiming("r2"))
    assert (refused.reason, refused.subject, refused.holder) == ("key_taken", "order-7", "r1")
    assert store.unique_holder("start/triage", "order-7") == "r1"
    assert store.unique_holder("start/other", "order-7") is None
    assert store.run("r2") is None
    write(store, guarded(UniqueKey("start/other", "order-7")))


@pytest.mark.parametrize("state", get_args(RunState))
def test_a_run_must_be_in_a_state(store: Store, state: RunState) -> None:
    write(store, queued("r1"))
    if state != "queued":
        write(store, claimed("r1"))
    last = {
        "waiting": event("run_suspended", wake_at_us=None, waits=[]),
        "parked": event("run_parked", reason="r"),
        "completed": event("run_completed"),
        "failed": event("run_failed"),
        "cancelled": event("run_cancelled"),
    }.get(state)
    if last is not None:
        write(store, commit("r1", last, epoch=1))
    write(store, guarded(RunIn("r1", (state,))))
    others: tuple[RunState, ...] = tuple(other for other in STATES if other != state)
    refused = refusal(store, guarded(RunIn("r1", others)))
    assert (refused.reason, refused.subject, refused.detail) == ("run_state", "r1", state)


def test_a_run_that_is_absent_is_in_no_state(store: Store) -> None:
    refused = refusal(store, guarded(RunIn("r1", ("queued",))))
    assert (refused.reason, refused.detail) == ("run_state", "absent")


def test_mail_is_taken_once(store: Store) -> None:
    take = commit("r1", event("signal_received", takes="m1"), guards=[TakesMail("m1")])
    assert refusal(store, take).reason == "mail_absent"
    write(store, sent("r1", "m1"), sent("r1", "m2"))
    write(store, take)
    refused = refusal(store, take)
    assert (refused.reason, refused.subject) == ("mail_taken", "m1")
    assert [mail.message_id for mail in store.mail("r1")] == ["m2"]
    assert_sound(store)


def test_a_message_id_counts_once(store: Store) -> None:
    first = sent("r1", "m1", guards=[NewMessage("m1")])
    write(store, first)
    refused = refusal(store, first)
    assert (refused.reason, refused.subject) == ("message_exists", "m1")
    write(store, commit("r1", event("signal_received", takes="m1"), guards=[TakesMail("m1")]))
    assert refusal(store, first).reason == "message_exists"


def test_a_message_sent_twice_without_a_guard_still_counts_once(store: Store) -> None:
    write(store, sent("r1", "m1"), sent("r1", "m1"))
    write(store, commit("r1", event("signal_received", takes="m1"), guards=[TakesMail("m1")]))
    write(store, sent("r1", "m1"))
    assert store.mail("r1") == []
    write(store, guarded(NoMailSince("r1", 0)))
    assert_sound(store)


def test_a_run_suspends_only_when_it_has_looked_at_all_its_mail(store: Store) -> None:
    write(store, guarded(NoMailSince("r1", 0)))
    write(store, sent("r1", "m1"), sent("r2", "m2"))
    (mail,) = store.mail("r1")
    refused = refusal(store, guarded(NoMailSince("r1", mail.position - 1)))
    assert (refused.reason, refused.subject) == ("mail_waiting", "r1")
    write(store, guarded(NoMailSince("r1", mail.position)))
    write(store, commit("r1", event("signal_received", takes="m1"), guards=[TakesMail("m1")]))
    write(store, guarded(NoMailSince("r1", 0)))


def test_only_an_open_task_is_decided(store: Store) -> None:
    decide = sent("r1", "d1", "decision", task="t1", by="ada", guards=[TaskOpen("t1")])
    absent = refusal(store, decide)
    assert (absent.reason, absent.subject) == ("task_absent", "t1")
    write(store, commit("r1", event("task_opened", "k", task="t1", kind="question", role="boss")))
    write(store, decide)
    again = refusal(
        store, sent("r1", "d2", "decision", task="t1", by="bob", guards=[TaskOpen("t1")])
    )
    assert (again.reason, again.holder) == ("task_closed", "ada")
    assert again.detail == "decided by ada"


@pytest.mark.parametrize(
    ("closing", "state"),
    [
        (event("task_expired", task="t1"), "expired"),
        (event("task_withdrawn", task="t1"), "withdrawn"),
        (event("run_completed"), "withdrawn"),
        (event("run_failed"), "withdrawn"),
        (event("run_cancelled"), "withdrawn"),
        (event("run_continued", generation=2), "withdrawn"),
    ],
)
def test_a_closed_task_is_not_decided(store: Store, closing: Draft, state: str) -> None:
    write(store, queued("r1"))
    write(store, commit("r1", event("task_opened", task="t1", kind="question")))
    write(store, commit("r1", closing))
    refused = refusal(store, guarded(TaskOpen("t1")))
    assert (refused.reason, refused.detail) == ("task_closed", state)
    task = store.inbox_task("t1")
    assert task is not None
    assert task.state == state


def reserve(hold: str, amount: int, account: str = "a") -> Commit:
    """A reservation under its guard."""
    draft = event("budget_reserved", account=account, hold=hold, amount=amount)
    return commit("budget", draft, guards=[HoldsBudget(account, amount)])


def test_a_budget_is_reserved_before_it_is_spent(store: Store) -> None:
    absent = refusal(store, reserve("h1", 1))
    assert (absent.reason, absent.subject) == ("budget_absent", "a")
    write(store, commit("tenant/default", event("budget_set", account="a", limit=100)))
    write(store, reserve("h1", 60))
    refused = refusal(store, reserve("h2", 41))
    assert refused.reason == "budget_exhausted"
    assert "40 is left and 41 is needed" in refused.detail
    write(store, reserve("h2", 40))
    assert refusal(store, reserve("h3", 1)).reason == "budget_exhausted"
    write(store, reserve("h4", 0))


def test_settling_returns_what_was_not_spent_and_counts_once(store: Store) -> None:
    write(store, commit("tenant/default", event("budget_set", account="a", limit=100)))
    write(store, reserve("h1", 60))
    for _ in range(2):
        write(store, commit("budget", event("budget_settled", hold="h1", amount=10)))
    assert refusal(store, reserve("h2", 91)).reason == "budget_exhausted"
    write(store, reserve("h2", 90))
    write(store, commit("tenant/default", event("budget_set", account="a", limit=101)))
    write(store, reserve("h3", 1))
    assert_sound(store)


def test_a_hold_counts_once_however_often_it_is_reserved(store: Store) -> None:
    write(store, commit("tenant/default", event("budget_set", account="a", limit=100)))
    write(store, reserve("h1", 60))
    write(store, reserve("h1", 40))
    write(store, reserve("h2", 40))
    assert refusal(store, reserve("h3", 1)).reason == "budget_exhausted"
    assert_sound(store)


def test_two_reservations_of_one_commit_count_together(store: Store) -> None:
    write(store, commit("tenant/default", event("budget_set", account="a", limit=100)))
    both = Commit(
        (
            Append("x", [event("budget_reserved", account="a", hold="h1", amount=60)]),
            Append("y", [event("budget_reserved", account="a", hold="h2", amount=60)]),
        ),
        (HoldsBudget("a", 60), HoldsBudget("a", 60)),
    )
    assert refusal(store, both).reason == "budget_exhausted"
    assert store.scan()[-1].kind == "budget_set"


def use(approval: str, call_hash: str) -> Commit:
    """The intent that an approval was given for."""
    draft = event("noted", consumes=approval)
    return commit("r1", draft, guards=[UsesApproval(approval, call_hash)])


def test_an_approval_is_for_one_call_once_until_it_expires(store: Store, clock: OwnClock) -> None:
    assert refusal(store, use("p1", "h")).reason == "approval_absent"
    ends = START_US + 10_000_000
    write(
        store,
        commit("r1", event("approval_granted", approval="p1", call_hash="h", expires_at_us=ends)),
        commit("r1", event("approval_granted", approval="p2", call_hash="h", expires_at_us=ends)),
        commit("r1", event("approval_granted", approval="p3", call_hash="h", expires_at_us=None)),
    )
    assert refusal(store, use("p1", "other")).reason == "approval_mismatch"
    write(store, use("p1", "h"))
    assert refusal(store, use("p1", "h")).reason == "approval_consumed"
    clock.pass_seconds(10)
    assert refusal(store, use("p2", "h")).reason == "approval_expired"
    write(store, use("p3", "h"))
    assert_sound(store)


def test_a_refused_commit_writes_nothing_at_all(store: Store) -> None:
    write(store, queued("r1"))
    before = store.scan()
    both = Commit(
        (Append("r1", [event()], epoch=0), Append("r2", [event()], epoch=5)),
    )
    assert refusal(store, both).reason == "stale_epoch"
    later = Commit((Append("r3", [event()]),), (RunIn("r1", ("queued",)), TaskOpen("none")))
    assert refusal(store, later).reason == "task_absent"
    assert store.scan() == before
    assert store.head("r3") is None


def test_the_first_guard_that_refuses_is_the_answer(store: Store) -> None:
    refused = refusal(store, guarded(TaskOpen("t"), TakesMail("m")))
    assert refused == Refused("task_absent", "t", detail="there is no such task")
