"""A plain checkpointing engine: after a crash it does again what has no kept result.

That is what a durable workflow gives without an effect protocol. It is here so that the scenarios
have something to be compared with, and so that the chaos scenario's judge is seen to find doubles
where there are some: an engine of this kind makes an effect again whenever it dies between the
call and the checkpoint.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from benchmarks.counting_client import CountingClient, RefusedError
from benchmarks.engine import Counts, Surroundings, UnknownEffect, effect_order
from benchmarks.group_commit import GroupCommitJournal
from benchmarks.load import STEP_RESULT, STEPS_PER_RUN

__all__ = ["open_desk", "open_engine"]

_RETRY_SECONDS = 0.05
_FILE = "plain.db"


class PlainRun:
    """The operations of one run: a step returns its recorded result or makes one and records it."""

    def __init__(self, engine: PlainEngine, run_id: str, agent: str, argument: str) -> None:
        self.run_id, self.agent, self.argument = run_id, agent, argument
        self.results: list[str] = []
        self.signalled = asyncio.Event()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waiting = False
        self._engine = engine
        self._next = 0

    async def step(self, action: Callable[[], Awaitable[str]]) -> str:
        """The result of this step, made at most once more than it was recorded."""
        index = self._next
        self._next += 1
        if index < len(self.results):
            return self.results[index]
        result = await _until_it_works(action)
        self.results.append(result)
        await self._engine.journal.append(
            (self.run_id, index + 1, "step", json.dumps(result), time.time())
        )
        return result

    async def signal(self) -> str:
        """Wait for the signal, without holding a slot."""
        self.waiting = True
        self._engine.slots.release()
        await self.signalled.wait()
        await self._engine.slots.acquire()
        self.waiting = False
        return "signalled"


async def _until_it_works(action: Callable[[], Awaitable[str]]) -> str:
    while True:
        try:
            return await action()
        except (httpx.HTTPError, RefusedError):
            await asyncio.sleep(_RETRY_SECONDS)


class PlainEngine:
    """An executor in this process. It holds no lock: nothing stops a second one."""

    def __init__(
        self, journal: GroupCommitJournal, concurrency: int, surroundings: Surroundings
    ) -> None:
        self.journal = journal
        self.slots = asyncio.Semaphore(concurrency)
        self._surroundings = surroundings
        self._runs: dict[str, PlainRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, agent: str, argument: str, *, key: str) -> str:
        """The run's id, which is its key."""
        if key not in self._runs:
            self._runs[key] = PlainRun(self, key, agent, argument)
            await self.journal.append(
                (key, 0, "started", json.dumps([agent, argument]), time.time())
            )
            self._launch(self._runs[key])
        return key

    async def result(self, run_id: str) -> object:
        """What the run returned."""
        return await asyncio.shield(self._runs[run_id].ended)

    async def signal(self, run_id: str, name: str) -> None:
        """Signal a run; kept in memory only."""
        del name
        self._runs[run_id].signalled.set()

    async def counts(self) -> Counts:
        """The runs by what they do."""
        finished = sum(run.ended.done() for run in self._runs.values())
        waiting = sum(run.waiting for run in self._runs.values())
        active = len(self._runs) - finished - waiting
        return Counts(active=active, waiting=waiting, finished=finished, other=0)

    def resume(self) -> None:
        """Read every run from the journal and go on with those that have not finished."""
        for run_id, seq, kind, body, _ in self.journal.rows():
            if kind == "started":
                agent, argument = json.loads(body)
                self._runs[run_id] = PlainRun(self, run_id, agent, argument)
            elif kind == "step" and seq == len(self._runs[run_id].results) + 1:
                self._runs[run_id].results.append(json.loads(body))
            elif kind == "finished":
                self._runs[run_id].ended.set_result(json.loads(body))
        for run in self._runs.values():
            if not run.ended.done():
                self._launch(run)

    async def close(self) -> None:
        """Stop where the runs are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.journal.close()

    def _launch(self, run: PlainRun) -> None:
        task = asyncio.create_task(self._execute(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _execute(self, run: PlainRun) -> None:
        async with self.slots:
            await _AGENTS[run.agent](run, self._surroundings)
            await self.journal.append(
                (run.run_id, 10_000, "finished", json.dumps("done"), time.time())
            )
        run.ended.set_result("done")


async def _kilobyte() -> str:
    return STEP_RESULT


async def _ten_steps(run: PlainRun, _: Surroundings) -> None:
    for _index in range(STEPS_PER_RUN):
        await run.step(_kilobyte)


async def _held(run: PlainRun, surroundings: Surroundings) -> None:
    for index in range(STEPS_PER_RUN):
        await run.step(surroundings.gate.passed if index == STEPS_PER_RUN // 2 else _kilobyte)


async def _waiting(run: PlainRun, surroundings: Surroundings) -> None:
    await run.signal()
    served = surroundings.served

    async def report() -> str:
        if served is not None:
            served.report(run.argument)
        return "served"

    await run.step(report)


async def _four_effects(run: PlainRun, surroundings: Surroundings) -> None:
    client = surroundings.counting
    assert client is not None
    for recovery in effect_order(run.argument):
        await run.step(_kilobyte)
        await run.step(_effect(client, recovery, run.argument))


def _effect(client: CountingClient, recovery: str, argument: str) -> Callable[[], Awaitable[str]]:
    # Each attempt has a key of its own, as a call without an effect protocol would have.
    calls = {
        "key": client.make_with_key,
        "lookup": client.make_with_lookup,
        "repeatable": client.make_repeatable,
        "never": client.make_never,
    }
    return lambda: calls[recovery](argument, uuid.uuid4().hex)


_AGENTS: dict[str, Callable[[PlainRun, Surroundings], Awaitable[None]]] = {
    "ten_steps": _ten_steps,
    "held": _held,
    "waiting": _waiting,
    "four_effects": _four_effects,
}


@asynccontextmanager
async def open_engine(
    store: Path, *, concurrency: int, surroundings: Surroundings
) -> AsyncIterator[PlainEngine]:
    """An executor on the folder's file, going on with what it finds there."""
    engine = PlainEngine(GroupCommitJournal(store / _FILE), concurrency, surroundings)
    engine.resume()
    try:
        yield engine
    finally:
        await engine.close()


class PlainDesk:
    """What can be read from the file; this engine knows no person and takes no answers."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def counts(self) -> Counts:
        """Finished and unfinished runs: the file does not say what the unfinished do."""
        finished = len(await self.finished())
        (all_runs,) = self._connection.execute(
            "SELECT COUNT(*) FROM event WHERE kind = 'started'"
        ).fetchone()
        return Counts(active=all_runs - finished, waiting=0, finished=finished, other=0)

    async def finished(self) -> Sequence[str]:
        """The runs that completed."""
        return [
            run
            for (run,) in self._connection.execute("SELECT run FROM event WHERE kind = 'finished'")
        ]

    async def unknown_effects(self) -> Sequence[UnknownEffect]:
        """None: this engine does not know that an outcome can be unknown."""
        return []

    async def resolve(self, effect_id: str, *, happened: bool) -> None:
        """Not possible here."""
        raise NotImplementedError(
            f"the plain engine has no effect to resolve: {effect_id!r} ({happened})"
        )

    async def signal(self, run_id: str, name: str) -> None:
        """Not possible here."""
        raise NotImplementedError(
            f"the plain engine takes no signal from outside: {name!r} for {run_id!r}"
        )


@asynccontextmanager
async def open_desk(store: Path) -> AsyncIterator[PlainDesk]:
    """The folder's file, to be read."""
    connection = sqlite3.connect(store / _FILE, isolation_level=None)
    try:
        yield PlainDesk(connection)
    finally:
        connection.close()
