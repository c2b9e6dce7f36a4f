"""Commits that no store can take: told to their caller, and nothing of their group is written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from interlock.errors import InvalidInputError, PayloadTooLargeError
from interlock.journal.check import BODY_LIMIT_BYTES, check_commit
from interlock.journal.event import Draft
from interlock.journal.guard import (
    Append,
    Commit,
    HoldsBudget,
    NewMessage,
    TakesMail,
    UniqueKey,
)
from interlock.journal.store import Store
from tests.conformance.commits import assert_sound, commit, event, write

LIAR: Any = "not bytes"
MALFORMED: dict[str, tuple[Commit, str]] = {
    "no events": (Commit((Append("a", ()),)), "has no events"),
    "a claim without an epoch": (commit("a", event(), raise_epoch=True), "names no epoch"),
    "a body that is text": (commit("a", Draft("e", body=LIAR)), "is str; encode it"),
    "a header that is no JSON": (commit("a", event("e", x={1, 2})), "is not JSON"),
    "a header with NaN": (commit("a", event("e", x=math.nan)), "is not JSON"),
    "a header with NaN inside": (commit("a", event("e", x=[1, math.inf])), "is not JSON"),
    "a header with a key that is no text": (commit("a", Draft("e", header={1: 2})), "is not JSON"),  # pyright: ignore[reportArgumentType]
    "a key with half a character": (commit("a", event("e", "\ud800")), "not valid Unicode"),
    "a stream with a NUL": (commit("a\0b", event("e")), "NUL character"),
    "a stream without a name": (commit("", event("e")), "without a name"),
    "an event without a kind": (commit("a", event("")), "has no kind"),
    "a kind with a NUL": (commit("a", event("a\0")), "NUL character"),
    "a version below one": (commit("a", Draft("e", version=0)), "must be from 1 to"),
    "a version too large": (commit("a", Draft("e", version=2**31)), "must be from 1 to"),
    "a missing field": (commit("r", event("run_queued", tenant="t")), "lacks 'agent'"),
    "a field of the wrong type": (commit("r", event("run_queued", agent=7)), "must be str"),
    "a number that is a truth": (
        commit("r", event("run_queued", agent="a", priority=True)),
        "must be int, from",
    ),
    "a number too large": (
        commit("r", event("run_queued", agent="a", priority=2**63)),
        "to 9223372036854775807",
    ),
    "a run that begins in the middle": (
        commit("r", event(), event("run_queued", agent="a")),
        "must be the first event",
    ),
    "a claim on a key without its guard": (
        commit("r", event("e", unique=[["scope", "key"]])),
        "add UniqueKey('scope', 'key')",
    ),
    "a claim that is no pair": (commit("r", event("e", unique=["k"])), "list of [scope, key]"),
    "claims that are no list": (commit("r", event("e", unique=7)), "list of [scope, key]"),
    "taking what is no id": (commit("r", event("e", takes=7)), "must be str"),
    "one message taken twice": (
        commit("r", event(), guards=[TakesMail("m"), TakesMail("m")]),
        "twice",
    ),
    "one message sent twice": (
        commit("r", event(), guards=[NewMessage("m"), NewMessage("m")]),
        "twice",
    ),
    "one key claimed twice": (
        commit("r", event(), guards=[UniqueKey("s", "k"), UniqueKey("s", "k")]),
        "twice",
    ),
    "a negative reservation": (commit("r", event(), guards=[HoldsBudget("a", -1)]), "0 or more"),
    "a negative amount": (
        commit("r", event("budget_reserved", account="a", hold="h", amount=-1)),
        "must be int, from 0",
    ),
    "a raise by nothing": (
        commit("r", event("budget_raised", account="a", amount=0)),
        "must be int, from 1",
    ),
}


@pytest.mark.parametrize(("item", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_wrong_is_said_and_nothing_is_written(
    store: Store, item: Commit, message: str
) -> None:
    with pytest.raises(InvalidInputError) as found:
        check_commit(item)
    assert message in found.value.message
    with pytest.raises(InvalidInputError):
        store.commit([commit("neighbour", event()), item])
    assert store.scan() == []
    write(store, commit("neighbour", event()))
    assert_sound(store)


def test_staging_refuses_too_large_a_body_by_itself(store: Store) -> None:
    too_large = event("step_completed", "load#1", body=b"x" * (BODY_LIMIT_BYTES + 1))
    with pytest.raises(PayloadTooLargeError, match="'load#1' has 1,000,001 bytes"):
        store.stage([commit("neighbour", event()), commit("a", too_large)])
    write(store, commit("neighbour", event(), after_seq=0))
    assert_sound(store)


def test_a_body_over_the_limit_is_refused_with_a_remedy(store: Store) -> None:
    largest = event("step_completed", "load#1", body=b"x" * BODY_LIMIT_BYTES)
    write(store, commit("a", largest))
    too_large = commit("a", largest._replace(body=b"x" * (BODY_LIMIT_BYTES + 1)))
    with pytest.raises(PayloadTooLargeError) as found:
        store.commit([commit("neighbour", event()), too_large])
    assert "'load#1' has 1,000,001 bytes, over the limit of 1,000,000" in found.value.message
    assert "record a reference" in found.value.message
    assert found.value.fields["bytes"] == BODY_LIMIT_BYTES + 1
    assert [entry.event.stream for entry in store.read("a")] == ["a"]
    assert store.head("neighbour") is None
