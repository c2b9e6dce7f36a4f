"""How one generated agent is put through its paces: every walk it has to survive.

First undisturbed, which says how a settled program ends. Then, for each moment of a crash, a walk
that dies once at every commit; then a single death at a random commit, one at a random moment of
time, and an orderly drain. The same seed gives the same walks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from interlock.clock import Dice
from interlock.testing.crashing import MOMENTS, CrashPlan, EveryBoundary, NoCrash, OneCrash
from interlock.testing.program import Program
from interlock.testing.simulation import Ending, Finding, Interruption, Simulation, Workshop

__all__ = ["UNDISTURBED", "WALKS", "Walked", "walk", "walk_again", "walk_through"]

UNDISTURBED: Final = "undisturbed"
WALKS: Final[tuple[str, ...]] = (UNDISTURBED, *MOMENTS, "once", "instant", "drain")


@dataclass(frozen=True, kw_only=True)
class Walked:
    """One walk of one program, and what it found."""

    name: str
    finding: Finding


def walk_through(
    program: Program, workshop: Workshop, names: tuple[str, ...] = WALKS
) -> Iterator[Walked]:
    """All walks of a program in order, up to the first that finds something."""
    undisturbed = walk(program, workshop, UNDISTURBED)
    yield Walked(name=UNDISTURBED, finding=undisturbed)
    for name in names:
        if undisturbed.violations:
            return
        if name == UNDISTURBED:
            continue
        finding = walk_again(program, workshop, name, undisturbed)
        yield Walked(name=name, finding=finding)
        if finding.violations:
            return


def walk_again(
    program: Program, workshop: Workshop, name: str, undisturbed: Finding | None = None
) -> Finding:
    """One walk, compared with the undisturbed one (which is made first when it is not given)."""
    before = undisturbed if undisturbed is not None else walk(program, workshop, UNDISTURBED)
    finding = before if name == UNDISTURBED else walk(program, workshop, name, before)
    _compare(program, before.ending, finding)
    return finding


def walk(
    program: Program, workshop: Workshop, name: str, undisturbed: Finding | None = None
) -> Finding:
    """One walk of a program."""
    dice = Dice(f"walk:{program.seed}:{name}")
    groups = undisturbed.groups if undisturbed is not None else 20
    plan: CrashPlan = NoCrash()
    interruption = None
    if name in MOMENTS:
        plan = EveryBoundary(next(m for m in MOMENTS if m == name))
    elif name == "once":
        plan = OneCrash(dice.randint(1, max(1, groups)), dice.choice(MOMENTS))
    elif name in ("instant", "drain"):
        at_ms = dice.randint(1, dice.choice((50, 300, 2000)))
        interruption = Interruption(at_ms=at_ms, orderly=name == "drain")
    return Simulation(program, workshop, plan, interruption).run()


def _compare(program: Program, undisturbed: Ending, finding: Finding) -> None:
    if program.settled and not finding.violations and finding.ending != undisturbed:
        finding.violations.append(
            f"6: it ended as {finding.ending} and undisturbed as {undisturbed}"
        )
