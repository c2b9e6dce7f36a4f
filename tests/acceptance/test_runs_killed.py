"""A process that executes runs is killed with SIGKILL; the next one continues all of them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

from interlock.journal import open_store
from interlock.journal.rows import RunFilter
from tests.support.local import executing, until, until_state
from tests.support.processes import heard, program
from tests.support.victim import RUNS, app_of, bookings

VICTIM = "tests.support.victim"
KILLS = 6


def killed_until_done(folder: Path, seed: int) -> int:
    """Run the program again and again, killing it at random moments; how often it was killed."""
    moments = random.Random(seed)
    killed = 0
    while True:
        with program(VICTIM, "work", str(folder)) as process:
            assert heard(process, "ready")
            killer = threading.Timer(moments.uniform(0.02, 0.5), process.kill)
            if killed < KILLS:
                killer.start()
            done = heard(process, "done")
            killer.cancel()
            if done:
                return killed
            assert process.wait(60) == -signal.SIGKILL
            killed += 1


def test_every_run_ends_and_nothing_is_made_twice(tmp_path: Path) -> None:
    killed = killed_until_done(tmp_path, seed=20260101)
    assert killed >= 1
    store = open_store(str(tmp_path / "journal.db"))
    try:
        runs = store.runs(RunFilter(limit=1000))
        assert Counter(run.state for run in runs) == {"completed": 2 * RUNS}
        assert {e.state for e in store.effects(limit=10_000)} == {"completed"}
        assert store.inbox() == []
        assert list(store.verify()) == []
        assert list(store.rebuild()) == []
    finally:
        store.close()
    booked = bookings(tmp_path)
    for recovery in ("key", "lookup", "repeatable", "never"):
        lines = [line for line in booked if line[0] == recovery]
        keys = {(number, key) for _, number, key in lines}
        assert len(keys) == RUNS, f"{recovery}: one effect key a run, at every attempt"
        if recovery in ("lookup", "never"):
            assert len(lines) == RUNS, f"{recovery}: booked once"


def _until_parked(folder: Path, run: str) -> None:
    async def parked() -> None:
        async with app_of(folder).client() as client:
            await until(lambda: client.run(run).state == "parked", "parked", seconds=60)

    asyncio.run(parked())


def _started(folder: Path, *agents: str) -> list[str]:
    async def start() -> list[str]:
        async with app_of(folder).client() as client:
            return [(await client.start(agent)).run for agent in agents]

    return asyncio.run(start())


def _killed_five_times(folder: Path) -> None:
    for _ in range(5):
        with program(VICTIM, "execute", str(folder)) as process:
            assert process.wait(120) == -signal.SIGKILL


def test_a_run_that_kills_its_process_five_times_is_parked(tmp_path: Path) -> None:
    (poison,) = _started(tmp_path, "kills")
    _killed_five_times(tmp_path)
    assert len(bookings(tmp_path)) == 5
    with program(VICTIM, "execute", str(tmp_path)) as process:
        # In a process of its own: if the run were executed once more, the test would die with it.
        _until_parked(tmp_path, poison)
        assert process.poll() is None
    assert len(bookings(tmp_path)) == 5, "its code does not run again"
    store = open_store(str(tmp_path / "journal.db"))
    row = store.run(poison)
    assert row is not None
    assert row.result_position is not None
    told = store.entry(row.result_position)
    store.close()
    assert row.reason == "poison"
    assert told is not None
    assert b"5 times" in (told.body or b"")
    assert f"interlock retry {poison}".encode() in (told.body or b"")


def test_the_neighbours_of_a_run_that_kills_are_not_parked(tmp_path: Path) -> None:
    before, poison, after = _started(tmp_path, "slow", "kills", "slow")
    _killed_five_times(tmp_path)
    with program(VICTIM, "execute", str(tmp_path)) as process:
        _until_parked(tmp_path, poison)
        assert process.poll() is None

    async def rest() -> None:
        async with executing(app_of(tmp_path)) as local:
            for run in (before, after):
                row = await until_state(local, run, "completed", "parked")
                assert row.state == "completed", row

    asyncio.run(rest())


def test_a_thread_that_does_not_end_does_not_keep_the_process(tmp_path: Path) -> None:
    with program(VICTIM, "hang", str(tmp_path)) as process:
        assert heard(process, "ready")
        assert heard(process, "done")
        assert process.wait(60) == 0


def test_two_processes_that_start_under_the_same_keys(tmp_path: Path) -> None:
    open_store(str(tmp_path / "journal.db")).close()
    said: list[list[list[str]]] = []
    with (
        program(VICTIM, "start", str(tmp_path), "same") as one,
        program(VICTIM, "start", str(tmp_path), "same") as two,
    ):
        for process in (one, two):
            assert heard(process, "ready")
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.write(os.linesep)
            process.stdin.flush()
        for process in (one, two):
            assert process.stdout is not None
            said.append([line.split() for line in process.stdout])
            assert process.wait(60) == 0
    for first, second in zip(*said, strict=True):
        assert first[1] == second[1], "the same run"
        assert sorted([first[2], second[2]]) == ["False", "True"], "made by one of them"
    store = open_store(str(tmp_path / "journal.db"))
    assert len(store.runs(RunFilter(limit=100))) == 20
    store.close()


def test_two_processes_that_start_under_the_same_keys_with_other_inputs(tmp_path: Path) -> None:
    open_store(str(tmp_path / "journal.db")).close()
    said: list[list[list[str]]] = []
    with (
        program(VICTIM, "start", str(tmp_path), "one") as one,
        program(VICTIM, "start", str(tmp_path), "two") as two,
    ):
        for process in (one, two):
            assert heard(process, "ready")
            assert process.stdin is not None
        for process in (one, two):
            lines = process.communicate("\n", timeout=60)[0].splitlines()
            said.append([line.split() for line in lines])
    for first, second in zip(*said, strict=True):
        assert sorted(["conflict" in first, "conflict" in second]) == [False, True]
