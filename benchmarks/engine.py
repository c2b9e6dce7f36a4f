"""What a scenario needs of a durable engine, and nothing about any engine in particular.

An engine is a module with the two functions of :class:`EngineModule`. The scenarios only ever run
it in processes of its own (:mod:`benchmarks.worker`), since most of them kill those.

Four agents are known to every engine, each takes one string:

- ``ten_steps``: ten steps, each returning 1 KB.
- ``held``: five such steps, a step that waits for the gate, four more.
- ``waiting``: waits for the signal ``go``, then reports itself served in a step.
- ``four_effects``: one effect of each recovery, in an order drawn from the argument, with steps in
  between.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from benchmarks.counting_client import CountingClient

__all__ = [
    "ENGINES",
    "RECOVERIES",
    "SIGNAL",
    "Counts",
    "Desk",
    "Engine",
    "EngineModule",
    "Gate",
    "Recovery",
    "Served",
    "StoreHeldError",
    "Surroundings",
    "UnknownEffect",
    "as_counts",
    "effect_order",
    "load_engine",
]

Recovery: TypeAlias = Literal["key", "lookup", "repeatable", "never"]
RECOVERIES: Sequence[Recovery] = ("key", "lookup", "repeatable", "never")

ENGINES = {"interlock": "benchmarks._interlock_agents", "plain": "benchmarks.plain_engine"}
SIGNAL = "go"


class StoreHeldError(Exception):
    """Another executor holds the store, and this one refused to start."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Runs by what they do: ``active`` ones are queued or running, ``waiting`` ones wait."""

    active: int
    waiting: int
    finished: int
    other: int

    def to_json(self) -> dict[str, int]:
        """The fields as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class UnknownEffect:
    """An effect that a person is asked about. ``argument`` is the argument of its run."""

    effect_id: str
    run_id: str
    argument: str
    recovery: str


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A step that waits while ``path`` is missing; each arrival adds a byte to ``arrivals``."""

    path: Path | None

    @property
    def arrivals(self) -> Path:
        """The file whose length is the number of arrivals at the closed gate."""
        if self.path is None:
            raise ValueError("a worker without --gate has no gate to arrive at")
        return self.path.with_name(self.path.name + ".arrivals")

    async def passed(self) -> str:
        """Return at once when the gate is open, otherwise never: the process is to be killed."""
        if self.path is not None and not self.path.exists():
            with self.arrivals.open("ab", buffering=0) as file:
                file.write(b".")
            await asyncio.Event().wait()
        return "passed"


@dataclass(frozen=True, kw_only=True)
class Served:
    """Where a run reports that its signal was served: the harness holds the clock."""

    port: int

    def report(self, argument: str) -> None:
        """Send the run's argument. Repeating is harmless: the first datagram counts."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(argument.encode(), ("127.0.0.1", self.port))


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the agents reach outside their runs."""

    gate: Gate
    served: Served | None = None
    counting: CountingClient | None = None
    settle_seconds: float = 1.0
    lease_seconds: float = 2.0


class Engine(Protocol):
    """An executor on a store."""

    async def start(self, agent: str, argument: str, *, key: str) -> str:
        """The id of a run that is on disk. The same key returns the same run."""
        ...

    async def result(self, run_id: str) -> object:
        """What the run returned, as soon as it has ended; raises if it did not complete."""
        ...

    async def signal(self, run_id: str, name: str) -> None:
        """Signal a run from inside the executor's process."""
        ...

    async def counts(self) -> Counts:
        """All runs of the store, by what they do."""
        ...


class Desk(Protocol):
    """What another process may do with a store, whether or not an executor runs on it."""

    async def counts(self) -> Counts:
        """All runs of the store, by what they do."""
        ...

    async def finished(self) -> Sequence[str]:
        """The ids of the runs that completed."""
        ...

    async def unknown_effects(self) -> Sequence[UnknownEffect]:
        """Every effect that a person can see as unknown."""
        ...

    async def resolve(self, effect_id: str, *, happened: bool) -> None:
        """A person's answer about an unknown effect."""
        ...

    async def signal(self, run_id: str, name: str) -> None:
        """Signal a run from another process."""
        ...


class EngineModule(Protocol):
    """A module that implements an engine."""

    def open_engine(
        self, store: Path, *, concurrency: int, surroundings: Surroundings
    ) -> AbstractAsyncContextManager[Engine]:
        """An executor on the store in this folder; StoreHeldError if another one holds it."""
        ...

    def open_desk(self, store: Path) -> AbstractAsyncContextManager[Desk]:
        """The store without an executor."""
        ...


def load_engine(name: str) -> EngineModule:
    """The engine of that name. ValueError for one that is not known."""
    if name not in ENGINES:
        raise ValueError(f"no engine {name!r}: one of {', '.join(ENGINES)}")
    module: object = importlib.import_module(ENGINES[name])
    return module  # type: ignore[return-value]


def effect_order(argument: str) -> Sequence[Recovery]:
    """The order of the four effects of a run: rotated by its argument, always the same."""
    turn = sum(argument.encode()) % len(RECOVERIES)
    return (*RECOVERIES[turn:], *RECOVERIES[:turn])


def as_counts(
    states: Mapping[str, int], *, active: set[str], waiting: set[str], finished: set[str]
) -> Counts:
    """Sum an engine's own states up."""
    known = active | waiting | finished
    return Counts(
        active=sum(states.get(each, 0) for each in active),
        waiting=sum(states.get(each, 0) for each in waiting),
        finished=sum(states.get(each, 0) for each in finished),
        other=sum(count for state, count in states.items() if state not in known),
    )
