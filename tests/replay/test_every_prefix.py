"""A crash at every commit: each prefix of a journal continues to the same end.

The agents below use every operation there is. Their journal is recorded once, cut after each of
its commits, and continued: the result is the same, what was completed is not made again, and a
journal that was complete but for its last event makes no call at all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from interlock.journal.event import Entry
from tests.support.golden_agents import Outside, declare, helped_to_its_end
from tests.support.journal_copy import all_entries, copy_of
from tests.support.local import app_in, executing, until


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Entry], str, Any, Outside]:
    """A complete journal, its run, its result, and what it did outside."""
    app, outside = app_in(tmp_path_factory.mktemp("recorded")), Outside()
    declare(app, outside)

    async def main() -> tuple[list[Entry], str, Any]:
        async with executing(app) as local:
            handle = await local.start("everything", 7)
            result = await helped_to_its_end(local, handle.id, "everything")
            return all_entries(local.store), handle.id, result

    return (*asyncio.run(main()), outside)


def continued(
    folder: Path, entries: Sequence[Entry], run: str, booked: dict[str, int]
) -> tuple[Any, Outside]:
    folder.mkdir()
    app, outside = app_in(folder), Outside()
    outside.booked.update(booked)
    declare(app, outside)
    copy_of(entries, folder / "journal.db")

    async def main() -> Any:
        async with executing(app) as local:
            result = await helped_to_its_end(local, run, "everything")
            await until(lambda: not local.store.running(), "every run is finished")
            assert list(local.store.verify()) == []
            assert list(local.store.rebuild()) == []
            return result

    return asyncio.run(main()), outside


def test_a_complete_journal_replays_without_a_call(
    tmp_path: Path, recorded: tuple[list[Entry], str, Any, Outside]
) -> None:
    entries, run, result, outside = recorded
    last = next(
        index
        for index, entry in enumerate(entries)
        if (entry.event.kind, entry.event.stream) == ("run_completed", run)
    )
    again, calls = continued(tmp_path / "last", entries[:last], run, outside.booked)
    assert again == result
    assert calls.calls == Counter()


def commits(entries: Sequence[Entry]) -> list[int]:
    """Where the journal can end: between two groups, each one transaction and one time."""
    return [
        cut
        for cut in range(1, len(entries))
        if entries[cut].event.at_us != entries[cut - 1].event.at_us
    ]


# What a run decided by chance, by the clock or by who was first may differ once its record is cut.
DECIDED = ("chance", "id", "gather", "failed", "timeout", "child", "signal", "decision", "rounds")


def test_every_prefix_continues_to_the_same_end(
    tmp_path: Path, recorded: tuple[list[Entry], str, Any, Outside]
) -> None:
    entries, run, result, _ = recorded
    completed_before: set[str] = set()
    for cut in commits(entries):
        booked = {
            str(e.event.header["effect_key"]): 7
            for e in entries[:cut]
            if e.event.kind == "effect_completed"
        }
        again, outside = continued(tmp_path / str(cut), entries[:cut], run, booked)
        assert {k: again[k] for k in DECIDED} == {k: result[k] for k in DECIDED}, cut
        assert sorted(again["completed"]) == sorted(result["completed"]), cut
        assert not [call for call in outside.calls if call.rpartition(" ")[2] in booked], cut
        completed_before |= set(booked)
    assert len(completed_before) == 2
