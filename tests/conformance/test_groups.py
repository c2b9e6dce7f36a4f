"""A group: each commit is judged after those before it, as if it had come alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from interlock.journal.guard import (
    Commit,
    Committed,
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
from interlock.journal.store import Store
from tests.conformance.commits import (
    assert_sound,
    claimed,
    commit,
    event,
    queued,
    sent,
    write,
)


def prepared(store: Store) -> None:
    """Something of everything that two commits can compete for."""
    write(store, queued("r1"), queued("r2"))
    write(
        store,
        claimed("r1"),
        sent("r1", "m1"),
        commit("r2", event("task_opened", task="t1", kind="question"), epoch=0),
        commit("tenant/default", event("budget_set", account="a", limit=100)),
        commit("r2", event("approval_granted", approval="p1", call_hash="h"), epoch=0),
    )


def keyed(run: str) -> Commit:
    start = queued(run, unique=[["start", "k"]])
    return start._replace(guards=(UniqueKey("start", "k"),))


def taking(stream: str) -> Commit:
    return commit(stream, event("signal_received", takes="m1"), guards=[TakesMail("m1")])


def reserving(hold: str) -> Commit:
    draft = event("budget_reserved", account="a", hold=hold, amount=60)
    return commit("budget", draft, guards=[HoldsBudget("a", 60)])


def consuming(stream: str) -> Commit:
    return commit(stream, event("noted", consumes="p1"), guards=[UsesApproval("p1", "h")])


def deciding(message_id: str) -> Commit:
    guards: list[Guard] = [TaskOpen("t1"), NewMessage(message_id)]
    return sent("r2", message_id, "decision", task="t1", by=message_id, guards=guards)


COMPETITIONS: dict[str, Callable[[], tuple[Commit, Commit, str]]] = {
    "epoch": lambda: (claimed("r1", 1), claimed("r1", 1, worker="w2"), "stale_epoch"),
    "seq": lambda: (
        commit("x", event(), after_seq=0),
        commit("x", event(), after_seq=0),
        "wrong_seq",
    ),
    "stream": lambda: (
        commit("x", event(), guards=[StreamAbsent("x")]),
        commit("x", event(), guards=[StreamAbsent("x")]),
        "stream_exists",
    ),
    "run": lambda: (queued("r9"), queued("r9"), "stream_exists"),
    "unique key": lambda: (keyed("r8"), keyed("r9"), "key_taken"),
    "mail": lambda: (taking("x"), taking("y"), "mail_taken"),
    "message": lambda: (
        sent("r1", "m9", guards=[NewMessage("m9")]),
        sent("r1", "m9", guards=[NewMessage("m9")]),
        "message_exists",
    ),
    "suspending against a signal": lambda: (
        sent("r1", "m9"),
        commit("r1", event("run_suspended"), epoch=1, guards=[NoMailSince("r1", 7)]),
        "mail_waiting",
    ),
    "task": lambda: (deciding("d1"), deciding("d2"), "task_closed"),
    "task against the run's end": lambda: (
        commit("r2", event("run_cancelled"), epoch=0),
        deciding("d1"),
        "task_closed",
    ),
    "budget": lambda: (reserving("h1"), reserving("h2"), "budget_exhausted"),
    "approval": lambda: (consuming("x"), consuming("y"), "approval_consumed"),
    "state": lambda: (
        commit("r1", event("run_completed"), epoch=1),
        commit("x", event(), guards=[RunIn("r1", ("running",))]),
        "run_state",
    ),
}


@pytest.mark.parametrize("competition", COMPETITIONS.values(), ids=COMPETITIONS.keys())
@pytest.mark.parametrize("together", [True, False], ids=["one group", "two groups"])
def test_of_two_that_compete_the_first_wins(
    store: Store, competition: Callable[[], tuple[Commit, Commit, str]], together: bool
) -> None:
    prepared(store)
    first, second, reason = competition()
    before, after = commit("other", event("before")), commit("other", event("after"))
    if together:
        results = store.commit([before, first, second, after])
    else:
        results = [store.commit([item])[0] for item in (before, first, second, after)]
    assert isinstance(results[1], Committed)
    assert isinstance(results[2], Refused)
    assert results[2].reason == reason
    assert [type(results[0]), type(results[3])] == [Committed, Committed]
    assert [entry.event.kind for entry in store.read("other")] == ["before", "after"]
    assert_sound(store)


ENABLED: dict[str, Callable[[], list[Commit]]] = {
    "what was sent is taken": lambda: [sent("r1", "m9"), commit(
        "r1", event("signal_received", takes="m9"), epoch=1, guards=[TakesMail("m9")])],
    "what was taken no longer keeps from suspending": lambda: [
        taking("x"), commit("x", event(), guards=[NoMailSince("r1", 0)])],
    "what was opened is decided": lambda: [
        commit("r2", event("task_opened", task="t9", kind="question"), epoch=0),
        sent("r2", "d9", "decision", task="t9", guards=[TaskOpen("t9")])],
    "what was returned is reserved again": lambda: [
        reserving("h1"), commit("x", event("budget_settled", hold="h1", amount=0)),
        reserving("h2")],
    "what was granted is consumed": lambda: [
        commit("r2", event("approval_granted", approval="p9", call_hash="h"), epoch=0),
        commit("x", event("noted", consumes="p9"), guards=[UsesApproval("p9", "h")])],
    "what was raised is spent": lambda: [
        reserving("h1"), commit("x", event("budget_set", account="a", limit=120)), reserving("h2")],
    "what two people raised adds up": lambda: [
        reserving("h1"), commit("x", event("budget_raised", account="a", amount=10)),
        commit("y", event("budget_raised", account="a", amount=10)), reserving("h2")],
    "what was queued is in its state": lambda: [
        queued("r9"), commit("x", event(), guards=[RunIn("r9", ("queued",))]),
        claimed("r9"), commit("x", event(), guards=[RunIn("r9", ("running",))])],
}  # fmt: skip


@pytest.mark.parametrize("steps", ENABLED.values(), ids=ENABLED.keys())
@pytest.mark.parametrize("together", [True, False], ids=["one group", "two groups"])
def test_a_commit_can_need_what_its_neighbour_did(
    store: Store, steps: Callable[[], list[Commit]], together: bool
) -> None:
    prepared(store)
    if together:
        write(store, *steps())
    else:
        for item in steps():
            write(store, item)
    assert_sound(store)


def test_each_commit_of_a_group_has_looked_at_its_own_mail(store: Store) -> None:
    write(store, sent("r1", "m1"), sent("r1", "m2"))
    first, second = (mail.position for mail in store.mail("r1"))
    results = store.commit(
        [commit(f"s{at}", event(), guards=[NoMailSince("r1", at)]) for at in (second, first, 0)]
    )
    assert [type(result) for result in results] == [Committed, Refused, Refused]
    details = [result.detail for result in results if isinstance(result, Refused)]
    assert details == [f"1 unread after position {first}", "2 unread after position 0"]


def test_a_message_that_was_sent_and_taken_before_does_not_count_again(store: Store) -> None:
    prepared(store)
    write(store, taking("x"))
    write(store, sent("r1", "m1"), commit("y", event(), guards=[NoMailSince("r1", 0)]))
    assert_sound(store)


def test_what_was_reserved_before_is_returned_in_a_group(store: Store) -> None:
    prepared(store)
    write(store, reserving("h1"))
    write(store, commit("x", event("budget_settled", hold="h1", amount=0)), reserving("h2"))
    assert_sound(store)


def test_a_reservation_is_returned_once_in_a_group(store: Store) -> None:
    prepared(store)
    settled = event("budget_settled", hold="h1", amount=0)
    items = [reserving("h1"), commit("x", settled, settled), reserving("h2"), reserving("h3")]
    results = store.commit(items)
    assert [type(result) for result in results] == [Committed, Committed, Committed, Refused]
    assert_sound(store)


def test_a_hold_from_before_its_account_was_set_counts_nowhere(store: Store) -> None:
    early = event("budget_reserved", account="b", hold="h1", amount=60)
    write(
        store,
        commit("x", early),
        commit("x", event("budget_set", account="b", limit=60)),
        commit("x", early, guards=[HoldsBudget("b", 60)]),
        commit("x", event("budget_settled", hold="h1", amount=0)),
        commit("x", event(), guards=[HoldsBudget("b", 60)]),
    )
    assert_sound(store)


def test_a_refused_claim_claims_nothing_in_its_group(store: Store) -> None:
    lost = keyed("r8")
    lost = lost._replace(guards=(*lost.guards, TaskOpen("none")))
    refused, won = store.commit([lost, keyed("r9")])
    assert isinstance(refused, Refused)
    assert isinstance(won, Committed)
    assert store.unique_holder("start", "k") == "r9"


def test_a_large_group_is_answered_in_order(store: Store) -> None:
    items = [commit(f"s{number % 7}", event("e", str(number))) for number in range(2000)]
    results = write(store, *items)
    assert [result.places[0][0] for result in results] == list(range(1, 2001))
    assert [found.key for found in store.scan(limit=2000)] == [str(n) for n in range(2000)]
    assert_sound(store)
