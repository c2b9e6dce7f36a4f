"""A closed loop of runs: the one way in which every contestant is loaded and timed.

Nothing here imports more than the standard library, since peers load it from environments of
their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass

__all__ = ["STEPS_PER_RUN", "STEP_RESULT", "LoadPlan", "Measured", "drive", "percentile"]

STEPS_PER_RUN = 10
STEP_RESULT = "x" * 1000
"""What each step returns: 1 KB of text."""


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """How long to keep ``concurrency`` runs going.

    New runs start until ``seconds`` have passed and at least ``runs_min`` have started, never
    more than ``runs_max``. Those that have started are always finished, and their time counts.
    """

    concurrency: int
    seconds: float
    runs_min: int
    runs_max: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one load showed. ``seconds`` runs from the first start to the last end.

    ``processor_ms`` is the processor time of the whole process, all threads, for each run.
    """

    runs: int
    seconds: float
    runs_per_second: float
    steps_per_second: float
    p50_ms: float
    p99_ms: float
    processor_ms: float

    @classmethod
    def of(
        cls, latencies_seconds: Sequence[float], seconds: float, processor_seconds: float
    ) -> Measured:
        """Sum up the latencies of the runs of one load; ValueError when there was none."""
        if not latencies_seconds:
            raise ValueError("a load without a finished run has nothing to measure: raise runs_min")
        runs = len(latencies_seconds)
        return cls(
            runs=runs,
            seconds=seconds,
            runs_per_second=runs / seconds,
            steps_per_second=runs * STEPS_PER_RUN / seconds,
            p50_ms=percentile(latencies_seconds, 0.50) * 1000,
            p99_ms=percentile(latencies_seconds, 0.99) * 1000,
            processor_ms=processor_seconds / runs * 1000,
        )

    def to_json(self) -> dict[str, float]:
        """The fields as a JSON object."""
        return asdict(self)


def percentile(values: Sequence[float], share: float) -> float:
    """The value at ``share`` (0 to below 1) of the sorted values, without interpolation."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def drive(run_once: Callable[[], Awaitable[object]], plan: LoadPlan) -> Measured:
    """Keep ``plan.concurrency`` runs going until the plan is met; a run's exception ends it."""
    latencies: list[float] = []
    began, processor_began = time.perf_counter(), time.process_time()
    started = 0

    def may_start() -> bool:
        if started >= plan.runs_max:
            return False
        return started < plan.runs_min or time.perf_counter() - began < plan.seconds

    async def keep_running() -> None:
        nonlocal started
        while may_start():
            started += 1
            run_began = time.perf_counter()
            await run_once()
            latencies.append(time.perf_counter() - run_began)

    async with asyncio.TaskGroup() as group:
        for _ in range(plan.concurrency):
            group.create_task(keep_running())
    taken, used = time.perf_counter() - began, time.process_time() - processor_began
    return Measured.of(latencies, taken, used)
