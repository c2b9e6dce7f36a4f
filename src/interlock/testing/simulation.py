"""One generated program from its start to its end, through as many deaths as a plan asks for.

A simulation owns a journal file, an external system, the people outside and virtual time. It starts
one executor process after the other on the same file until every run is finished, and then has
`invariants` look at what is left. It raises nothing: what went wrong is in its `Finding`.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from interlock.app import App
from interlock.clock import Dice
from interlock.journal.guard import Commit, Committed
from interlock.journal.journal import Journal
from interlock.journal.rows import RunFilter
from interlock.orchestrator.client import Client
from interlock.orchestrator.executor import Executor, ExecutorOptions
from interlock.testing.crashing import CrashPlan, NoCrash, SimulatedStore
from interlock.testing.external import ExternalSystem
from interlock.testing.interpreter import Stage, generated_app
from interlock.testing.invariants import Evidence, examine, examine_rest
from interlock.testing.people import People, StuckError
from interlock.testing.program import Program
from interlock.testing.variant import ENGINE, Variant
from interlock.testing.virtual_clock import (
    SimulatedDeath,
    Surroundings,
    VirtualClock,
    VirtualLoop,
    VirtualThreads,
)

__all__ = ["Ending", "Finding", "Interruption", "Simulation", "Workshop"]

_LIVES_AT_MOST: Final = 500
_POLL: Final = timedelta(milliseconds=100)
_VERSION: Final = "1"
_BORING: Final = frozenset(("code_version", "priority", "seed", "tenant", "waits", "worker"))
_Life = Literal["finished", "dead", "stuck", "failed"]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a program ended, as far as a settled one must always end the same."""

    state: str = ""
    outcome: str = ""
    result: str = ""
    notes: tuple[str, ...] = ()
    made: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Finding:
    """What a simulation found. `lives` counts processes."""

    violations: list[str] = field(default_factory=list[str])
    ending: Ending = field(default_factory=Ending)
    lives: int = 0
    groups: int = 0
    runs: int = 0
    events: int = 0
    calls: int = 0
    journal: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True)
class Interruption:
    """An end of the first process at a moment of time: by death, or by an orderly drain."""

    at_ms: int
    orderly: bool


class Workshop:
    """What simulations of one variant share: its app, and an empty journal file to copy."""

    def __init__(self, folder: Path, variant: Variant = ENGINE) -> None:
        self.variant = variant
        self.stage = Stage()
        self.app: App = generated_app(self.stage, variant.tool)
        self.path = str(folder / f"journal-{variant.name or 'engine'}.db")
        self._template = f"{self.path}.template"
        clock = VirtualClock("template")
        variant.store(self._template, clock, lambda _: None, NoCrash()).close()

    def new_file(self) -> str:
        """An empty journal, in the place of the last one."""
        for ending in ("-wal", "-shm"):
            Path(f"{self.path}{ending}").unlink(missing_ok=True)
        shutil.copyfile(self._template, self.path)
        return self.path


class _Lease:
    """The right to act, which a simulated process has as long as it lives."""

    def remaining_seconds(self) -> float:
        return 3600.0


class Simulation:
    """One program under one plan."""

    def __init__(
        self,
        program: Program,
        workshop: Workshop,
        plan: CrashPlan,
        interruption: Interruption | None = None,
    ) -> None:
        self._program = program
        self._workshop = workshop
        self._plan = plan
        self._interruption = interruption
        self._clock = VirtualClock(f"clock:{program.seed}")
        self._dice = Dice(f"simulation:{program.seed}")
        self._surroundings = Surroundings(self._clock)
        self.external = ExternalSystem(program.root, self._surroundings)
        self._path = workshop.new_file()
        self._store: SimulatedStore | None = None
        self.observer = self._open(NoCrash())
        self.people = People(program, self.external, self._clock, self.observer)
        self.finding = Finding()
        self._frozen: Sequence[Commit] = ()
        workshop.stage.outside = self.external

    def run(self) -> Finding:
        """Live until all runs are finished, then examine what is left."""
        try:
            self._live_until_finished()
            self._examine()
        finally:
            self._close_store()
            self.observer.close()
        return self.finding

    def _open(self, plan: CrashPlan) -> SimulatedStore:
        return self._workshop.variant.store(self._path, self._clock, self._see, plan)

    def _see(self, position: int) -> None:
        self.external.position = max(self.external.position, position)
        self.finding.groups += 1

    def _live_until_finished(self) -> None:
        for _ in range(_LIVES_AT_MOST):
            self.finding.lives += 1
            ending = self._live()
            if ending in ("finished", "failed"):
                return
            if ending == "stuck":
                self._complain("4: nothing happens any more while runs are unfinished", stuck=True)
                return
            self.finding.violations += examine_rest(self.observer)
            self._rest()
        self._complain(f"4: not finished after {_LIVES_AT_MOST} processes", stuck=True)

    def _complain(self, text: str, *, stuck: bool = False) -> None:
        rows = self.observer.runs(RunFilter(limit=20)) if stuck else []
        unfinished = [
            f"{row.id} is {row.state}, wake_at_us={row.wake_at_us}, waits={list(row.waits)}"
            for row in rows
            if row.state in ("queued", "running", "waiting")
        ]
        self.finding.violations.append("; ".join([text, *unfinished]))

    # One process.

    def _live(self) -> _Life:
        loop = VirtualLoop(self._clock, self._surroundings)
        store = self._store_of_next_process()
        process = _Process(self, loop, store)
        self.external.dead = False
        try:
            return loop.run_until_complete(process.main())
        except SimulatedDeath:
            self.external.dead = True
            return "dead"
        except StuckError:
            self.external.dead = True
            return "stuck"
        except Exception as error:  # noqa: BLE001 - whatever stops a process is a finding
            self._complain(f"the process failed with {error!r}")
            return "failed"
        finally:
            self._bury(loop, process, store)

    def _store_of_next_process(self) -> SimulatedStore:
        """A store on the file, opened afresh for one process in four, since that takes longest."""
        if self._store is not None and self._dice.random() < 0.75:
            self._store.survive()
            return self._store
        self._close_store()
        self._store = self._open(self._plan)
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.discard()
            self._store.close()

    def _bury(self, loop: VirtualLoop, process: _Process, store: SimulatedStore) -> None:
        self.finding.violations += [f"a callback failed: {p}" for p in loop.problems]
        store.discard()
        process.executor.stop()
        loop.bury()
        self.thaw()
        self._frozen = store.interrupted
        self.people.restarted()

    def new_process_parts(self, store: SimulatedStore) -> tuple[Executor, Client, Client]:
        """An executor, its own client, and the client of another process."""
        variant, app = self._workshop.variant, self._workshop.app
        journal = variant.journal(store, self._disk_delay_us)
        residency = timedelta(milliseconds=self._program.residency_ms)
        options = ExecutorOptions(
            concurrency=self._program.concurrency, residency=residency, poll=_POLL
        )
        executor = Executor(
            journal=journal,
            clock=self._clock,
            threads=VirtualThreads(self._thread_delay_us),
            lease=_Lease(),
            agents=app.agents,
            options=options,
            code_version=_VERSION,
            asker=lambda: app.asker(self._clock),
            session_type=variant.session,
        )
        inside = Client(journal, self._clock, app.agents, _VERSION, executor)
        elsewhere = Journal(self.observer, mode="inline")
        return executor, inside, Client(elsewhere, self._clock, app.agents, _VERSION)

    def _disk_delay_us(self) -> int:
        slowest = self._program.disk_us
        return self._dice.randint(1, slowest) if slowest else 0

    def _thread_delay_us(self) -> int:
        longest = 400_000 if self._dice.random() < 0.1 else 60_000
        return self._dice.randint(0, longest)

    def interrupt_when_due(self, drain: Callable[[], None]) -> None:
        """Arrange for the planned interruption of this process, once."""
        interruption, self._interruption = self._interruption, None
        if interruption is None:
            return

        def happen() -> None:
            if interruption.orderly:
                drain()
            elif not self.external.dead:
                raise SimulatedDeath

        self._surroundings.after(interruption.at_ms * 1000, happen)

    # Between two processes.

    def _rest(self) -> None:
        """The machine is down for a while; calls that are under way still arrive."""
        if self._dice.random() < 0.4:
            self._surroundings.pass_time(self._dice.randint(1, 1_500_000))

    def thaw(self) -> None:
        """A commit of a process that was only frozen reaches the store after its successor's.

        Only commits that claim to hold a run are tried, and only when somebody else has claimed it
        meanwhile: none of them may be accepted.
        """
        frozen, self._frozen = self._frozen, ()
        stale = [item for item in frozen if self._is_stale(item)]
        if not stale:
            return
        for item, result in zip(stale, self.observer.commit(stale), strict=True):
            if isinstance(result, Committed):
                kinds = [draft.kind for draft in item.appends[0].drafts]
                self._complain(f"5: {kinds} was accepted from a process that had lost the run")

    def _is_stale(self, item: Commit) -> bool:
        for append in item.appends:
            head = self.observer.head(append.stream)
            if append.epoch and head is not None and head.epoch > append.epoch:
                return True
        return False

    # The end.

    def _examine(self) -> None:
        evidence = Evidence(
            store=self.observer,
            external=self.external,
            promised=self.people.promised,
            program=self._program,
            app=self._workshop.app,
            stage=self._workshop.stage,
            thorough=self._dice.random() < 0.3,
        )
        finding = self.finding
        finding.violations += self.external.violations + self.people.problems
        finding.violations += examine(evidence)
        finding.runs, finding.events = evidence.runs, evidence.events
        finding.calls = len(self.external.sendings)
        finding.journal = list(self._journal())
        finding.ending = self._ending(evidence)

    def _journal(self) -> Iterator[str]:
        """The journal as text, a line per event, when something is wrong with it."""
        if not self.finding.violations:
            return
        first_us = 0
        for event in self.observer.scan(limit=100_000):
            first_us = first_us or event.at_us
            facts = {k: v for k, v in event.header.items() if k not in _BORING}
            yield (
                f"{event.position:4} {(event.at_us - first_us) / 1000:9.1f} ms {event.stream[-8:]} "
                f"{event.seq:3} {event.epoch:2} {event.kind} {event.key} {facts or ''}"
            )

    def _ending(self, evidence: Evidence) -> Ending:
        row = self.observer.run(self.external.runs.get("root", ""))
        if row is None:
            return Ending()
        entry = self.observer.entry(row.result_position or 0)
        made = sorted(name for name, op in self.external.operations.items() if op.made)
        return Ending(
            state=row.state,
            outcome=row.outcome,
            result=(entry.body or b"").decode() if entry is not None else "",
            notes=tuple(sorted(evidence.notes(row.id))),
            made=tuple(made),
        )


class _Process:
    """One executor process with the people at its doors."""

    def __init__(self, simulation: Simulation, loop: VirtualLoop, store: SimulatedStore) -> None:
        self._simulation = simulation
        self._loop = loop
        self._store = store
        self.executor, *self._doors = simulation.new_process_parts(store)
        self._drained = False

    async def main(self) -> _Life:
        """Execute until the runs are finished, or the process is drained."""
        simulation = self._simulation
        simulation.interrupt_when_due(self._drain)
        execution = asyncio.create_task(self.executor.run())
        outside = asyncio.create_task(self._people())
        done, _ = await asyncio.wait({execution, outside}, return_when=asyncio.FIRST_COMPLETED)
        if execution not in done:
            outside.result()
            self.executor.drain()
        await execution
        outside.cancel()
        return "finished" if outside in done else "dead"

    async def _people(self) -> None:
        await self._simulation.people.live(self._doors)

    def _drain(self) -> None:
        self._drained = True
        self.executor.drain()
