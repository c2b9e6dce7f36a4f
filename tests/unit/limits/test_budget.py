"""Budgets on a real journal: held before a call, settled after it, opened once, raised."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.errors import InvalidInputError
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit, Committed, Refused
from interlock.journal.rows import BudgetRow
from interlock.journal.store import Store
from interlock.limits.budget import (
    Account,
    Budgets,
    Limits,
    Reservation,
    Spent,
    WorstCase,
    accounts,
    budget_stream,
    day_of,
    hold_of,
    next_day_us,
    opening,
    raising,
    release,
    reserve,
    settle,
    settle_worst_case,
)
from tests.conformance.backend import Backend, OwnClock, make_backend

NOON_US = 1_795_608_000_000_000  # 2026-11-25 12:00 UTC
DAY_US = 86_400_000_000
RUN = Limits(usd=Decimal("0.50"), model_calls=3)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    made = make_backend("sqlite", tmp_path)
    yield made
    made.close()


@pytest.fixture
def store(backend: Backend) -> Store:
    return backend.open()


def drawn(run: Limits | None = RUN, **budgets: Limits) -> tuple[Account, ...]:
    """The accounts of run r1."""
    return accounts(
        Budgets(run=run, **budgets), run="r1", agent="triage", tenant="acme", day="2026-11-25"
    )


def one_call(
    of: tuple[Account, ...], attempt: int = 1, key: str = "/1/ask#1", **worst: int
) -> Reservation:
    return reserve(of, WorstCase(**worst), run="r1", generation=1, key=key, attempt=attempt)


def written(store: Store, reservation: Reservation) -> Refused | None:
    """Write the reservation with the event it belongs to; the refusal, if it is refused."""
    intent = Draft("model_call_intended", "/1/ask#1")
    append = Append("r1", (intent, *reservation.drafts))
    (result,) = store.commit([Commit((append,), reservation.guards)])
    return result if isinstance(result, Refused) else None


def tell(store: Store, drafts: tuple[Draft, ...]) -> None:
    (result,) = store.commit([Commit((Append("r1", drafts),))])
    assert isinstance(result, Committed)


def test_accounts_are_named_by_whose_they_are_when_and_in_what() -> None:
    found = accounts(
        Budgets(
            run=Limits(usd=Decimal("0.5"), tokens=10, model_calls=2, tool_calls=3, seconds=4),
            agent_day=Limits(usd=5),
            tenant_day=Limits(tokens=10**6, seconds=Decimal("0.5")),
        ),
        run="run_1",
        agent="a/b%",
        tenant="acme",
        day=day_of(NOON_US),
    )
    assert found == (
        Account("run/run_1/usd", "usd", 500_000),
        Account("run/run_1/tokens", "tokens", 10),
        Account("run/run_1/model_calls", "model_calls", 2),
        Account("run/run_1/tool_calls", "tool_calls", 3),
        Account("run/run_1/seconds", "seconds", 4_000),
        Account("agent/a%2Fb%25/2026-11-25/usd", "usd", 5_000_000),
        Account("tenant/acme/2026-11-25/tokens", "tokens", 1_000_000),
        Account("tenant/acme/2026-11-25/seconds", "seconds", 500),
    )
    assert drawn(run=None) == ()


@given(first=st.lists(st.text(), min_size=2, max_size=2), second=st.lists(st.text(), min_size=2))
def test_two_who_are_not_the_same_never_share_an_account(
    first: list[str], second: list[str]
) -> None:
    def names(parts: list[str]) -> set[str]:
        budgets = Budgets(agent_day=Limits(usd=1), tenant_day=Limits(usd=1))
        found = accounts(budgets, run="r", agent=parts[0], tenant=parts[1], day="d")
        return {account.name for account in found}

    assert len(names(first)) == 2
    assert (names(first) == names(second)) == (first == second[:2])


@given(now_us=st.integers(0, 4 * 10**15))
def test_a_day_ends_where_the_next_begins(now_us: int) -> None:
    ends = next_day_us(now_us)
    assert 0 < ends - now_us <= DAY_US
    assert day_of(now_us) == day_of(ends - 1) < day_of(ends)


def test_the_day_is_that_of_utc() -> None:
    midnight = NOON_US + DAY_US // 2
    assert [day_of(midnight - 1), day_of(midnight)] == ["2026-11-25", "2026-11-26"]
    assert next_day_us(midnight - 1) == midnight
    assert next_day_us(midnight) == midnight + DAY_US


@pytest.mark.parametrize(
    "wrong", [{"usd": Decimal(-1)}, {"tokens": -1}, {"usd": Decimal("0.0000001")}], ids=str
)
def test_a_limit_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=f"the limit of {next(iter(wrong))}: "):
        Limits(**wrong)


def test_a_call_takes_no_less_than_nothing() -> None:
    with pytest.raises(InvalidInputError, match="micro_usd of a call must be 0 or more, not -1"):
        WorstCase(micro_usd=-1)


def test_accounts_open_when_they_are_first_needed_and_keep_their_limit(store: Store) -> None:
    call = one_call(drawn(), micro_usd=300_000, model_calls=1)
    refused = written(store, call)
    assert refused is not None
    assert (refused.reason, refused.subject) == ("budget_absent", "run/r1/usd")
    results = store.commit(opening(drawn()))
    assert [type(result) for result in results] == [Committed, Committed]
    assert written(store, call) is None
    assert store.budgets() == [
        BudgetRow("run/r1/model_calls", limit=3, held=1, spent=0),
        BudgetRow("run/r1/usd", limit=500_000, held=300_000, spent=0),
    ]
    store.commit([raising("run/r1/usd", 100_000, message_id="m1", by="ada")])
    again = store.commit(opening(drawn(Limits(usd=9))))
    assert [result.reason for result in again if isinstance(result, Refused)] == ["key_taken"]
    row = store.budget("run/r1/usd")
    assert row is not None
    assert row.limit == 600_000
    kinds = [entry.event.kind for entry in store.read(budget_stream("run/r1/usd"))]
    assert kinds == ["budget_set", "budget_raised"]


@pytest.fixture
def opened(store: Store) -> Store:
    """The accounts of run r1 are there."""
    store.commit(opening(drawn()))
    return store


def usd(store: Store) -> tuple[int, int]:
    row = store.budget("run/r1/usd")
    assert row is not None
    assert list(store.rebuild()) == []
    return (row.held, row.spent)


def test_a_hold_becomes_what_was_taken(opened: Store) -> None:
    call = one_call(drawn(), micro_usd=300_000, model_calls=1, tokens=99)
    assert written(opened, call) is None
    assert usd(opened) == (300_000, 0)
    for _ in range(2):
        tell(opened, settle(call.holds, Spent(micro_usd=20_000, model_calls=1, tokens=7)))
    assert usd(opened) == (0, 20_000)


def test_a_call_that_may_have_left_counts_as_its_worst_case(opened: Store) -> None:
    call = one_call(drawn(), micro_usd=300_000, model_calls=1)
    assert written(opened, call) is None
    found = [
        hold_of(entry.event.key, entry.event.header)
        for entry in opened.read("r1")
        if entry.event.kind == "budget_reserved"
    ]
    assert tuple(found) == call.holds
    tell(opened, settle_worst_case(found))
    assert usd(opened) == (0, 300_000)


def test_a_call_that_never_left_returns_everything(opened: Store) -> None:
    call = one_call(drawn(), micro_usd=300_000, model_calls=1)
    assert written(opened, call) is None
    tell(opened, release(call.holds))
    assert usd(opened) == (0, 0)


def test_an_exhausted_account_refuses_the_whole_call(opened: Store) -> None:
    for attempt in range(1, 4):
        assert written(opened, one_call(drawn(), attempt, model_calls=1, micro_usd=100)) is None
    refused = written(opened, one_call(drawn(), 4, model_calls=1, micro_usd=100))
    assert refused is not None
    assert (refused.reason, refused.subject) == ("budget_exhausted", "run/r1/model_calls")
    assert refused.detail == "0 is left and 1 is needed"
    assert usd(opened) == (300, 0)
    opened.commit([raising("run/r1/model_calls", 1, message_id="m1")])
    assert written(opened, one_call(drawn(), 4, model_calls=1, micro_usd=100)) is None


def test_an_account_of_which_a_call_takes_nothing_does_not_stop_it(opened: Store) -> None:
    for attempt in range(1, 4):
        assert written(opened, one_call(drawn(), attempt, model_calls=1)) is None
    assert written(opened, one_call(drawn(), 4, tool_calls=1)) is None
    assert one_call(drawn(), tool_calls=1) == Reservation((), (), ())


def test_the_ids_of_holds_tell_attempts_runs_and_accounts_apart() -> None:
    worst = WorstCase(micro_usd=5, model_calls=1)
    ids = [
        hold.id
        for run, generation, key, attempt in itertools.product("ab", (1, 2), ("k", "l"), (1, 2))
        for hold in reserve(
            drawn(), worst, run=run, generation=generation, key=key, attempt=attempt
        ).holds
    ]
    assert len(set(ids)) == len(ids) == 32
    assert one_call(drawn(), model_calls=1) == one_call(drawn(), model_calls=1)


def test_a_raise_counts_once_for_each_message_and_adds_up(opened: Store) -> None:
    raises = [
        raising("run/r1/usd", 10, message_id="m1", by="ada"),
        raising("run/r1/usd", 10, message_id="m2", by="bob"),
        raising("run/r1/usd", 10, message_id="m1", by="ada"),
        raising("run/r1/model_calls", 10, message_id="m1", by="ada"),
    ]
    results = opened.commit(raises)
    assert [type(result) for result in results] == [Committed, Committed, Refused, Committed]
    assert [row.limit for row in opened.budgets()] == [13, 500_020]


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["settle", "worst case", "release", "under way"]),
        st.integers(0, 200_000),
        st.integers(0, 100),
    ),
    max_size=20,
)
FRESH = itertools.count()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_what_is_held_and_spent_never_exceeds_the_limit(
    tmp_path: Path, calls: list[tuple[str, int, int]]
) -> None:
    location = f"sqlite:///{tmp_path / f'{next(FRESH)}.db'}"
    backend = Backend(location=location, clock=OwnClock(NOON_US))
    store, of = backend.open(), drawn(agent_day=Limits(usd=Decimal("0.3")))
    store.commit(opening(of))
    spent = 0
    for attempt, (end, worst, percent) in enumerate(calls):
        call = one_call(of, attempt, micro_usd=worst)
        if written(store, call) is not None or end == "under way" or worst == 0:
            continue
        took = {"settle": worst * percent // 100, "worst case": worst, "release": 0}[end]
        spent += took
        drafts = {
            "settle": settle(call.holds, Spent(micro_usd=took)),
            "worst case": settle_worst_case(call.holds),
            "release": release(call.holds),
        }
        tell(store, drafts[end])
        assert all(row.left() >= 0 for row in store.budgets())
    assert {row.spent for row in store.budgets() if row.account.endswith("usd")} == {spent}
    backend.close()
