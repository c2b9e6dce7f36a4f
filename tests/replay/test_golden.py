"""A journal of each released format is read, verified, replayed and continued by today's code."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock import App
from interlock.journal import open_store
from interlock.journal.rows import RunFilter
from interlock.journal.store import Store
from tests.support.golden_agents import Outside, declare, declare_waiting
from tests.support.journal_copy import all_entries, copy_of
from tests.support.local import app_in, executing, open_task, until_state

GOLDEN = sorted((Path(__file__).parent / "golden").glob("format-*.db"))


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a copy of a golden journal: what is committed is never written to."""
    shutil.copy(request.param, tmp_path / "journal.db")
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = open_store(str(folder / "journal.db"))
    yield opened
    opened.close()


def test_there_is_a_golden_journal() -> None:
    assert GOLDEN


def test_it_is_read_and_sound(store: Store) -> None:
    assert list(store.verify()) == []
    assert list(store.rebuild()) == []
    states = {row.agent: row.state for row in store.runs(RunFilter())}
    assert states == {
        "everything": "completed", "child": "completed", "waits": "waiting", "announces": "waiting",
    }  # fmt: skip
    assert Counter(effect.state for effect in store.effects()) == {"completed": 2, "unknown": 1}
    assert [task.kind for task in store.inbox()] == ["effect"]


def declared(folder: Path) -> tuple[App, Outside]:
    app, outside = app_in(folder), Outside()
    declare(app, outside)
    declare_waiting(app, outside)
    return app, outside


def test_its_finished_run_replays_without_a_call(store: Store, tmp_path: Path) -> None:
    entries = all_entries(store)
    (row,) = store.runs(RunFilter(agent="everything"))
    last = next(
        index
        for index, entry in enumerate(entries)
        if (entry.event.kind, entry.event.stream) == ("run_completed", row.id)
    )
    again = tmp_path / "again"
    again.mkdir()
    copy_of(entries[:last], again / "journal.db")
    app, outside = declared(again)

    async def main() -> Any:
        async with executing(app) as local:
            replayed = await until_state(local, row.id, "completed", "failed", "parked")
            return local.result_of(replayed, app.agents["everything"])

    result = asyncio.run(main())
    recorded = entries[last].body
    assert recorded is not None
    assert app.agents["everything"].output.encode(result, "the result") == recorded
    assert outside.calls == Counter()


def test_its_waiting_runs_continue(folder: Path) -> None:
    app, outside = declared(folder)

    async def main() -> list[Any]:
        results: list[Any] = []
        async with executing(app) as local:
            (waits,) = local.store.runs(RunFilter(agent="waits"))
            (announces,) = local.store.runs(RunFilter(agent="announces"))
            await local.client.signal(waits.id, "answer", "fine")
            task = await open_task(local, announces.id)
            await local.client.decide(task.id, "happened", value="announced", by="ann")
            for run in (waits, announces):
                row = await until_state(local, run.id, "completed", "failed", "parked")
                results.append(local.result_of(row, app.agents[run.agent]))
            assert list(local.store.verify()) == []
        return results

    assert asyncio.run(main()) == [["Hello Ann", "fine"], "announced"]
    assert outside.calls == Counter(), "what was done before is not done again"
