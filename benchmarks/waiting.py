"""100,000 runs wait for a signal: their memory, the restart, how fast a signal is served.

A run is served when the step after its wait has run; that step sends a datagram to this harness,
which holds the clock. Signals come one at a time to runs drawn at random, first from inside the
executor's process, then from another process (the mailbox).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import percentile
from benchmarks.report import Target
from benchmarks.scenario import Outcome, play, say, scenario_arguments
from benchmarks.worker_process import Child, open_worker

MEMORY_MB_MAX = 400.0
START_SECONDS_MAX = 20.0
SERVED_MS_MAX = 50.0
_POLL_SECONDS = 0.2
_SERVED_SECONDS = 10.0


class ServedRuns(asyncio.DatagramProtocol):
    """The datagrams of served runs, each with the moment it came."""

    def __init__(self) -> None:
        self._awaited: dict[str, asyncio.Future[float]] = {}

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Take the time of a run that is awaited."""
        del addr
        future = self._awaited.get(data.decode())
        if future is not None and not future.done():
            future.set_result(time.perf_counter())

    def expect(self, argument: str) -> asyncio.Future[float]:
        """The moment at which the run with this argument will have been served."""
        self._awaited[argument] = asyncio.get_running_loop().create_future()
        return self._awaited[argument]


@dataclass(frozen=True, kw_only=True)
class _Latencies:
    """Seconds from the request to the served run."""

    seconds: Sequence[float]

    def milliseconds(self, share: float) -> float:
        """A percentile in milliseconds."""
        return percentile(self.seconds, share) * 1000

    def row(self, name: str) -> list[str]:
        """The table's row."""
        return [
            name,
            f"p50 {self.milliseconds(0.5):.1f} ms",
            f"p99 {self.milliseconds(0.99):.1f} ms",
        ]


@asynccontextmanager
async def _listen() -> AsyncIterator[tuple[ServedRuns, int]]:
    loop = asyncio.get_running_loop()
    transport, served = await loop.create_datagram_endpoint(ServedRuns, local_addr=("127.0.0.1", 0))
    try:
        yield served, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def waiting(options: argparse.Namespace, directory: Path) -> Outcome:
    """Fill, restart, signal."""
    store = directory / "store"
    store.mkdir()
    async with _listen() as (served, port):
        filled_mb = await _fill(options, store, directory / "ids.json", port)
        ids: list[str] = json.loads((directory / "ids.json").read_text())
        began = time.perf_counter()
        async with open_worker("serve", options.engine, store, "--served-port", port) as worker:
            await worker.event("started", seconds=options.time_limit_seconds)
            start_seconds = time.perf_counter() - began
            restarted_mb = worker.memory_mb()
            draw = random.Random(options.seed)
            numbers = draw.sample(range(options.runs), 2 * options.signals + 1)
            first = await _signal(worker, served, ids, numbers[:1])
            first_seconds = start_seconds + first.seconds[0]
            say(f"restarted in {start_seconds:.1f} s with {restarted_mb:.0f} MB")
            inside = await _signal(worker, served, ids, numbers[1 : options.signals + 1])
            outside = await _signal_from_outside(options, store, served, ids, numbers)
    memory_mb = max(filled_mb, restarted_mb)
    return _outcome(
        options,
        memory_mb,
        (filled_mb, restarted_mb),
        (start_seconds, first_seconds),
        inside,
        outside,
    )


async def _fill(options: argparse.Namespace, store: Path, ids: Path, port: int) -> float:
    """Start the runs, wait until all wait; the executor's memory in MB."""
    arguments = ("--agent", "waiting", "--runs", options.runs, "--ids", ids, "--served-port", port)
    async with open_worker("serve", options.engine, store, *arguments) as worker:
        started = await worker.event("started", seconds=options.time_limit_seconds)
        say(f"{started['runs']:,} runs started in {started['seconds']:.1f} s")
        while (await worker.ask("counts"))["waiting"] < options.runs:
            await asyncio.sleep(_POLL_SECONDS)
        return worker.memory_mb()


async def _signal(
    worker: Child, served: ServedRuns, ids: Sequence[str], numbers: Sequence[int]
) -> _Latencies:
    async def send(run_id: str) -> None:
        await worker.ask("signal", run=run_id)

    return await _time_signals(send, served, ids, numbers)


async def _signal_from_outside(
    options: argparse.Namespace,
    store: Path,
    served: ServedRuns,
    ids: Sequence[str],
    numbers: Sequence[int],
) -> _Latencies | None:
    if options.engine == "plain":
        return None  # it takes no signal from another process
    async with open_worker("desk", options.engine, store) as desk:
        await desk.event("ready")
        return await _signal(desk, served, ids, numbers[options.signals + 1 :])


async def _time_signals(
    send: Callable[[str], Awaitable[None]],
    served: ServedRuns,
    ids: Sequence[str],
    numbers: Sequence[int],
) -> _Latencies:
    latencies: list[float] = []
    for number in numbers:
        done = served.expect(f"waiting-{number}")
        began = time.perf_counter()
        await send(ids[number])
        latencies.append(await asyncio.wait_for(done, _SERVED_SECONDS) - began)
    return _Latencies(seconds=latencies)


def _outcome(
    options: argparse.Namespace,
    memory_mb: float,
    memories_mb: tuple[float, float],
    starts_seconds: tuple[float, float],
    inside: _Latencies,
    outside: _Latencies | None,
) -> Outcome:
    worst_ms = max(each.milliseconds(0.5) for each in (inside, outside) if each is not None)
    rows = [
        ["memory, all waiting", f"{memories_mb[0]:.0f} MB", ""],
        ["memory after the restart", f"{memories_mb[1]:.0f} MB", ""],
        ["restart until started", f"{starts_seconds[0]:.1f} s", ""],
        ["restart until the first signal served", f"{starts_seconds[1]:.1f} s", ""],
        inside.row("signal served, same process"),
    ]
    if outside is not None:
        rows.append(outside.row("signal served, from another process"))
    return Outcome(
        title=f"{options.runs:,} runs waiting for a signal, {options.engine}",
        heads=["", "", ""],
        rows=rows,
        targets=[
            _at_most("memory", memory_mb, MEMORY_MB_MAX, "MB"),
            _at_most("start, first signal served", starts_seconds[1], START_SECONDS_MAX, "s"),
            _at_most("signal served, p50", worst_ms, SERVED_MS_MAX, "ms"),
        ],
        answer={
            "runs": options.runs,
            "memory_mb": list(memories_mb),
            "start_seconds": list(starts_seconds),
            "served_inside_seconds": list(inside.seconds),
            "served_outside_seconds": list(outside.seconds) if outside else None,
        },
    )


def _at_most(name: str, measured: float, limit: float, unit: str) -> Target:
    wanted, shown = f"under {limit:.0f} {unit}", f"{measured:.1f} {unit}"
    return Target(name=name, wanted=wanted, measured=shown, met=measured < limit)


def main() -> int:
    """Run the scenario from the command line."""
    parser = scenario_arguments("waiting", __doc__ or "")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--signals", type=int, default=200, help="from each side")
    parser.add_argument("--seed", type=int, default=1)
    return play(parser.parse_args(), waiting)


if __name__ == "__main__":
    sys.exit(main())
