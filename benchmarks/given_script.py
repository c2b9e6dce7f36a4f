"""A script of ``--peers DIR``, run exactly as it is, its printed line read.

The scripts take a number of runs and how many at once, and print ``runs/s=… p50=…ms``, some of
them also ``p99=…ms``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Bounds, Figures
from benchmarks.processes import ProcessFailedError, run_to_end

__all__ = ["GivenScript"]

_PRINTED = re.compile(
    r"runs/s=(?P<runs>[\d.]+) .*?p50=(?P<p50>[\d.]+)ms(?: p99=(?P<p99>[\d.]+)ms)?"
)


@dataclass(frozen=True, kw_only=True)
class GivenScript:
    """How to run a given script: once with many runs at once, once with one at a time.

    ``arguments`` come before the two numbers. ``durability`` is what its source says, since a
    script cannot be asked.
    """

    path: Path
    python: Path
    arguments: tuple[str, ...] = ()
    runs_many: int
    runs_alone: int
    durability: str

    def __call__(self, directory: Path, bounds: Bounds) -> Figures:
        """Run it twice; raises ProcessFailedError."""
        alone = self._run(directory / "alone", bounds, self.runs_alone, 1)
        many = self._run(directory / "many", bounds, self.runs_many, bounds.concurrency)
        return Figures(
            version="script",
            durability=self.durability,
            synced=None,
            runs_per_second=float(many["runs"]),
            p50_ms=float(many["p50"]),
            p99_ms=float(many["p99"]) if many["p99"] else None,
            alone_p50_ms=float(alone["p50"]),
            processor_ms=None,
        )

    def _run(self, directory: Path, bounds: Bounds, runs: int, at_once: int) -> Mapping[str, str]:
        directory.mkdir()
        command = [str(self.python), str(self.path), *self.arguments, str(runs), str(at_once)]
        printed = run_to_end(command, directory=directory, seconds=bounds.limit_seconds)
        found = _PRINTED.search(printed)
        if found is None:
            raise ProcessFailedError(command, f"printed no figures: {printed.strip()[-200:]!r}")
        return found.groupdict()
