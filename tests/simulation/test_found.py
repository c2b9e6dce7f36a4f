"""What the simulator has found in the engine, as small as it still failed. All of it is mended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from interlock.testing.program import Node, Program
from interlock.testing.simulation import Workshop
from interlock.testing.walks import walk_through

# Other people, other pauses, other moments to die.
SEEDS = 2


def seq(*of: Node) -> Node:
    """One after the other."""
    return {"do": "seq", "of": list(of)}


def several(how: str, *of: Node) -> Node:
    """At once, in one of the ways."""
    return {"do": how, "of": list(of)}


def step(name: str, ms: int = 20) -> Node:
    """A step that works."""
    return {"do": "step", "name": name, "ms": ms, "fails": 0, "attempts": 1, "sync": False}


def sleep(ms: int) -> Node:
    """Time."""
    return {"do": "sleep", "ms": ms, "plain": False}


def note(name: str) -> Node:
    """A change of the state."""
    return {"do": "note", "name": name}


def wait(signal: str, **options: Any) -> Node:
    """A wait for a signal."""
    return {"do": "wait", "signal": signal, **options}


def write(name: str, recovery: str, *answers: str) -> Node:
    """An effect, and how its calls are answered before they are answered well."""
    script = [{"answer": answer, "ms": 10, "after_ms": 10} for answer in answers]
    return {
        "do": "write", "name": name, "recovery": recovery, "sync": False, "script": script,
        "refused": False, "lookups": [],
    }  # fmt: skip


def cancelled(ms: int, of: Node) -> Node:
    """Cancelled from inside after a while."""
    return {"do": "cancelled", "ms": ms, "of": of}


def child(*of: Node, close: str = "cancel", awaits: int = 1) -> Node:
    """A child run."""
    return {"do": "child", "label": "c", "of": seq(*of), "close": close, "awaits": awaits}


def program(
    root: Node, *signals: str, every_ms: int = 0, first_seed: int = 0, **options: Any
) -> Program:
    """A program; each signal is sent to the root at once, or one after the other."""
    sent = [("root", s, f"t{i}", i * every_ms, False) for i, s in enumerate(signals)]
    return Program(seed=str(first_seed), settled=False, root=root, signals=sent, **options)


FOUND: Final[Mapping[str, Program]] = {
    "the timer of a run that rests is noticed": program(seq(sleep(2000)), residency_ms=0),
    "as_completed of coroutines keeps its keys and its order": program(
        seq(several("completed", *(seq(note(i), step(f"s{i}")) for i in "abcd")), wait("a")),
        "a",
    ),
    "an unknown effect is not recorded as not made because the code left": program(
        seq(cancelled(25, write("w", "key", "made_then_lost", "lost", "lost")))
    ),
    "a refused call says nothing about an earlier one that may have arrived": program(
        seq(cancelled(60, write("w", "repeatable", "made_then_lost", "refused", "refused")))
    ),
    "a pause after a refused call that follows an unknown one is a pause": program(
        seq(write("w", "key", "made_then_lost", "refused")), residency_ms=1000
    ),
    "the state of a later generation is changed once": program(
        {**seq(note("one")), "next": seq(note("two"), wait("a"), sleep(500))}, "a", residency_ms=0
    ),
    "a step that is cancelled before its first turn does not keep the run busy": program(
        seq(several("race", wait("a"), step("s"))), "a", start_after_ms=200
    ),
    "a word about one call is not taken for a word about a later one": program(
        seq(write("w", "never", "lost")), first_seed=33
    ),
    "a question to a person is withdrawn when it is answered otherwise": program(
        seq(step("s"), several("gather", write("w", "never"), write("v", "never", "lost"))),
        first_seed=107,
    ),
    "an effect that the code left behind is followed after a restart": program(
        seq(several("completed", write("w", "never"), write("v", "key"), wait("b"))),
        cancel_at_ms=0,
        start_after_ms=200,
    ),
    "a timer does not fire behind its cancellation": program(
        seq(several("gather", *(cancelled(50, sleep(51 + 3 * i)) for i in range(5))), wait("a")),
        "a",
        disk_us=20_000,
    ),
    "a wait has a signal or a timeout and never both": program(
        seq(several("gather", wait("a", timeout_ms=30), wait("b", timeout_ms=30)), wait("c")),
        "a", "b", "c",
        disk_us=20_000,
    ),
    "a child is told once to close": program(
        {**seq(child(wait("b"), awaits=0)), "next": seq(note("n"))}, disk_us=20_000
    ),
    "a deadline does not come behind the end": program(
        seq(step("s", 40)), deadline_ms=60, disk_us=20_000, first_seed=1
    ),
    "a timer is not lost with a suspension that is refused": program(
        seq(*(sleep(7) for _ in range(6))), *"aaaaaaaaaa",
        every_ms=15, residency_ms=0, disk_us=20_000,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_stays_mended(name: str, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    first = int(FOUND[name].seed)
    for seed in range(first, first + SEEDS):
        again = replace(FOUND[name], seed=f"found:{seed}")
        for walked in walk_through(again, workshop):
            assert walked.finding.violations == [], f"seed {seed}, walk {walked.name}"
