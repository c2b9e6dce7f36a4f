"""Generated agents survive every crash, and the same seed finds the same thing twice."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from interlock.testing.program import Program, describe, generate, nodes_of
from interlock.testing.shrinking import shrink
from interlock.testing.simulate import Failure, main, simulate
from interlock.testing.simulation import Workshop
from interlock.testing.walks import UNDISTURBED, WALKS, walk

SEED = "1"
# Four equal parts, so that tests that run at once share the work.
PARTS = 4
AGENTS = 60


@pytest.mark.parametrize("part", range(PARTS))
def test_generated_agents_survive_every_crash(part: int, tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    agents = range(part, AGENTS, PARTS)
    failures = list(simulate(SEED, agents, Workshop(tmp_path), counts))
    assert failures == [], "\n".join(map(told, failures))
    assert counts["agents"] == AGENTS // PARTS
    assert counts["walks"] == len(WALKS) * counts["agents"]
    assert counts["processes"] > 2 * counts["walks"]
    assert counts["calls"] > 0


def told(failure: Failure) -> str:
    """A failure for a person who reads a test's output."""
    program = describe(failure.program())
    return "\n".join([failure.command(), program, *failure.violations[:3]])


def test_the_programs_have_everything_that_can_go_wrong() -> None:
    programs = [generate(f"{SEED}:{agent}") for agent in range(400)]
    kinds = Counter(node["do"] for program in programs for node in nodes_of(program.root))
    assert set(kinds) == {
        "ask", "cancelled", "catch", "child", "completed", "first", "gather", "group", "guarded",
        "handshake", "note", "race", "raise", "read", "seq", "sleep", "sorted", "stamp", "step",
        "wait", "within", "write",
    }  # fmt: skip
    recoveries = {
        node["recovery"] for p in programs for node in nodes_of(p.root) if node["do"] == "write"
    }
    assert recoveries == {"key", "lookup", "repeatable", "never"}
    assert any("next" in node for p in programs for node in nodes_of(p.root))
    assert 0.3 < sum(program.settled for program in programs) / len(programs) < 0.6
    assert any(program.cancel_at_ms is not None for program in programs)
    assert any(program.deadline_ms is not None for program in programs)
    assert any(signal[4] for program in programs for signal in program.signals)


@pytest.mark.parametrize("name", WALKS)
def test_the_same_seed_walks_the_same_way(name: str, tmp_path: Path) -> None:
    program = generate("again:4")
    first, second = (walk(program, Workshop(tmp_path), name) for _ in range(2))
    assert first.groups > 3
    assert first == second


def test_a_walk_dies_at_every_commit_of_the_undisturbed_one(tmp_path: Path) -> None:
    program = generate("every:9")
    workshop = Workshop(tmp_path)
    undisturbed = walk(program, workshop, UNDISTURBED)
    assert undisturbed.lives == 1
    for name in ("before", "during", "after", "unacknowledged"):
        assert walk(program, workshop, name).lives >= undisturbed.groups // 2, name


def test_a_failing_program_is_made_small() -> None:
    program = next(p for p in map(big, range(1000)) if p is not None)

    def has_a_child_that_waits(candidate: Program) -> bool:
        children = [n for n in nodes_of(candidate.root) if n["do"] == "child"]
        return any(n["do"] == "wait" for child in children for n in nodes_of(child["of"]))

    small = shrink(program, has_a_child_that_waits, tries=2000)
    assert has_a_child_that_waits(small)
    assert len(list(nodes_of(small.root))) <= 5  # two sequences, the child, the wait, a branch
    assert small.signals == []


def big(number: int) -> Program | None:
    """A large program in which a child waits for a signal."""
    program = generate(f"big:{number}")
    children = [n for n in nodes_of(program.root) if n["do"] == "child"]
    waits = any(n["do"] == "wait" for child in children for n in nodes_of(child["of"]))
    return program if waits and len(list(nodes_of(program.root))) > 12 else None


def test_the_command_says_what_it_did(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--agents", "4", "--jobs", "2", "--seed", "command"]) == 0
    out = capfd.readouterr().out
    assert "4 agents" in out
    assert "0 agents failed" in out


def test_the_command_shows_a_failure_and_how_to_repeat_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["--agents", "40", "--jobs", "1", "--variant", "key-unstable"]) == 1
    out = capfd.readouterr().out
    assert "invariant 2:" in out
    command = next(line for line in out.splitlines() if line.startswith("repeat with: "))
    arguments = command.removeprefix("repeat with: python -m interlock.testing.simulate ").split()
    assert main(arguments) == 1
    assert "invariant 2:" in capfd.readouterr().out
    assert sys.executable not in out
