"""What queries cost, counted in steps of SQLite's machine: waiting runs must be cheap."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from interlock.journal import open_store
from interlock.journal.statements import statements
from tests.conformance.commits import claimed, commit, event, queued, sent, write

NOW = {"now_us": 2**61}


def steps(path: Path, statement: str, parameters: dict[str, Any]) -> int:
    """How many steps (in tens) a statement takes."""
    connection = sqlite3.connect(path)
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    connection.set_progress_handler(count, 10)
    connection.execute(statements("sqlite")[statement], parameters).fetchall()
    connection.close()
    return taken


def fill(path: Path, runs: int) -> None:
    """So many queued, waiting and finished runs each, of four groups, and mail that was taken."""
    store = open_store(str(path), synchronous="OFF")
    waits = event("run_suspended", wake_at_us=None, waits=[{"key": "k"}])
    done = event("run_completed", outcome="resolved")
    for n in range(runs):
        of = {"agent": "ab"[n % 2], "priority": n // 2 % 2}
        write(
            store,
            queued(f"q{n}", **of),
            queued(f"w{n}", **of),
            queued(f"c{n}", **of),
            claimed(f"w{n}"),
            claimed(f"c{n}"),
            commit(f"w{n}", waits, epoch=1),
            commit(f"c{n}", done, epoch=1),
            sent(f"c{n}", f"m{n}"),
            commit(f"c{n}", event("signal_received", takes=f"m{n}"), epoch=1),
        )
    write(store, queued("p"), queued("child", parent="p"), sent("w1", "news"))
    store.close()


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same journal small and twenty times as large."""
    folder = tmp_path_factory.mktemp("cost")
    small, large = folder / "small.db", folder / "large.db"
    fill(small, 100)
    fill(large, 2000)
    return small, large


PAGE = {
    "agent": "",
    "tenant": "",
    "before": "",
    "newest": 2**62,
    "limit": 5,
    "states": "[]",
}


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("queue_groups", NOW),
        ("queued", {**NOW, "priority": 1, "tenant": "default", "agent": "a", "limit": 5}),
        ("due", {**NOW, "limit": 5, "without_agents": "[]", "states": '["waiting"]'}),
        ("next_wake", NOW),
        ("running", {}),
        ("mail", {"run": "w1", "after_position": 0}),
        ("mail_since", {"after_position": 0, "limit": 100}),
        ("runs", PAGE),
        ("runs_in_state", {**PAGE, "state": "waiting"}),
        ("runs_of_parent", {**PAGE, "parent": "p"}),
        ("open_children", {"parent": "p"}),
        ("inbox_in_state", {"after": "", "tenant": "", "state": "open", "limit": 5}),
        (
            "effects_in_state",
            {"before": "", "tenant": "", "newest": 2**62, "state": "unknown", "limit": 5},
        ),
        ("head", {"stream": "c1"}),
        ("read", {"stream": "c1", "after_seq": 0, "limit": -1}),
        ("run", {"run": "c1"}),
    ],
)
def test_what_an_executor_asks_costs_the_same_in_a_large_journal(
    journals: tuple[Path, Path], statement: str, parameters: dict[str, Any]
) -> None:
    small, large = (steps(path, statement, parameters) for path in journals)
    assert large <= 1.5 * small + 5


def test_the_count_sees_a_query_that_looks_at_everything(journals: tuple[Path, Path]) -> None:
    small, large = (steps(path, "run_counts", {}) for path in journals)
    assert large > 5 * small
