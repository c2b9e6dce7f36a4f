"""Admission: which runs execute next.

Runs that had begun before a crash go first, then those whose moment has come, then the queue: by
priority, then to the tenant with the fewest executing runs, then first come first. Limits per agent
and in total hold for all of them. Everything is asked of the store in order; nothing is copied.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from typing import Final

from interlock.journal.rows import QueueGroup, RunRow, RunState
from interlock.journal.store import Store
from interlock.orchestrator.agent import Agent

__all__ = ["Admission"]

_ENDED_AT_ONCE: Final = 100
_CLAIMS_OF_A_SUSPECT: Final = 2


class Admission:
    """Chooses runs to claim, and counts what executes."""

    def __init__(self, store: Store, agents: Mapping[str, Agent], concurrency: int) -> None:
        self._store = store
        self._agents = agents
        self._concurrency = concurrency
        self._interrupted: collections.deque[str] = collections.deque()
        # Runs that were executing at several crashes in a row without getting further. One of them
        # may be the reason: they are tried one after the other, so that only that one is parked.
        self._suspects: collections.deque[str] = collections.deque()
        self._suspect = ""
        self._by_agent: collections.Counter[str] = collections.Counter()
        self._by_tenant: collections.Counter[str] = collections.Counter()
        self._changed = True
        self._starved = False
        self._look_again_us: int | None = None
        self.executing: dict[str, tuple[str, str]] = {}

    def recover(self) -> None:
        """Take note of the runs that a crash interrupted."""
        self._interrupted.extend(self._store.running())

    def changed(self) -> None:
        """Something was committed that may make a run ready."""
        self._changed = True

    def wakes_at(self, at_us: int) -> None:
        """A run went to rest and has something to do at this moment."""
        if self._look_again_us is None or at_us < self._look_again_us:
            self._look_again_us = at_us

    def began(self, run: str, agent: str, tenant: str) -> None:
        """A run occupies a place."""
        self.executing[run] = (agent, tenant)
        self._by_agent[agent] += 1
        self._by_tenant[tenant] += 1

    def ended(self, run: str) -> None:
        """A run's place is free. Repeatable."""
        self._changed = self.cleared(run) or self._changed
        place = self.executing.pop(run, None)
        if place is not None:
            self._by_agent[place[0]] -= 1
            self._by_tenant[place[1]] -= 1
            # Only then may somebody have been waiting for this place.
            self._changed = self._changed or self._starved

    def idle(self) -> bool:
        """Whether nothing is known to wait for a place."""
        return not (self._interrupted or self._changed or self._starved)

    def has_room(self, agent: Agent) -> bool:
        """Whether one more run of this agent may execute now."""
        return self._left_for(agent) > 0

    def to_be_ended(self, now_us: int) -> list[RunRow]:
        """Runs that may end without executing: cancelled or late in the queue, or parked.

        They need no place. Asked only when something has changed.
        """
        if not self._changed and (self._look_again_us is None or now_us < self._look_again_us):
            return []
        found = self._store.due(now_us, _ENDED_AT_ONCE, (), ("queued", "parked"))
        return [row for row in found if row.id not in self.executing]

    def next(self, now_us: int) -> Iterator[RunRow]:
        """The runs to claim now. The caller reports each with `began` before taking the next."""
        yield from self._from_crash()
        if not self._changed and (self._look_again_us is None or now_us < self._look_again_us):
            return
        self._changed = False
        yield from self._woken(now_us)
        yield from self._from_queue(now_us)
        self._starved = self._some_wait(now_us)
        self._look_again_us = self._store.next_wake_us(now_us)

    def _some_wait(self, now_us: int) -> bool:
        # Without this look, a full executor would send every later run through the queue.
        if self._free() > 0 and not self._full_agents():
            return False
        queued = self._store.queue_groups(now_us)
        return bool(queued or self._store.due(now_us, 1, (), ("waiting",)) or self._interrupted)

    def _from_crash(self) -> Iterator[RunRow]:
        while self._interrupted and self._free() > 0:
            row = self._store.run(self._interrupted.popleft())
            if row is None or row.state != "running" or row.id in self.executing:
                continue
            if row.claims >= _CLAIMS_OF_A_SUSPECT:
                self._suspects.append(row.id)
            else:
                yield row
        while self._suspects and self._suspect == "" and self._free() > 0:
            row = self._store.run(self._suspects.popleft())
            if row is not None:
                self._suspect = row.id
                yield row

    def cleared(self, run: str) -> bool:
        """A run has got further: if it was the suspect, the next one's turn has come."""
        if run != self._suspect:
            return False
        self._suspect = ""
        return True

    def _free(self) -> int:
        return self._concurrency - len(self.executing)

    def _full_agents(self) -> list[str]:
        return [name for name, agent in self._agents.items() if self._left_for(agent) <= 0]

    def _left_for(self, agent: Agent) -> int:
        if agent.concurrency is None:
            return self._free()
        return min(self._free(), agent.concurrency - self._by_agent[agent.name])

    def _woken(self, now_us: int) -> Iterator[RunRow]:
        # A woken run that executes already is in the answer too: ask for that many more.
        limit = self._free() + len(self.executing)
        states: tuple[RunState, ...] = ("waiting",)
        for row in self._store.due(now_us, limit, self._full_agents(), states):
            agent = self._agents.get(row.agent)
            room = self._free() if agent is None else self._left_for(agent)
            if room > 0 and row.id not in self.executing:
                yield row

    def _from_queue(self, now_us: int) -> Iterator[RunRow]:
        if self._free() <= 0:
            return
        by_priority: dict[int, list[QueueGroup]] = {}
        for group in self._store.queue_groups(now_us):
            by_priority.setdefault(group.priority, []).append(group)
        for priority in sorted(by_priority, reverse=True):
            yield from self._fairly(by_priority[priority], now_us)

    def _fairly(self, groups: list[QueueGroup], now_us: int) -> Iterator[RunRow]:
        queues = {group: self._queue(group, now_us) for group in groups}
        while queues and self._free() > 0:
            group = min(queues, key=lambda g: (self._by_tenant[g.tenant], g.tenant, g.agent))
            agent = self._agents.get(group.agent)
            if agent is not None and self._left_for(agent) <= 0:
                del queues[group]
                continue
            row = next(queues[group], None)
            if row is None:
                del queues[group]
            else:
                yield row

    def _queue(self, group: QueueGroup, now_us: int) -> Iterator[RunRow]:
        limit = self._free() + len(self.executing)
        for row in self._store.queued(group, now_us, limit):
            if row.id not in self.executing:
                yield row
