"""The process that a scenario starts, asks, freezes and kills: an engine, or the desk beside it.

It speaks lines of JSON: events on standard output, requests ``{"do": …}`` on standard input, and
it ends with its whole process group when standard input closes. Roles:

- ``load``: run N runs, a fixed number at once, and print how long they took.
- ``serve``: start N runs, then answer requests (``counts``, ``signal``) until it is killed.
- ``chaos``: keep a backlog of new runs, each announced as ``acknowledged`` once it is on disk.
- ``desk``: answer requests as another process: ``counts``, ``finished``, ``unknown``, ``resolve``,
  ``signal``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.counting_client import CountingClient
from benchmarks.engine import (
    ENGINES,
    SIGNAL,
    Desk,
    Engine,
    EngineModule,
    Gate,
    Served,
    StoreHeldError,
    Surroundings,
    load_engine,
)
from benchmarks.leash import leash_to_stdin
from benchmarks.load import LoadPlan, drive

__all__ = ["HELD_EXIT_CODE"]

HELD_EXIT_CODE = 3
"""The exit code of a worker whose store another executor holds."""

_STARTS_AT_ONCE = 500
_BACKLOG_SECONDS = 0.02

Request = Mapping[str, Any]


def emit(event: str, **fields: object) -> None:
    """One line to the harness."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def requests() -> asyncio.Queue[Request]:
    """The requests from standard input, in order."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Request] = asyncio.Queue()

    def take_line(line: str) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, json.loads(line))

    leash_to_stdin(take_line)
    return queue


async def load(engine: Engine, options: argparse.Namespace) -> None:
    """Run ``--runs`` runs to their end."""
    leash_to_stdin()
    number = options.first

    async def run_once() -> None:
        nonlocal number
        name = f"{options.agent}-{number}"
        number += 1
        await engine.result(await engine.start(options.agent, name, key=name))

    at_once = min(options.at_once, options.runs)
    plan = LoadPlan(concurrency=at_once, seconds=0.0, runs_min=options.runs, runs_max=options.runs)
    measured = await drive(run_once, plan)
    emit("loaded", **measured.to_json())


async def serve(engine: Engine, options: argparse.Namespace) -> None:
    """Start ``--runs`` runs, write their ids to ``--ids``, answer requests."""
    queue = requests()
    began = time.perf_counter()
    ids = await _start_all(engine, options)
    if options.ids is not None and ids:
        options.ids.write_text(json.dumps(ids))
    emit("started", runs=len(ids), seconds=time.perf_counter() - began)
    while True:
        request = await queue.get()
        if request["do"] == "counts":
            emit("answer", value=(await engine.counts()).to_json())
        elif request["do"] == "signal":
            await engine.signal(request["run"], SIGNAL)
            emit("answer", value=None)


async def _start_all(engine: Engine, options: argparse.Namespace) -> list[str]:
    ids: list[str] = []
    for begin in range(options.first, options.first + options.runs, _STARTS_AT_ONCE):
        end = min(begin + _STARTS_AT_ONCE, options.first + options.runs)
        names = [f"{options.agent}-{number}" for number in range(begin, end)]
        starts = (engine.start(options.agent, name, key=name) for name in names)
        ids += await asyncio.gather(*starts)
    return ids


async def chaos(engine: Engine, options: argparse.Namespace) -> None:
    """Keep ``--runs`` runs unfinished, or none new with ``--runs 0``; tell the counts."""
    queue = requests()
    number = options.first
    while True:
        counts = await engine.counts()
        for _ in range(options.runs - counts.active):
            name = f"chaos-{number}"
            run_id = await engine.start("four_effects", name, key=name)
            emit("acknowledged", number=number, run=run_id, argument=name)
            number += 1
        if not queue.empty():
            queue.get_nowait()
            emit("answer", value=counts.to_json())
        await asyncio.sleep(_BACKLOG_SECONDS)


async def desk(module: EngineModule, options: argparse.Namespace) -> None:
    """Answer requests beside the executor."""
    queue = requests()
    async with module.open_desk(options.store) as opened:
        emit("ready")
        while True:
            request = await queue.get()
            emit("answer", value=await _desk_answer(opened, request))


async def _desk_answer(opened: Desk, request: Request) -> object:
    match request["do"]:
        case "counts":
            return (await opened.counts()).to_json()
        case "finished":
            return list(await opened.finished())
        case "unknown":
            return [asdict(each) for each in await opened.unknown_effects()]
        case "resolve":
            return await opened.resolve(request["effect"], happened=request["happened"])
        case "signal":
            return await opened.signal(request["run"], SIGNAL)
        case other:
            raise ValueError(f"the desk does not know {other!r}")


_ROLES: Mapping[str, Callable[[Engine, argparse.Namespace], Awaitable[None]]] = {
    "load": load,
    "serve": serve,
    "chaos": chaos,
}


async def execute(options: argparse.Namespace) -> int:
    """Play the role; the exit code."""
    module = load_engine(options.engine)
    if options.role == "desk":
        await desk(module, options)
        return 0
    async with _surroundings(options) as surroundings:
        try:
            opened = module.open_engine(
                options.store, concurrency=options.concurrency, surroundings=surroundings
            )
            async with opened as engine:
                emit("ready")
                await _ROLES[options.role](engine, options)
        except StoreHeldError as error:
            emit("held", reason=str(error))
            return HELD_EXIT_CODE
    return 0


@asynccontextmanager
async def _surroundings(options: argparse.Namespace) -> AsyncIterator[Surroundings]:
    client = CountingClient(options.counting) if options.counting else None
    try:
        yield Surroundings(
            gate=Gate(path=options.gate),
            served=Served(port=options.served_port) if options.served_port else None,
            counting=client,
            settle_seconds=options.settle_seconds,
            lease_seconds=options.lease_seconds,
        )
    finally:
        if client is not None:
            await client.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=[*_ROLES, "desk"])
    parser.add_argument("--engine", choices=list(ENGINES), required=True)
    parser.add_argument("--store", type=Path, required=True, help="the folder of the store")
    parser.add_argument("--concurrency", type=int, default=50, help="the executor's")
    parser.add_argument("--agent", default="ten_steps")
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=50, help="runs that a load keeps going")
    parser.add_argument("--first", type=int, default=0, help="the number of the first new run")
    parser.add_argument("--ids", type=Path, help="where to write the ids of the started runs")
    parser.add_argument("--gate", type=Path, help="the file that opens the gate of the agent held")
    parser.add_argument("--served-port", type=int, help="where the agent waiting reports")
    parser.add_argument("--counting", help="the URL of the counting server")
    parser.add_argument("--settle-seconds", type=float, default=1.0)
    parser.add_argument("--lease-seconds", type=float, default=2.0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(execute(_options())))
