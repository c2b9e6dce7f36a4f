"""A contestant that is a module of this package: one process, one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Bounds, Figures
from benchmarks.postgres import Postgres
from benchmarks.processes import ProcessFailedError, module_command, run_to_end

__all__ = ["OwnContestant", "last_json"]


@dataclass(frozen=True, kw_only=True)
class OwnContestant:
    """How to run a module of ``benchmarks.contestants``, with ``postgres`` on a new database."""

    module: str
    python: Path | None = None
    arguments: tuple[str, ...] = ()
    postgres: Postgres | None = None

    def __call__(self, directory: Path, bounds: Bounds) -> Figures:
        """Load it once; raises ProcessFailedError."""
        own = ["--leash", "--directory", str(directory), *bounds.arguments(), *self.arguments]
        if self.postgres is not None:
            own += ["--database-url", self.postgres.new_database()]
        module = f"benchmarks.contestants.{self.module}"
        command = module_command(module, *own, python=self.python)
        printed = run_to_end(command, directory=directory, seconds=bounds.limit_seconds)
        return _figures(last_json(command, printed))


def last_json(command: Sequence[str], printed: str) -> Mapping[str, object]:
    """The last line that is a JSON object: libraries print lines of their own before it."""
    for line in reversed(printed.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    raise ProcessFailedError(command, f"printed no JSON: {printed.strip()[-200:]!r}")


def _figures(answer: Mapping[str, object]) -> Figures:
    many, alone = answer["many"], answer["alone"]
    assert isinstance(many, dict)
    assert isinstance(alone, dict)
    return Figures(
        version=str(answer["version"]),
        durability=str(answer["durability"]),
        synced=bool(answer["synced"]),
        runs_per_second=many["runs_per_second"],
        p50_ms=many["p50_ms"],
        p99_ms=many["p99_ms"],
        alone_p50_ms=alone["p50_ms"],
        processor_ms=many["processor_ms"],
    )
