"""Concurrency inside a run replays as it happened, for generated trees of nested branches.

`gather`, `TaskGroup`, `as_completed`, `wait(FIRST_COMPLETED)`, timeouts, cancellations and anyio's
groups and scopes, over steps, threads, effects, sleeps and children. A tree with one possible
result has it however often the executor is interrupted; any other tree has on replay the result
that it had, without one call to the outside.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock import App, ExecutorOptions
from interlock.journal.event import Entry
from tests.support.branches import Branches, expected, racing_trees, settled_trees
from tests.support.journal_copy import all_entries, copy_of
from tests.support.local import app_in, executing, kinds, state_of, until

ENDS = ("completed", "failed", "cancelled", "parked")
SLOW = settings(database=None, max_examples=600, suppress_health_check=[HealthCheck.too_slow])


def new_app(folder: Path) -> tuple[App, Branches]:
    app = app_in(folder)
    return app, Branches(app)


async def interrupted(app: App, tree: dict[str, Any], cuts: list[int]) -> tuple[Any, list[Entry]]:
    """Run a tree; after each count of new events in `cuts` the executor forgets everything."""
    run = ""
    for cut in itertools.chain(cuts, [None]):
        async with executing(app, synchronous="OFF") as local:
            if not run:
                run = (await local.start("branches", tree)).id
            row = await _until_end_or(local, run, cut)
            if row.state in ENDS:
                return local.result_of(row, app.agents["branches"]), all_entries(local.store)
            local.executor.stop()
    raise AssertionError("the last round has no cut")


async def _until_end_or(local: Any, run: str, cut: int | None) -> Any:
    begun = len(kinds(local, run))

    def reached() -> bool:
        # A claim is an event too; at least one more, or the run counts as one that kills.
        enough = cut is not None and len(kinds(local, run)) > begun + 1 + cut
        return enough or state_of(local, run).state in ENDS

    await until(reached, "the run goes on")
    return state_of(local, run)


@given(tree=settled_trees(), cuts=st.lists(st.integers(min_value=0, max_value=8), max_size=4))
@SLOW
def test_an_interrupted_tree_ends_like_the_undisturbed_one(
    tree: dict[str, Any], cuts: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        app, branches = new_app(Path(folder))
        result, _ = asyncio.run(interrupted(app, tree, cuts))
        assert result == expected(tree)
        assert all(times <= 1 + len(cuts) for times in branches.made.values())


@given(tree=racing_trees(), cuts=st.lists(st.integers(min_value=0, max_value=8), max_size=3))
@SLOW
def test_a_tree_that_races_has_the_same_result_on_replay(
    tree: dict[str, Any], cuts: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        app, _ = new_app(Path(folder))
        result, entries = asyncio.run(interrupted(app, tree, cuts))
        run = entries[0].event.stream
        last = next(
            index
            for index, entry in enumerate(entries)
            if (entry.event.kind, entry.event.stream) == ("run_completed", run)
        )
        again = Path(folder) / "again"
        again.mkdir()
        copy, branches = new_app(again)
        copy_of(entries[:last], again / "journal.db")
        assert asyncio.run(_replayed(copy, run)) == result
        assert branches.calls == 0


async def _replayed(app: App, run: str) -> Any:
    options = ExecutorOptions(concurrency=1)
    async with executing(app, synchronous="OFF", options=options) as local:
        await until(lambda: state_of(local, run).state in ENDS)
        return local.result_of(state_of(local, run), app.agents["branches"])
