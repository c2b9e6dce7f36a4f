"""Erasing bodies: gone for good, recorded, and the chain still holds."""

from __future__ import annotations

import pytest

from interlock.errors import NotFoundError
from interlock.journal.store import Store
from tests.conformance.commits import assert_sound, commit, event, write


@pytest.fixture
def filled(store: Store) -> Store:
    """Four events, of which the third has no body."""
    write(store, commit("a", event(body=b"1"), event(body=b"2"), event(), event(body=b"4")))
    return store


def test_an_erased_body_is_gone_and_its_event_remains(filled: Store) -> None:
    before = filled.scan()
    filled.erase([2, 1], by="ada", reason="request 7")
    entries = filled.read("a")
    assert [(entry.body, entry.erased) for entry in entries] == [
        (None, True),
        (None, True),
        (None, False),
        (b"4", False),
    ]
    assert filled.scan()[:4] == before
    record = filled.read("tenant/default")[0].event
    assert (record.kind, record.header) == (
        "bodies_erased",
        {"positions": [1, 2], "by": "ada", "reason": "request 7"},
    )
    assert filled.records()[0].salt is None
    assert_sound(filled)


def test_erasing_again_changes_nothing(filled: Store) -> None:
    filled.erase([1, 1], by="ada", reason="r")
    before = filled.scan()
    filled.erase([1, 3], by="ada", reason="r")
    assert filled.scan() == before
    filled.erase([], by="ada", reason="r")
    filled.erase([1, 4], by="bob", reason="r")
    assert filled.scan()[-1].header["positions"] == [4]
    assert_sound(filled)


def test_a_position_without_an_event_erases_nothing(filled: Store) -> None:
    with pytest.raises(NotFoundError, match="no event at position 99") as found:
        filled.erase([1, 99], by="ada", reason="r")
    assert found.value.fields["positions"] == [99]
    assert filled.read("a")[0].body == b"1"
    assert_sound(filled)


def test_many_bodies_are_erased_in_several_events(store: Store) -> None:
    write(store, commit("a", *[event(body=b"x") for _ in range(2500)]))
    store.erase(range(1, 2501), by="ada", reason="r")
    records = store.read("tenant/default")
    assert [len(record.event.header["positions"]) for record in records] == [1000, 1000, 500]
    assert_sound(store)


def test_a_staged_group_is_not_mixed_with_an_erasure(filled: Store) -> None:
    filled.stage([commit("b", event())])
    with pytest.raises(RuntimeError, match="synced or discarded"):
        filled.erase([1], by="ada", reason="r")
    filled.sync()
    assert filled.read("a")[0].body == b"1"


def test_the_store_goes_on_after_an_erasure(filled: Store) -> None:
    filled.erase([1], by="ada", reason="r")
    write(filled, commit("a", event(), after_seq=4), commit("tenant/default", event()))
    assert_sound(filled)
