"""A journal with asks is read, replayed without asking anybody, and continued by today's code.

It also tells of an upgrade of Pydantic AI after which recorded messages are not the same any more.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from interlock import App
from interlock.journal import open_store
from interlock.journal.rows import RunFilter
from tests.support.golden_asking import Verdict, declare_asking
from tests.support.journal_copy import all_entries, copy_of
from tests.support.local import app_in, executing, open_task, until_state

GOLDEN = sorted((Path(__file__).parent / "golden").glob("asks-*.db"))


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a copy of a golden journal."""
    shutil.copy(request.param, tmp_path / "journal.db")
    return tmp_path


def declared(folder: Path) -> tuple[App, Counter[str]]:
    """The agents as they were, and what they call."""
    app, calls = app_in(folder), Counter[str]()
    declare_asking(app, calls)
    return app, calls


def test_there_is_a_golden_journal_of_asks() -> None:
    assert GOLDEN


def test_it_is_sound(folder: Path) -> None:
    store = open_store(str(folder / "journal.db"))
    try:
        assert list(store.verify()) == []
        assert list(store.rebuild()) == []
        assert {budget.held for budget in store.budgets()} == {0}
    finally:
        store.close()


@pytest.mark.parametrize("agent", ["judges", "chats"])
def test_its_finished_runs_replay_without_a_call(folder: Path, tmp_path: Path, agent: str) -> None:
    store = open_store(str(folder / "journal.db"))
    entries = all_entries(store)
    row = store.runs(RunFilter(agent=agent))[0]
    store.close()
    last = next(
        index
        for index, entry in enumerate(entries)
        if (entry.event.kind, entry.event.stream) == ("run_completed", row.id)
    )
    again = tmp_path / "again"
    again.mkdir()
    copy_of(entries[:last], again / "journal.db")
    app, calls = declared(again)

    async def main() -> Any:
        async with executing(app) as local:
            replayed = await until_state(local, row.id, "completed", "failed", "parked")
            return local.result_of(replayed, app.agents[agent])

    result = asyncio.run(main())
    assert app.agents[agent].output.encode(result, "the result") == entries[last].body
    assert calls == Counter()


def test_its_waiting_run_continues(folder: Path) -> None:
    app, calls = declared(folder)

    async def main() -> Any:
        async with executing(app) as local:
            (row,) = local.store.runs(RunFilter(agent="stuck"))
            task = await open_task(local, row.id)
            await local.client.decide(task.id, "answer", value="I answer", by="ann")
            ended = await until_state(local, row.id, "completed", "failed", "parked")
            return local.result_of(ended, app.agents["stuck"])

    assert asyncio.run(main()) == "I answer"
    assert calls == Counter()


def test_its_conversation_goes_on(folder: Path) -> None:
    app, calls = declared(folder)

    async def main() -> Any:
        async with executing(app) as local, asyncio.timeout(30):
            given = {"prompt": "And now?", "conversation": "ada"}
            return await (await local.start("chats", given)).result()

    assert asyncio.run(main()) == "message 5"
    assert calls == Counter({"model chat": 1})


def test_the_answer_is_the_one_that_was_given(folder: Path) -> None:
    store = open_store(str(folder / "journal.db"))
    (row,) = store.runs(RunFilter(agent="judges"))
    assert row.result_position is not None
    entry = store.entry(row.result_position)
    store.close()
    assert entry is not None
    assert Verdict.model_validate_json(entry.body or b"") == Verdict(city="Oslo", degrees=-3)
