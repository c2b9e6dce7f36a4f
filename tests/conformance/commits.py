"""Commits as the tests write them: short, with the headers that the kinds need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit, Committed, Guard, Refused
from interlock.journal.store import Store


def event(
    kind: str = "step_completed", key: str = "", /, *, body: bytes | None = None, **header: Any
) -> Draft:
    """A draft with its header as keywords."""
    return Draft(kind, key, header, body)


def commit(
    stream: str,
    *drafts: Draft,
    epoch: int | None = None,
    after_seq: int | None = None,
    raise_epoch: bool = False,
    guards: Sequence[Guard] = (),
) -> Commit:
    """A commit of one append."""
    append = Append(stream, drafts, epoch=epoch, raise_epoch=raise_epoch, after_seq=after_seq)
    return Commit((append,), tuple(guards))


def queued(run: str, **header: Any) -> Commit:
    """A new run."""
    header = {"agent": "triage", **header}
    return commit(run, Draft("run_queued", "", header, b'{"n": 1}'), epoch=0)


def claimed(run: str, epoch: int = 0, claim: int = 1, worker: str = "w1") -> Commit:
    """A claim of a run at `epoch`, which it raises."""
    return commit(
        run, event("run_claimed", worker=worker, claim=claim), epoch=epoch, raise_epoch=True
    )


def sent(
    run: str,
    message_id: str,
    kind: str = "signal",
    *,
    name: str = "go",
    guards: Sequence[Guard] = (),
    **header: Any,
) -> Commit:
    """A message to a run."""
    header = {"run": run, "kind": kind, "name": name, **header}
    return commit(f"mail/{run}", Draft("mail_sent", message_id, header, b"1"), guards=guards)


def write(store: Store, *items: Commit) -> list[Committed]:
    """Write one group of which every item must be accepted."""
    results = store.commit(items)
    refused = [result for result in results if isinstance(result, Refused)]
    assert not refused, refused
    return [result for result in results if isinstance(result, Committed)]


def refusal(store: Store, item: Commit) -> Refused:
    """The refusal of one item that must be refused."""
    (result,) = store.commit([item])
    assert isinstance(result, Refused), result
    return result


def assert_sound(store: Store) -> None:
    """The chains hold, and the projections are a fold of the events."""
    assert list(store.verify()) == []
    assert list(store.rebuild()) == []
