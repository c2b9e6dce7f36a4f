"""Interlock as an engine of the scenarios: its agents, its tools, its executor and its desk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from benchmarks.counting_client import CountingClient, RefusedError
from benchmarks.engine import (
    SIGNAL,
    Counts,
    Gate,
    Recovery,
    StoreHeldError,
    Surroundings,
    UnknownEffect,
    as_counts,
    effect_order,
)
from benchmarks.load import STEP_RESULT, STEPS_PER_RUN
from interlock import (
    NOT_HAPPENED,
    App,
    Client,
    EffectKey,
    ExecutorOptions,
    Happened,
    LocalExecutor,
    NotHappened,
    Run,
    StartOptions,
    Tool,
)
from interlock.errors import StorageLockedError
from interlock.journal.rows import RunFilter

__all__ = ["open_desk", "open_engine"]

_ACTIVE = {"queued", "running"}
_WAITING = {"waiting"}
_FINISHED = {"completed"}
_ALL = 10_000_000
_ATTEMPTS = 20
_PAUSE = timedelta(milliseconds=50)
_GRACE = timedelta(seconds=5)


async def kilobyte(_index: int) -> str:
    """A step's work."""
    return STEP_RESULT


def build_app(store: Path, surroundings: Surroundings) -> App:
    """The application with all agents that the scenarios know."""
    app = App("bench", store=f"sqlite:///{store.absolute() / 'interlock.db'}")
    _declare_steps(app, surroundings)
    _declare_waiting(app, surroundings)
    _declare_effects(app, surroundings)
    return app


def _declare_steps(app: App, surroundings: Surroundings) -> None:
    @app.agent("ten_steps")
    async def _ten_steps(run: Run, argument: str) -> str:
        for index in range(STEPS_PER_RUN):
            await run.step(kilobyte, index)
        return argument

    @app.agent("held")
    async def _held(run: Run, argument: str) -> str:
        for index in range(STEPS_PER_RUN):
            if index == STEPS_PER_RUN // 2:
                await run.step(surroundings.gate.passed)
            else:
                await run.step(kilobyte, index)
        return argument


def _declare_waiting(app: App, surroundings: Surroundings) -> None:
    async def report(argument: str) -> str:
        if surroundings.served is not None:
            surroundings.served.report(argument)
        return "served"

    @app.agent("waiting")
    async def _waiting(run: Run, argument: str) -> str:
        await run.wait(SIGNAL)
        return await run.step(report, argument)


def _declare_effects(app: App, surroundings: Surroundings) -> None:
    tools = _declare_tools(app, surroundings)

    @app.agent("four_effects")
    async def _four_effects(run: Run, argument: str) -> str:
        for index, recovery in enumerate(effect_order(argument)):
            await run.step(kilobyte, index)
            await run.call(tools[recovery], argument)
        return argument


def _declare_tools(app: App, surroundings: Surroundings) -> dict[Recovery, Tool[..., str]]:
    def client() -> CountingClient:
        if surroundings.counting is None:
            raise RuntimeError("a worker that makes effects needs --counting URL")
        return surroundings.counting

    async def look_up(run: str, key: EffectKey) -> Happened[str] | NotHappened:
        return Happened("before") if await client().look_up(run, key) else NOT_HAPPENED

    async def with_key(run: str, key: EffectKey) -> str:
        return await client().make_with_key(run, key)

    async def with_lookup(run: str, key: EffectKey) -> str:
        return await client().make_with_lookup(run, key)

    async def repeatable(run: str, key: EffectKey) -> str:
        return await client().make_repeatable(run, key)

    async def never(run: str, key: EffectKey) -> str:
        return await client().make_never(run, key)

    functions: dict[Recovery, Callable[[str, EffectKey], Awaitable[str]]] = {
        "key": with_key,
        "lookup": with_lookup,
        "repeatable": repeatable,
        "never": never,
    }
    return {
        recovery: app.tool(
            effect="write",
            recovery=recovery,
            lookup=look_up if recovery == "lookup" else None,
            settle=timedelta(seconds=surroundings.settle_seconds),
            not_made=(RefusedError,),
            attempts=_ATTEMPTS,
            pause=_PAUSE,
        )(function)
        for recovery, function in functions.items()
    }


class InterlockEngine:
    """An executor of the scenarios' agents."""

    def __init__(self, executor: LocalExecutor) -> None:
        self._executor = executor

    async def start(self, agent: str, argument: str, *, key: str) -> str:
        """The id of a run that is on disk."""
        handle = await self._executor.start(agent, argument, StartOptions(idempotency_key=key))
        return handle.id

    async def run_to_end(self, agent: str, argument: str) -> object:
        """Start a run and wait for its result."""
        return await (await self._executor.start(agent, argument)).result()

    async def result(self, run_id: str) -> object:
        """What the run returned."""
        row = (await self._executor.executor.when_ended(run_id)).row
        return self._executor.result_of(row, self._executor.client.agent(row.agent))

    async def signal(self, run_id: str, name: str) -> None:
        """Signal a run from inside this process."""
        await self._executor.client.signal(run_id, name)

    async def counts(self) -> Counts:
        """All runs by what they do."""
        return _counts(self._executor.store.run_counts())


def _counts(states: dict[str, int]) -> Counts:
    return as_counts(states, active=_ACTIVE, waiting=_WAITING, finished=_FINISHED)


@asynccontextmanager
async def open_engine(
    store: Path, *, concurrency: int, surroundings: Surroundings
) -> AsyncIterator[InterlockEngine]:
    """An executor on the folder's database; StoreHeldError if another process holds it."""
    app = build_app(store, surroundings)
    options = ExecutorOptions(concurrency=concurrency)
    async with AsyncExitStack() as stack:
        try:
            executor = await stack.enter_async_context(app.executor(options, grace=_GRACE))
        except StorageLockedError as error:
            raise StoreHeldError(str(error)) from error
        yield InterlockEngine(executor)


class InterlockDesk:
    """The database without an executor: what a person and other processes do."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._store = client.journal.store

    async def counts(self) -> Counts:
        """All runs by what they do."""
        return _counts(self._store.run_counts())

    async def finished(self) -> Sequence[str]:
        """The ids of the runs that completed."""
        return [row.id for row in self._store.runs(RunFilter(states=("completed",), limit=_ALL))]

    async def unknown_effects(self) -> Sequence[UnknownEffect]:
        """The effects that a person is asked about, as the inbox shows them."""
        shown: list[UnknownEffect] = []
        for task in self._store.inbox(("open",), limit=_ALL):
            if task.kind != "effect":
                continue
            question = self._client.question(task)
            effect = self._client.effect(question["effect_key"])
            argument = str(question["arguments"]["run"])
            shown.append(
                UnknownEffect(
                    effect_id=effect.effect_key,
                    run_id=task.run,
                    argument=argument,
                    recovery=effect.recovery,
                )
            )
        return shown

    async def resolve(self, effect_id: str, *, happened: bool) -> None:
        """A person's answer about an unknown effect."""
        verdict = "happened" if happened else "not_happened"
        await self._client.resolve(effect_id, verdict, result="before" if happened else None)

    async def signal(self, run_id: str, name: str) -> None:
        """Signal a run from another process."""
        await self._client.signal(run_id, name)


@asynccontextmanager
async def open_desk(store: Path) -> AsyncIterator[InterlockDesk]:
    """The folder's database, without an executor."""
    app = build_app(store, Surroundings(gate=Gate(path=None)))
    async with app.client() as client:
        yield InterlockDesk(client)
