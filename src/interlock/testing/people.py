"""Everybody outside of the process: who starts the run, signals, cancels and decides.

They come through one of several doors: the executor's own client, or a connection of another
process. What was not acknowledged they send again with the same id, as callers do. What was
acknowledged they remember, and `invariants` holds the journal to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from interlock.clock import Dice
from interlock.errors import ConflictError
from interlock.journal.rows import InboxRow
from interlock.journal.store import Store
from interlock.orchestrator.client import Client
from interlock.orchestrator.start import StartOptions
from interlock.testing.external import ExternalSystem
from interlock.testing.interpreter import AGENT
from interlock.testing.program import Program
from interlock.testing.virtual_clock import VirtualClock

__all__ = ["Acknowledged", "People", "StuckError"]

_TICK_US: Final = 100_000
_STUCK_US: Final = 30_000_000
_EFFECT_PATIENCE_US: Final = 800_000
_UNFINISHED: Final = frozenset({"queued", "running", "waiting"})


class StuckError(Exception):
    """Nothing has been recorded for a long time, and runs are unfinished."""


@dataclass(kw_only=True)
class Acknowledged:
    """What the system has promised to people."""

    runs: set[str] = field(default_factory=set[str])
    signals: dict[str, str] = field(default_factory=dict[str, str])
    decisions: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    cancelled: bool = False


@dataclass(kw_only=True)
class _Errand:
    """Something to do at a moment, repeated until it is acknowledged."""

    at_us: int
    act: Callable[[Client], Awaitable[None]]
    busy: bool = False
    done: bool = False


class People:
    """The outside of one program. They live longer than any process."""

    def __init__(
        self, program: Program, external: ExternalSystem, clock: VirtualClock, observer: Store
    ) -> None:
        self.promised = Acknowledged()
        self.problems: list[str] = []
        self._program = program
        self._external = external
        self._clock = clock
        self._observer = observer
        self._dice = Dice(f"people:{program.seed}")
        self._asked: set[str] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._signals = list(program.signals)
        self._last_position = 0
        self._counted_at = -1
        self._counts: dict[str, int] = {}
        self._last_progress_us = clock.now_us()
        now_us = clock.now_us()
        self._errands = [_Errand(at_us=now_us, act=self._start)]
        if self._dice.random() < 0.3:
            self._errands.append(_Errand(at_us=now_us + 50_000, act=self._start))

    async def live(self, doors: Sequence[Client]) -> None:
        """Do what is due until all runs are finished. Raises `StuckError`."""
        while not self._finished():
            self._do_what_is_due(doors)
            await asyncio.sleep((self._next_us() - self._clock.now_us()) / 1e6)

    def _do_what_is_due(self, doors: Sequence[Client]) -> None:
        now_us = self._clock.now_us()
        self._look_around(now_us)
        for errand in self._errands:
            if errand.at_us <= now_us and not errand.done and not errand.busy:
                errand.busy = True
                door = self._dice.choice(doors)
                task = asyncio.get_running_loop().create_task(self._do(errand, door))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    def restarted(self) -> None:
        """The process has died: what was under way is to be sent again."""
        self._last_progress_us = self._clock.now_us()
        for errand in self._errands:
            errand.busy = False

    async def _do(self, errand: _Errand, door: Client) -> None:
        try:
            await errand.act(door)
        except Exception as error:  # noqa: BLE001 - callers get only the errors that they handle
            self.problems.append(f"a caller got {error!r}")
        errand.busy = False
        errand.done = True

    def _next_us(self) -> int:
        now_us = self._clock.now_us()
        coming = [e.at_us for e in self._errands if not e.done and e.at_us > now_us]
        return min([*coming, now_us + _TICK_US])

    def _finished(self) -> bool:
        if any(e.busy or (not e.done and e.at_us <= self._clock.now_us()) for e in self._errands):
            return False
        if self._counted_at != self._external.position:  # Else nothing can have changed.
            self._counted_at = self._external.position
            self._counts = self._observer.run_counts()
        return bool(self._counts) and not any(self._counts.get(state) for state in _UNFINISHED)

    def _look_around(self, now_us: int) -> None:
        self._signal_those_who_began(now_us)
        if self._external.position != self._last_position:
            self._last_position = self._external.position
            self._last_progress_us = now_us
            self._look_into_the_inbox(now_us)
        elif now_us - self._last_progress_us > _STUCK_US:
            raise StuckError

    def _look_into_the_inbox(self, now_us: int) -> None:
        for row in self._observer.inbox():
            if row.id not in self._asked:
                self._asked.add(row.id)
                self._plan_decision(row, now_us)

    # Starting, cancelling, signalling.

    async def _start(self, door: Client) -> None:
        program = self._program
        options = StartOptions(
            idempotency_key="start",
            start_after=_duration(program.start_after_ms),
            deadline=_duration(program.deadline_ms),
        )
        started = await door.start(AGENT, {"label": "root", "of": program.root}, options)
        if started.run not in self.promised.runs:
            self.promised.runs.add(started.run)
            self._external.introduce("root", started.run)
        if program.cancel_at_ms is not None:
            at_us = self._clock.now_us() + program.cancel_at_ms * 1000
            self._errands.append(_Errand(at_us=at_us, act=self._cancel))

    async def _cancel(self, door: Client) -> None:
        try:
            await door.cancel(self._external.runs["root"], message_id="cancel", by="somebody")
        except ConflictError:
            return
        self.promised.cancelled = True

    def _signal_those_who_began(self, now_us: int) -> None:
        known = [s for s in self._signals if s[0] in self._external.runs]
        for signal in known:
            self._signals.remove(signal)
            label, name, token, at_ms, duplicate = signal
            run = self._external.runs[label]
            for delay_ms in (0, 40) if duplicate else (0,):
                at_us = now_us + (at_ms + delay_ms) * 1000
                self._errands.append(_Errand(at_us=at_us, act=self._signaller(run, name, token)))

    def _signaller(self, run: str, name: str, token: str) -> Callable[[Client], Awaitable[None]]:
        async def send(door: Client) -> None:
            try:
                await door.signal(run, name, token, message_id=token)
            except ConflictError:
                return
            self.promised.signals[token] = run

        return send

    # Deciding.

    def _plan_decision(self, row: InboxRow, now_us: int) -> None:
        delay_us = self._dice.randint(0, 300_000)
        if row.kind == "effect":
            # A person asks the other system, and not before everything under way has arrived.
            delay_us += _EFFECT_PATIENCE_US
        else:
            delay_us *= 3
        deciders = ("ann", "bob") if self._dice.random() < 0.3 else ("ann",)
        for by in deciders:
            self._errands.append(_Errand(at_us=now_us + delay_us, act=self._decider(row, by)))

    def _decider(self, row: InboxRow, by: str) -> Callable[[Client], Awaitable[None]]:
        directly = self._dice.random() < 0.3
        choice = Dice(f"choice:{self._program.seed}:{row.key}").choice(("yes", "no"))

        async def decide(door: Client) -> None:
            try:
                if row.kind == "effect":
                    await self._resolve(door, row, by, directly=directly)
                else:
                    await door.decide(row.id, choice, by=by)
            except ConflictError:
                return
            self.promised.decisions.setdefault(row.id, []).append(by)

        return decide

    async def _resolve(self, door: Client, row: InboxRow, by: str, *, directly: bool) -> None:
        question: dict[str, Any] = door.question(row)
        operation = self._external.operations[question["arguments"]["name"]]
        verdict = "happened" if operation.made else "not_happened"
        result = f"made {operation.name}" if operation.made else None
        if directly:
            key = question["effect_key"]
            await door.resolve(key, verdict, result=result, message_id=f"{row.id}:{by}", by=by)
        else:
            await door.decide(row.id, verdict, value=result, by=by)


def _duration(milliseconds: int | None) -> timedelta | None:
    return None if milliseconds is None else timedelta(milliseconds=milliseconds)
