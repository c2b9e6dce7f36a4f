"""What a contestant shows in one round, and the bounds it is loaded within."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from benchmarks.load import STEPS_PER_RUN

__all__ = ["Bounds", "Entry", "Figures", "Measure", "Role"]

Role: TypeAlias = Literal["limit", "product", "peer"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one contestant showed in one round.

    ``synced`` is None when it could not be read, and so are figures that a given script does not
    print. ``processor_ms`` is what a run took of the processor, with many at once.
    """

    version: str
    durability: str
    synced: bool | None
    runs_per_second: float
    p50_ms: float
    p99_ms: float | None
    alone_p50_ms: float
    processor_ms: float | None

    @property
    def steps_per_second(self) -> float:
        """Durable steps a second with many runs at once."""
        return self.runs_per_second * STEPS_PER_RUN


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How long each contestant is loaded in a round, and after how long it is given up."""

    concurrency: int
    seconds: float
    alone_seconds: float
    limit_seconds: float = 120.0

    def arguments(self) -> list[str]:
        """The bounds as arguments of a contestant's module."""
        return [
            *("--concurrency", str(self.concurrency)),
            *("--seconds", str(self.seconds)),
            *("--alone-seconds", str(self.alone_seconds)),
            *("--runs-min", str(2 * self.concurrency)),
        ]


Measure: TypeAlias = Callable[[Path, Bounds], Figures]
"""Load a contestant once, in an empty directory; raises ProcessFailedError."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One contestant; ``skipped`` says why it cannot take part."""

    name: str
    role: Role
    measure: Measure
    skipped: str | None = None
