"""The command line in processes of its own, beside a server that is up, and after it went down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.serving import APP, Served, interlock, served, spawn, until


def answer(folder: Path, *arguments: str) -> Any:
    """What a command prints with --json; it must have gone well."""
    done = interlock(*arguments, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def waiting(folder: Path, run: str) -> bool:
    """Whether the journal has the run as waiting."""
    return answer(folder, "show", run)["run"]["state"] == "waiting"


def test_run_executes_here_without_a_server_and_through_it_with_one(tmp_path: Path) -> None:
    start = ("run", "echo", "--app", APP, "--input", '{"text": "hi"}')
    here = interlock(*start, folder=tmp_path)
    assert (here.returncode, json.loads(here.stdout)) == (0, {"answer": "HI"})
    assert "executes here" in here.stderr
    with served(tmp_path) as server:
        there = interlock(*start, folder=tmp_path)
        assert (there.returncode, json.loads(there.stdout)) == (0, {"answer": "HI"})
        assert f"process {server.process.pid} executes" in there.stderr
        runs = server.http.get("/v1/runs").json()["runs"]
        assert [run["state"] for run in runs] == ["completed", "completed"]


def test_messages_reach_runs_with_the_server_up(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        signalled, cancelled = server.start("waiter")["id"], server.start("waiter")["id"]
        asking, paying = server.start("asker", "may I?")["id"], server.start("payer", 4)["id"]
        for run in (signalled, cancelled, asking, paying):
            server.until_state(run, "waiting")
        _steer(tmp_path, signalled, cancelled, asking, paying)
        _check_steered(server, signalled, cancelled, asking, paying)


def test_messages_wait_for_the_next_server_when_none_is_up(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        signalled, cancelled = server.start("waiter")["id"], server.start("waiter")["id"]
        asking, paying = server.start("asker", "may I?")["id"], server.start("payer", 4)["id"]
        for run in (signalled, cancelled, asking, paying):
            server.until_state(run, "waiting")
    _steer(tmp_path, signalled, cancelled, asking, paying)
    queued = answer(tmp_path, "run", "waiter", "--app", APP, "--no-wait")["id"]
    answer(tmp_path, "cancel", queued)
    assert answer(tmp_path, "show", signalled)["run"]["state"] == "waiting"
    with served(tmp_path, name="second") as server:
        _check_steered(server, signalled, cancelled, asking, paying)
        server.until_state(queued, "cancelled")
    assert interlock("verify", "--rebuild", folder=tmp_path).returncode == 0


def _steer(folder: Path, signalled: str, cancelled: str, asking: str, paying: str) -> None:
    answer(folder, "signal", signalled, "go", '"from outside"')
    answer(folder, "cancel", cancelled, "--reason", "no longer wanted", "--by", "ana")
    (task,) = [t for t in answer(folder, "inbox")["tasks"] if t["run"] == asking]
    answer(folder, "decide", task["id"], "yes", "--by", "ana")
    again = interlock("decide", task["id"], "no", folder=folder)
    assert (again.returncode, again.stderr.startswith("error [conflict]")) == (1, True)
    (effect,) = answer(folder, "effects", "--state", "unknown")["effects"]
    assert effect["run"] == paying
    resolved = ("effects", "resolve", effect["effect_key"], "--happened", "--result", '"paid"')
    answer(folder, *resolved)


def _check_steered(
    server: Served, signalled: str, cancelled: str, asking: str, paying: str
) -> None:
    assert server.until_state(signalled, "completed")["result"] == "from outside"
    assert server.until_state(cancelled, "cancelled")["reason"] == "no longer wanted"
    assert server.until_state(asking, "completed")["result"] == "yes by ana"
    assert server.until_state(paying, "completed")["result"] == "paid"


def test_an_interrupted_run_is_kept_for_the_next_executor(tmp_path: Path) -> None:
    process = spawn("run", "waiter", "--app", APP, folder=tmp_path, name="run")
    try:
        said = tmp_path / "run.err"
        until(lambda: "executes here" in said.read_text(), "the run executes")
        run = said.read_text().split()[1]
        until(lambda: waiting(tmp_path, run), "the run waits")
        process.send_signal(2)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.communicate()
    assert f"run {run} is not finished" in said.read_text()
    assert "Traceback" not in said.read_text()
    answer(tmp_path, "signal", run, "go", '"late"')
    with served(tmp_path) as server:
        assert server.until_state(run, "completed")["result"] == "late"


def test_input_comes_from_a_file_or_the_standard_input(tmp_path: Path) -> None:
    (tmp_path / "ticket.json").write_text('{"text": "from a file"}')
    done = interlock("run", "echo", "--app", APP, "--input", "@ticket.json", folder=tmp_path)
    assert json.loads(done.stdout) == {"answer": "FROM A FILE"}
    done = interlock(
        "run", "echo", "--app", APP, "--input", "@-", folder=tmp_path, stdin='{"text": "piped"}'
    )
    assert json.loads(done.stdout) == {"answer": "PIPED"}


def test_a_pipe_that_is_closed_early_is_no_drama(tmp_path: Path) -> None:
    answer(tmp_path, "run", "echo", "--app", APP, "--input", '{"text": "a"}')
    process = spawn("runs", folder=tmp_path, name="runs")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(60)
    assert "Traceback" not in (tmp_path / "runs.err").read_text()
