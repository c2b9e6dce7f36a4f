"""Appending: places, times, chains and bodies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.journal.event import NO_BODY, NO_HASH, Draft
from interlock.journal.guard import Append, Commit
from interlock.journal.store import Store
from tests.conformance.backend import START_US, Backend, OwnClock
from tests.conformance.commits import assert_sound, commit, event, refusal, write


def test_events_get_gapless_seqs_and_positions_in_the_order_of_the_group(store: Store) -> None:
    first, second = write(
        store,
        commit("a", event("one"), event("two")),
        Commit((Append("b", [event("three")]), Append("a", [event("four")]))),
    )
    assert first.places == [(1, 1)]
    assert second.places == [(3, 1), (4, 3)]
    found = [(e.position, e.stream, e.seq, e.kind) for e in store.scan()]
    assert found == [
        (1, "a", 1, "one"),
        (2, "a", 2, "two"),
        (3, "b", 1, "three"),
        (4, "a", 3, "four"),
    ]
    assert [entry.event.kind for entry in store.read("a")] == ["one", "two", "four"]
    assert_sound(store)


def test_two_appends_of_one_commit_to_one_stream_follow_each_other(store: Store) -> None:
    both = Commit(
        (Append("a", [event("one")], after_seq=0), Append("a", [event("two")], after_seq=1))
    )
    assert write(store, both)[0].places == [(1, 1), (2, 2)]
    assert refusal(store, both._replace(appends=both.appends[::-1])).reason == "wrong_seq"


def test_each_event_holds_the_hash_of_the_one_before_it(store: Store) -> None:
    write(store, commit("a", event(body=b"1"), event("other", "k#1", x=1)), commit("b", event()))
    write(store, commit("a", event("third")))
    one, two, three = [entry.event for entry in store.read("a")]
    assert one.prev_hash == NO_HASH
    assert two.prev_hash == one.hash()
    assert three.prev_hash == two.hash()
    head = store.head("a")
    assert head is not None
    assert (head.seq, head.epoch, head.hash) == (3, 0, three.hash())
    assert store.head("nobody") is None


def test_a_body_comes_back_and_is_committed_to_with_a_salt(store: Store) -> None:
    write(store, commit("a", event(body=b"same"), event(body=b"same"), event(body=b""), event()))
    entries = store.read("a")
    assert [entry.body for entry in entries] == [b"same", b"same", b"", None]
    assert not any(entry.erased for entry in entries)
    commitments = [entry.event.commitment for entry in entries]
    assert len(set(commitments)) == 4
    assert commitments[3] == NO_BODY
    assert store.entry(2) == entries[1]
    assert store.entry(99) is None


def test_all_events_of_a_group_have_one_time_which_never_goes_back(
    store: Store, clock: OwnClock
) -> None:
    write(store, commit("a", event()), commit("b", event()))
    clock.pass_seconds(-5)
    write(store, commit("a", event()))
    clock.pass_seconds(7)
    (last,) = write(store, commit("a", event()))
    times = [found.at_us - START_US for found in store.scan()]
    assert times == [0, 0, 0, 2_000_000]
    assert last.at_us == START_US + 2_000_000


def test_the_time_never_goes_back_for_another_handle_either(backend: Backend) -> None:
    write(backend.open(), commit("a", event()))
    backend.clock.pass_seconds(-5)
    write(backend.open(), commit("b", event()))
    assert [found.at_us for found in backend.open().scan()] == [START_US, START_US]


def test_another_handle_continues_where_the_first_stopped(backend: Backend) -> None:
    one, two = backend.open(), backend.open()
    for number in range(5):
        write(one, commit("a", event("odd"), after_seq=2 * number))
        write(two, commit("a", event("even"), after_seq=2 * number + 1), commit("b", event()))
    assert [entry.event.seq for entry in one.read("a")] == list(range(1, 11))
    assert_sound(two)


def test_what_is_staged_is_not_seen_before_it_is_durable(backend: Backend) -> None:
    store, other = backend.open(), backend.open()
    store.stage([commit("a", event())])
    assert store.read("a") == other.read("a") == []
    store.sync()
    assert len(store.read("a")) == len(other.read("a")) == 1
    store.sync()


def test_a_discarded_group_leaves_nothing_behind(store: Store) -> None:
    write(store, commit("a", event("kept"), epoch=0))
    store.stage([commit("a", event("lost"), epoch=0, raise_epoch=True), commit("b", event("lost"))])
    store.discard()
    store.discard()
    store.sync()
    write(store, commit("a", event("next"), epoch=0, after_seq=1), commit("c", event("next")))
    assert [found.kind for found in store.scan()] == ["kept", "next", "next"]
    assert_sound(store)


def test_staging_twice_is_refused_and_the_first_group_stays(store: Store) -> None:
    store.stage([commit("a", event())])
    with pytest.raises(RuntimeError, match="synced or discarded"):
        store.stage([commit("b", event())])
    store.sync()
    assert [found.stream for found in store.scan()] == ["a"]


def test_an_empty_group_and_a_commit_without_appends_write_nothing(store: Store) -> None:
    assert store.commit([]) == []
    (result,) = write(store, Commit(()))
    assert result.places == []
    assert store.scan() == []


_TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stream=_TEXTS.filter(bool),
    kind=st.sampled_from(["noted", "grüßte"]),
    key=_TEXTS,
    header=st.dictionaries(_TEXTS, _JSON, max_size=4),
    body=st.none() | st.binary(max_size=200),
    version=st.integers(1, 2**31 - 1),
)
def test_whatever_is_written_comes_back_and_verifies(
    backend: Backend, stream: str, kind: str, key: str, header: dict[str, Any], body: bytes | None,
    version: int,
) -> None:  # fmt: skip
    store = backend.opened[0] if backend.opened else backend.open()
    header = {
        name: value for name, value in header.items() if name not in {"unique", "takes", "consumes"}
    }
    (result,) = write(store, commit(stream, Draft(kind, key, header, body, version)))
    entry = store.entry(result.places[0][0])
    assert entry is not None
    found = entry.event
    assert (found.stream, found.kind, found.key, found.version) == (stream, kind, key, version)
    assert found.header == header
    assert entry.body == body
    head = store.head(stream)
    assert head is not None
    assert head.hash == found.hash()
    assert list(store.verify()) == []
