"""Replaying a finished journal: a new session on its events, in a world where every call is noted.

The session is the engine's own. Its journal writes nothing: it takes the one commit that ends the
run, and anything else that the session wants to record is a violation, since a replay records
nothing before its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from interlock.app import App
from interlock.clock import Acting, Clock, InlineThreads, Threads
from interlock.errors import StorageError
from interlock.journal.event import Draft, Entry
from interlock.journal.guard import Commit, Committed, Result
from interlock.journal.journal import Journal
from interlock.journal.rows import RunRow
from interlock.journal.store import Store
from interlock.orchestrator.agent import Agent
from interlock.orchestrator.feed import Feed
from interlock.orchestrator.history import History
from interlock.orchestrator.pinning import ContractPins
from interlock.orchestrator.run import agent_body
from interlock.orchestrator.session import Session
from interlock.testing.external import SilentOutside
from interlock.testing.interpreter import Stage
from interlock.testing.virtual_clock import Surroundings, VirtualClock, VirtualLoop

if TYPE_CHECKING:
    from interlock.models.ask import Asker
    from interlock.tools.masking.vault import Vault

__all__ = ["replay_problems"]

_LAST: Final = frozenset({"run_completed", "run_failed", "run_cancelled", "run_continued"})


class _ReplayJournal(Journal):
    """Notes what a session wants to write, and answers as if it were written."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, mode="inline")
        self.commits: list[Commit] = []

    def submit(self, item: Commit, done: Callable[[Result | StorageError], None]) -> None:
        self.commits.append(item)
        places = [(0, 0) for _ in item.appends]
        asyncio.get_running_loop().call_soon(done, Committed(places, 0))


class _Replay:
    """The services of one replayed session."""

    residency_us = 0
    worker = "replay"

    def __init__(self, journal: Journal, app: App, loop: VirtualLoop, clock: VirtualClock) -> None:
        self.journal = journal
        self.clock: Clock = clock
        self.threads: Threads = InlineThreads()
        self.acting = Acting()
        self.loop: asyncio.AbstractEventLoop = loop
        self.feed = Feed()
        self.gateway = app.gateway()
        self.contracts = ContractPins(journal.store, app.contracts)
        # A replay reads what is recorded, which holds handles and no values.
        self.vault: Vault | None = None
        self._app = app
        self.is_over = loop.create_future()

    def asker(self) -> Asker:
        """What would ask models; the journal answers instead."""
        return self._app.asker(self.clock)

    def may_act_seconds(self) -> float:
        """Never: a replay acts on nothing."""
        return 0.0

    def agent(self, name: str) -> Agent:
        """A declared agent."""
        return self._app.agents[name]

    def ended(self, session: Session) -> None:
        """The session has reached its end."""
        if not self.is_over.done():
            self.is_over.set_result(None)

    def committed(self) -> None:
        """Nothing was."""

    def progressed(self, run: str) -> None:
        """Nobody waits for it."""

    def failed(self, error: StorageError) -> None:
        """The journal of a replay cannot fail."""
        raise error


def replay_problems(store: Store, row: RunRow, app: App, stage: Stage) -> Iterator[str]:
    """Replay each generation of a finished run; yields a sentence per difference."""
    entries = store.read(row.id)
    start = 0
    for end, entry in enumerate(entries):
        if entry.event.kind in _LAST:
            generation = row._replace(
                generation=row.generation - _continuations(entries[end + 1 :]) - _is_one(entry)
            )
            history = entries[start:end]
            if _executed(history, entry):
                yield from _replay(store, generation, history, entries[end:], app, stage)
            start = end


def _continuations(entries: Sequence[Entry]) -> int:
    return sum(map(_is_one, entries))


def _is_one(entry: Entry) -> int:
    return int(entry.event.kind == "run_continued")


def _executed(history: Sequence[Entry], ending: Entry) -> bool:
    """Whether the code brought the end about: one that is cancelled unbegun has none to ask."""
    never_ran = ending.event.kind == "run_cancelled" and history[-1].event.kind == "run_claimed"
    return not never_ran


def _replay(
    store: Store,
    row: RunRow,
    history: list[Entry],
    ending: Sequence[Entry],
    app: App,
    stage: Stage,
) -> Iterator[str]:
    outside, before = SilentOutside(), stage.outside
    stage.outside = outside
    try:
        commits = _commits_of(store, row, history, app)
    finally:
        stage.outside = before
    where = f"6: the replay of {row.id}, generation {row.generation},"
    for called in outside.called:
        yield f"{where} called the outside: {called}"
    if len(commits) != 1:
        kinds = [d.kind for c in commits for a in c.appends[:1] for d in a.drafts]
        yield f"{where} wanted to record {kinds} and not only its end"
    else:
        yield from _differences(where, commits[0].appends[0].drafts, ending)


def _commits_of(store: Store, row: RunRow, history: list[Entry], app: App) -> list[Commit]:
    clock = VirtualClock("replay")
    loop = VirtualLoop(clock, Surroundings(clock))
    journal = _ReplayJournal(store)
    services = _Replay(journal, app, loop, clock)
    events = History(row.id, history)
    session = Session(services, row, app.agents[row.agent], 1, events, (), _body)
    loop.call_soon(session.begin)
    loop.call_later(1.0, _give_up, services)
    loop.run_until_complete(services.is_over)
    session.close()
    loop.bury()
    return journal.commits


def _give_up(services: _Replay) -> None:
    if not services.is_over.done():
        services.is_over.set_result(None)


def _body(session: Session) -> Any:
    return agent_body(session, lambda _: "")


def _differences(where: str, drafts: Sequence[Draft], ending: Sequence[Entry]) -> Iterator[str]:
    for draft, entry in zip(drafts, ending, strict=False):
        event = entry.event
        if draft.kind != event.kind:
            yield f"{where} ends with {draft.kind} and not with {event.kind}: {draft.body!r}"
        elif draft.body != entry.body:
            yield f"{where} has {draft.kind} {draft.body!r}, and the journal {entry.body!r}"
        elif dict(draft.header) != dict(event.header):
            yield f"{where} has {draft.kind} {draft.header}, and the journal {event.header}"
