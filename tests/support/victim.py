"""A program that is killed: `python -m tests.support.victim MODE FOLDER …`.

It executes runs on the journal in FOLDER and books what its tools do in FOLDER/ledger.txt, a file
that outlives it, one line a call. It says `ready` when it executes and `done` when its work is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from interlock import NOT_HAPPENED, App, EffectKey, Happened, Run, StartOptions
from interlock.errors import IdempotencyConflictError

__all__ = ["RUNS", "app_of", "bookings"]

RUNS = 40


def bookings(folder: Path) -> list[list[str]]:
    """What was booked, one `[tool, run's number, effect key]` a call."""
    ledger = folder / "ledger.txt"
    return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []


def _book(folder: Path, *words: object) -> None:
    line = " ".join(map(str, words)) + "\n"
    file = os.open(folder / "ledger.txt", os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(file, line.encode())
    os.close(file)


def app_of(folder: Path) -> App:
    """The app, on the journal in `folder`."""
    app = App("victim", store=f"sqlite:///{folder / 'journal.db'}")
    _declare_order(app, folder)

    @app.agent("kills")
    async def kills(run: Run) -> None:
        _book(folder, "kills", 0, "-")
        os.kill(os.getpid(), signal.SIGKILL)

    @app.agent("hangs")
    async def hangs(run: Run) -> None:
        await run.step(threading.Event().wait)

    @app.agent("slow")
    async def slow(run: Run) -> None:
        await run.step(asyncio.sleep, 0.3)

    @app.agent("echo")
    async def echo(run: Run, given: Any) -> Any:
        return given

    return app


def _declare_order(app: App, folder: Path) -> None:
    async def fetch(n: int) -> int:
        await asyncio.sleep(0.002)
        return n * n

    def price(n: int) -> int:
        return n + 1

    async def find(n: int, *, key: EffectKey) -> Any:
        found = [line for line in bookings(folder) if line[0] == "lookup" and line[2] == key]
        return Happened(n) if found else NOT_HAPPENED

    def tool(recovery: Any) -> Any:
        async def book(n: int, *, key: EffectKey) -> int:
            await asyncio.sleep(0.001)
            _book(folder, recovery, n, key)
            await asyncio.sleep(0.001)
            return n

        lookup = find if recovery == "lookup" else None
        return app.tool(recovery, effect="write", recovery=recovery, lookup=lookup)(book)

    tools = [tool(recovery) for recovery in ("key", "lookup", "repeatable", "never")]

    @app.agent("part")
    async def part(run: Run, n: int) -> int:
        await run.sleep(timedelta(milliseconds=3))
        return await run.step(price, n)

    @app.agent("order")
    async def order(run: Run, n: int) -> list[int]:
        first = await asyncio.gather(run.step(fetch, n), run.step(price, n))
        booked = await asyncio.gather(*[run.call(tool, n) for tool in tools])
        child = await run.start("part", n)
        async with run.timeout(timedelta(minutes=5)):
            last = await child.result()
        return [*first, *booked, last]


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def work(folder: Path) -> None:
    """Start the orders, unless they were started before, and wait for their end."""
    async with app_of(folder).executor() as local:
        _say("ready")
        handles = [
            await local.start("order", n, StartOptions(idempotency_key=f"order-{n}"))
            for n in range(RUNS)
        ]
        answering = asyncio.create_task(_answer(local, folder))
        for handle in handles:
            await handle.row()
        answering.cancel()
        _say("done")


async def _answer(local: Any, folder: Path) -> None:
    """The person who looks into the ledger and says what became of an effect."""
    while True:
        booked = {line[2] for line in bookings(folder)}
        for task in local.store.inbox():
            question = local.client.question(task)
            happened = question["effect_key"] in booked
            verdict = "happened" if happened else "not_happened"
            value = question["arguments"]["n"] if happened else None
            await local.client.decide(task.id, verdict, value=value, by="ann")
        await asyncio.sleep(0.02)


async def execute(folder: Path) -> None:
    """Execute what is there until the process is killed."""
    async with app_of(folder).executor():
        _say("ready")
        await asyncio.Event().wait()


async def hang(folder: Path) -> None:
    """Leave the executor while a thread of it does not end."""
    async with app_of(folder).executor(grace=timedelta(milliseconds=100)) as local:
        handle = await local.start("hangs")
        while local.store.run(handle.id).state != "running":  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        _say("ready")
    _say("done")


async def start_many(folder: Path, given: str) -> None:
    """Start twenty runs under the same keys as another process; say each run or `conflict`."""
    async with app_of(folder).client() as client:
        _say("ready")
        sys.stdin.readline()
        for n in range(20):
            try:
                options = StartOptions(idempotency_key=f"k{n}")
                started = await client.start("echo", given, options)
                _say(n, started.run, started.created)
            except IdempotencyConflictError:
                _say(n, "conflict")


if __name__ == "__main__":
    _mode, _folder, *_rest = sys.argv[1:]
    _modes: dict[str, Any] = {"work": work, "execute": execute, "hang": hang, "start": start_many}
    asyncio.run(_modes[_mode](Path(_folder), *_rest))
