"""The scenarios of `benchmarks` for agents with models, at figures that fit into a test.

Each starts the simulated model, the counting server and the executor as processes, kills the
executor, and judges by the ledgers; it ends with 1 when a target is missed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.agent_judge import paid
from interlock.base.identifier import derived_id
from interlock.testing.simulated_model import Ledger
from tests.support.processes import ROOT

pytestmark = [pytest.mark.alone, pytest.mark.timeout(240)]


def played(folder: Path, name: str, *options: object) -> dict[str, Any]:
    """Play a scenario in a folder; what it has written of its results."""
    result = folder / "result.json"
    words = ["--directory", folder, "--json", result, "--time-limit-seconds", 200, *options]
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, words)]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=220, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "aclose" not in ended.stderr, "a run that is let go of leaves no generator behind"
    return json.loads(result.read_text())


def test_agents_that_are_killed_pay_once_and_act_once(tmp_path: Path) -> None:
    options = ("--runs", 10, "--kills", 4, "--kills-min", 1, "--life-seconds", 1)
    shown = played(tmp_path, "agent_chaos", *options)
    assert shown["verdict"]["paid_twice"] == 0
    assert shown["kills"] >= 1


def test_runs_that_race_for_a_budget_stay_within_it(tmp_path: Path) -> None:
    shown = played(tmp_path, "agent_budget", "--repeats", 1, "--runs", 16, "--day-usd", 2)
    (race,) = shown["races"]
    assert race["over"] <= 0
    assert race["decisions"] == 1


def test_a_long_conversation_grows_by_what_is_new(tmp_path: Path) -> None:
    shown = played(tmp_path, "agent_growth", "--calls", 40)
    assert all(len(sizes) == 40 for sizes in shown["bytes"].values())


@pytest.mark.parametrize(
    ("received_us", "recorded_us", "found"),
    [
        ((10,), 15, (0, 0, 0)),
        ((10, 20), 25, (0, 1, 0)),
        ((10, 20), 15, (1, 0, 0)),
        ((10, 20, 30), 25, (1, 1, 0)),
        ((10, 20), None, (0, 2, 0)),
        ((), 15, (0, 0, 1)),
    ],
)
def test_the_judge_finds_what_is_paid_again(
    tmp_path: Path, received_us: tuple[int, ...], recorded_us: int | None, found: tuple[int, ...]
) -> None:
    ledger = Ledger(tmp_path / "model.jsonl")
    digests = [*(("d", at) for at in received_us), ("another", 40)]
    for digest, at in digests:
        fields: dict[str, Any] = dict.fromkeys(("model", "messages_digest"), "m")
        fields |= {"turn": 0, "streaming": False, "prompt_tokens": 1, "headers": {}}
        entry = ledger.add(received_us=at, request_digest=digest, **fields)
        ledger.change(entry, answered=digest == "d")
    recorded = {} if recorded_us is None else {derived_id("chatcmpl", "d"): recorded_us}
    shown = paid(tmp_path / "model.jsonl", recorded)
    assert (shown.twice, shown.unrecorded, shown.strange) == found
