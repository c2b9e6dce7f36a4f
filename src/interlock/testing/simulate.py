"""`python -m interlock.testing.simulate`: generated agents, crashed at every commit.

Each agent is walked through all its crashes (see `walks`) and held to the invariants. A failure is
printed with its program made small and the one command that repeats it. `--mutants` shows that the
simulator catches engines that are broken on purpose.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from interlock.clock import SystemClock
from interlock.testing.program import Program, describe, generate
from interlock.testing.shrinking import shrink
from interlock.testing.simulation import Finding, Workshop
from interlock.testing.variant import ENGINE, Variant
from interlock.testing.variants import VARIANTS
from interlock.testing.walks import UNDISTURBED, WALKS, walk, walk_again, walk_through

__all__ = ["Caught", "Failure", "catch", "main", "simulate"]

_MODULE: Final = "interlock.testing.simulate"
_FAILURES_AT_MOST: Final = 5
_AGENTS_FOR_A_VARIANT: Final = 80


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An agent that broke an invariant in one of its walks."""

    seed: str
    agent: int
    walk: str
    variant: str
    violations: list[str]

    def program(self) -> Program:
        """The agent as generated."""
        return program_of(self.seed, self.agent)

    def command(self) -> str:
        """What repeats it."""
        variant = f" --variant {self.variant}" if self.variant else ""
        where = f"--seed {self.seed} --agent {self.agent} --walk {self.walk}"
        return f"python -m {_MODULE} {where}{variant}"


@dataclass(frozen=True, kw_only=True)
class Caught:
    """By what a broken variant was caught, if it was."""

    variant: Variant
    agents: int
    failure: Failure | None


def program_of(seed: str, agent: int) -> Program:
    """The program of agent number `agent`."""
    return generate(f"{seed}:{agent}")


def simulate(
    seed: str,
    agents: Sequence[int],
    workshop: Workshop,
    counts: Counter[str],
    walks: tuple[str, ...] = WALKS,
) -> Iterator[Failure]:
    """Walk agents through their crashes; yields those that fail. `counts` is added to."""
    for agent in agents:
        program = program_of(seed, agent)
        counts["agents"] += 1
        for walked in walk_through(program, workshop, walks):
            _count(counts, walked.finding)
            if walked.finding.violations:
                yield Failure(
                    seed=seed,
                    agent=agent,
                    walk=walked.name,
                    variant=workshop.variant.name,
                    violations=walked.finding.violations,
                )


def _count(counts: Counter[str], finding: Finding) -> None:
    counts["walks"] += 1
    counts["processes"] += finding.lives
    counts["commits"] += finding.groups
    counts["events"] += finding.events
    counts["calls"] += finding.calls


def catch(variant: Variant, folder: Path, seed: str, agents: int) -> Caught:
    """Look for an agent that shows what is wrong with a variant by the invariant it breaks."""
    workshop = Workshop(folder, variant)
    # Most are caught without any crash, which is much the cheapest walk.
    for walks in ((UNDISTURBED,), WALKS):
        for agent in range(agents):
            for failure in simulate(seed, [agent], workshop, Counter(), walks):
                if _shows(failure, variant):
                    return Caught(variant=variant, agents=agent + 1, failure=failure)
    return Caught(variant=variant, agents=agents, failure=None)


def _shows(failure: Failure, variant: Variant) -> bool:
    """Whether an agent failed by an invariant that the variant is known to break."""
    numbers = {violation.partition(":")[0] for violation in failure.violations}
    return not numbers.isdisjoint(variant.breaks)


# The command.


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; answers its exit code: 0 when nothing was found that should not be."""
    given = _parser().parse_args(arguments)
    logging.getLogger("interlock").setLevel(logging.DEBUG if given.log else logging.CRITICAL + 1)
    with tempfile.TemporaryDirectory(prefix="interlock-simulate-") as name:
        folder = Path(name)
        if given.mutants:
            return _mutants(given, folder)
        if given.agent is not None:
            return _one(given, folder)
        if given.worker:
            return _work(given, folder)
        return _all(given, folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description=__doc__)
    parser.add_argument("--agents", type=int, default=2000, help="how many agents")
    parser.add_argument("--seed", default="1", help="what all agents are drawn from")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes")
    parser.add_argument("--mutants", action="store_true", help="catch the broken engines instead")
    parser.add_argument("--agent", type=int, help="one agent only, with its program and journal")
    parser.add_argument("--walk", choices=WALKS, help="one walk of that agent only")
    parser.add_argument("--variant", choices=sorted(VARIANTS), help="a broken engine by name")
    parser.add_argument("--log", action="store_true", help="show the engine's log")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    return parser


def _variant(given: argparse.Namespace) -> Variant:
    return VARIANTS[given.variant] if given.variant else ENGINE


def _say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _all(given: argparse.Namespace, folder: Path) -> int:
    clock = SystemClock()
    began = clock.boot_seconds()
    counts: Counter[str] = Counter()
    failures: list[Failure] = []
    for message in _messages(given, folder):
        if "failure" in message:
            failures.append(Failure(**message["failure"]))
            _report(failures[-1], folder)
        else:
            counts.update(message)
            _progress(counts, given.agents, clock.boot_seconds() - began)
        if len(failures) >= _FAILURES_AT_MOST:
            _say(f"stopped after {len(failures)} failures")
            break
    seconds = clock.boot_seconds() - began
    facts = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    _say(f"\nseed {given.seed}: {facts}; {seconds:.0f} s; {len(failures)} agents failed")
    return 1 if failures else 0


def _progress(counts: Counter[str], agents: int, seconds: float) -> None:
    """Where it is: all the time on a terminal, ten times in all elsewhere."""
    line = f"{counts['agents']:,} of {agents:,} agents, {seconds:.0f} s"
    if sys.stdout.isatty():
        sys.stdout.write(f"\r{line} ")
        sys.stdout.flush()
    elif counts["agents"] % max(1, agents // 10) == 0:
        _say(line)


def _messages(given: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """What the workers find, as it comes: counts to be added, and failures."""
    if given.jobs <= 1:
        yield from _stream(given.seed, range(given.agents), _variant(given), folder)
        return
    command = [sys.executable, "-m", _MODULE, "--seed", given.seed, "--jobs", str(given.jobs)]
    command += ["--agents", str(given.agents)]
    command += ["--variant", given.variant] if given.variant else []
    workers = [
        subprocess.Popen([*command, "--worker", str(n + 1)], stdout=subprocess.PIPE, text=True)
        for n in range(given.jobs)
    ]
    try:
        yield from _read_in_turn(workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _read_in_turn(workers: Sequence[subprocess.Popen[str]]) -> Iterator[dict[str, Any]]:
    """A line of each worker in turn: they have equal shares, so none is kept waiting for long."""
    reading = list(workers)
    while reading:
        for worker in list(reading):
            line = worker.stdout.readline() if worker.stdout is not None else ""
            if line:
                yield json.loads(line)
                continue
            reading.remove(worker)
            if worker.wait() != 0:
                raise SystemExit(f"a worker of the simulation ended with code {worker.returncode}")


def _work(given: argparse.Namespace, folder: Path) -> int:
    agents = range(given.worker - 1, given.agents, given.jobs)
    for message in _stream(given.seed, agents, _variant(given), folder):
        _say(json.dumps(message))
    return 0


def _stream(
    seed: str, agents: Sequence[int], variant: Variant, folder: Path
) -> Iterator[dict[str, Any]]:
    workshop = Workshop(folder, variant)
    for agent in agents:
        counts: Counter[str] = Counter()
        for failure in simulate(seed, [agent], workshop, counts):
            yield {"failure": vars(failure)}
        yield dict(counts)


# One failure.


def _report(failure: Failure, folder: Path) -> None:
    _say(f"\nagent {failure.agent} failed in the walk {failure.walk!r}:")
    for violation in failure.violations[:5]:
        _say(f"  invariant {violation[:1000]}")
    variant = VARIANTS[failure.variant] if failure.variant else ENGINE
    workshop = Workshop(folder, variant)
    numbers = {violation.partition(":")[0] for violation in failure.violations}

    def fails(program: Program) -> bool:
        finding = walk_again(program, workshop, failure.walk)
        return any(v.partition(":")[0] in numbers for v in finding.violations)

    small = shrink(failure.program(), fails)
    _say("the agent, made as small as it still fails:")
    _say(describe(small))
    _say(f"repeat with: {failure.command()}")


def _one(given: argparse.Namespace, folder: Path) -> int:
    """One agent with everything there is to see."""
    program = program_of(given.seed, given.agent)
    workshop = Workshop(folder, _variant(given))
    _say(describe(program))
    found = False
    undisturbed = walk(program, workshop, UNDISTURBED)
    for name in (given.walk,) if given.walk else WALKS:
        finding = walk_again(program, workshop, name, undisturbed)
        _say(f"\n{name}: {finding.lives} processes, {finding.events} events")
        for line in finding.journal:
            _say(f"  {line}")
        for violation in finding.violations:
            found = True
            _say(f"  invariant {violation}")
        if found:
            break
    return 1 if found else 0


def _mutants(given: argparse.Namespace, folder: Path) -> int:
    clock = SystemClock()
    missed: list[str] = []
    names = [given.variant] if given.variant else list(VARIANTS)
    for name in names:
        began = clock.boot_seconds()
        caught = catch(VARIANTS[name], folder, given.seed, _AGENTS_FOR_A_VARIANT)
        seconds = clock.boot_seconds() - began
        if caught.failure is None:
            missed.append(name)
            _say(f"{name:26} MISSED in {caught.agents} agents, {seconds:.1f} s")
        else:
            by = caught.failure.violations[0]
            _say(f"{name:26} agent {caught.failure.agent}, {caught.failure.walk}: {by[:90]}")
    _say(f"\n{len(names) - len(missed)} of {len(names)} broken engines caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
