"""Laws: on every history a store answers as the model does, and its projections are a fold."""

from __future__ import annotations

import itertools
from typing import Any, get_args

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from interlock.errors import InvalidInputError
from interlock.journal.check import check_commit
from interlock.journal.guard import Commit, Committed, Result
from interlock.journal.projections import PROJECTIONS
from interlock.journal.rows import InboxState, RunFilter
from interlock.journal.store import Store
from tests.conformance.backend import START_US, Backend
from tests.conformance.histories import GROUPS
from tests.conformance.model import Model

FRESH = itertools.count()
LAW = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def fresh(backend: Backend) -> Backend:
    """Another empty database beside the one of the test."""
    folder, _, _ = backend.location.removeprefix("sqlite:///").rpartition("/")
    name = f"history-{next(FRESH)}.db"
    return Backend(location=f"sqlite:///{folder}/{name}")


def answer(result: Result) -> tuple[Any, ...]:
    """What of an answer both must agree on: not the wording."""
    if isinstance(result, Committed):
        return ("committed", [tuple(place) for place in result.places], result.at_us)
    return (result.reason, result.subject)


def valid(groups: list[list[Commit]]) -> bool:
    """Whether a journal would let all of them pass to a store."""
    try:
        for item in itertools.chain.from_iterable(groups):
            check_commit(item)
    except InvalidInputError:
        return False
    return True


def state_of(store: Store) -> dict[str, Any]:
    """All projections that a store shows."""
    return {
        "runs": {row.id: row._asdict() for row in store.runs(RunFilter(limit=100))},
        "effects": {row.effect_key: row._asdict() for row in store.effects(limit=100)},
        "tasks": {row.id: row._asdict() for row in store.inbox(get_args(InboxState), limit=100)},
        "mail": {mail.message_id: mail.position for mail in store.mail_since(0)},
        "budgets": {row.account: tuple(row[1:]) for row in store.budgets()},
        "keys": {key: store.unique_holder("scope", key) for key in ("k1", "k2")},
        "streams": {
            stream: list(head[:2])
            for stream in ("r1", "r2", "mail/r1", "mail/r2", "tenant/default")
            if (head := store.head(stream)) is not None
        },
    }


def state_of_model(model: Model) -> dict[str, Any]:
    return {
        "runs": model.runs,
        "effects": model.effects,
        "tasks": model.tasks,
        "mail": {k: m["position"] for k, m in model.mail.items() if not m["taken"]},
        "budgets": {
            account: (limit, model.held(account), model.spent(account))
            for account, limit in model.limits.items()
        },
        "keys": {key: model.keys.get(("scope", key)) for key in ("k1", "k2")},
        "streams": model.streams,
    }


@LAW
@given(groups=GROUPS, moves=st.lists(st.integers(-2, 2), min_size=12, max_size=12))
def test_a_store_answers_as_the_model_does(
    backend: Backend, groups: list[list[Commit]], moves: list[int]
) -> None:
    assume(valid(groups))
    own = fresh(backend)
    store, model = own.open(), Model()
    own.clock.at_us = START_US
    try:
        for group, move in zip(groups, moves, strict=False):
            own.clock.at_us += move
            expected = [answer(model.commit(item, own.clock.at_us)) for item in group]
            assert [answer(result) for result in store.commit(group)] == expected
        assert state_of(store) == state_of_model(model)
        assert list(store.verify()) == []
        assert list(store.rebuild()) == []
    finally:
        own.close()


@LAW
@given(groups=GROUPS)
def test_a_group_is_worth_its_commits_one_by_one(
    backend: Backend, groups: list[list[Commit]]
) -> None:
    assume(valid(groups))
    together, apart = fresh(backend), fresh(backend)
    try:
        one, two = together.open(), apart.open()
        for group in groups:
            single = [two.commit([item])[0] for item in group]
            assert one.commit(group) == single
        assert state_of(one) == state_of(two)
        kinds = [(e.stream, e.seq, e.kind, e.epoch) for e in one.scan()]
        assert kinds == [(e.stream, e.seq, e.kind, e.epoch) for e in two.scan()]
    finally:
        together.close()
        apart.close()


@LAW
@given(groups=GROUPS)
def test_two_handles_that_take_turns_are_worth_one(
    backend: Backend, groups: list[list[Commit]]
) -> None:
    assume(valid(groups))
    shared, single = fresh(backend), fresh(backend)
    try:
        handles, alone = itertools.cycle([shared.open(), shared.open()]), single.open()
        for group in groups:
            assert next(handles).commit(group) == alone.commit(group)
        assert state_of(next(handles)) == state_of(alone)
    finally:
        shared.close()
        single.close()


def test_the_model_knows_every_kind_that_has_a_projection() -> None:
    assert [kind for kind in PROJECTIONS if not hasattr(Model, f"_{kind}")] == []
