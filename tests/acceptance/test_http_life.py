"""A server's life: one executor a journal, draining, a journal that fails, dangerous addresses."""

from __future__ import annotations

import resource
import signal
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.serving import APP, EVERYWHERE, JSON, Served, interlock, served, store_in, until


def begun(path: Path) -> bool:
    """Whether the step that waits for this file has begun."""
    return Path(f"{path}.begun").exists()


def refuses_runs(server: Served) -> httpx.Response | None:
    """The answer to a start while the server stops."""
    answer = server.http.post("/v1/agents/echo/runs", json={"input": {"text": "late"}})
    return answer if answer.status_code == 503 else None


# One executor.


def test_a_second_server_on_the_same_journal_is_refused_by_name(tmp_path: Path) -> None:
    with served(tmp_path) as first:
        second = interlock("serve", "--app", APP, "--port", "0", folder=tmp_path)
        assert second.returncode == 3
        assert second.stdout == ""
        assert f"process {first.process.pid}" in second.stderr
        assert second.stderr.startswith("error [storage_locked]: ")
        assert "Traceback" not in second.stderr
        assert first.start("echo", {"text": "a"}, wait_seconds=60)["state"] == "completed"


def test_a_port_that_is_in_use_is_said(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        tried = interlock("serve", "--app", APP, "--port", port, folder=tmp_path)
    assert tried.returncode == 1
    assert f"port {port}" in tried.stderr
    assert "Traceback" not in tried.stderr


def test_an_open_address_needs_callers_who_are_known_and_warns(tmp_path: Path) -> None:
    refused = interlock("serve", "--app", APP, "--host", EVERYWHERE, "--port", "0", folder=tmp_path)
    assert refused.returncode == 2
    assert "--keys" in refused.stderr
    keys = str(tmp_path / "keys.json")
    absent = interlock("serve", "--app", APP, "--host", EVERYWHERE, "--keys", keys, folder=tmp_path)
    assert absent.returncode == 2
    assert "interlock key new" in absent.stderr
    interlock("key", "new", "ana", "--keys", keys, "--role", "read", folder=tmp_path)
    with served(tmp_path, "--host", EVERYWHERE, "--keys", keys) as server:
        assert "not encrypted" in server.said()
        port = server.url.rpartition(":")[2]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert client.get("/healthz").status_code == 200
            assert (
                client.get("/healthz", headers={"host": f"{EVERYWHERE}:{port}"}).status_code == 421
            )


# Draining.


def test_sigterm_lets_operations_end_takes_nothing_new_and_ends_with_0(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with served(tmp_path, "--grace", "60") as server:
        waits = server.start("waiter")["id"]
        server.until_state(waits, "waiting")
        run = server.start("patient", str(gate))["id"]
        until(lambda: begun(gate), "the step has begun")
        server.signal(signal.SIGTERM)
        refusal = until(lambda: refuses_runs(server), "the server refuses runs")
        assert refusal is not None
        assert refusal.json()["code"] == "draining"
        assert int(refusal.headers["retry-after"]) >= 1
        assert server.http.get("/healthz").status_code == 200
        ready = server.http.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
        assert server.http.post(f"/v1/runs/{waits}/cancel", headers=JSON).status_code == 503
        assert server.run(run)["state"] == "running"
        gate.touch()
        assert server.ended() == 0
        assert "Traceback" not in server.said()
    kinds = events_of(tmp_path, run)
    assert "step_completed" in kinds, "the operation in flight was recorded"
    with served(tmp_path) as again:
        assert again.until_state(run, "completed")["result"] == "there"
        assert again.run(waits)["state"] == "waiting"


def events_of(folder: Path, run: str) -> list[str]:
    """The kinds of a run's events, read beside the program."""
    with closing(sqlite3.connect(folder / "journal.db")) as journal:
        rows = journal.execute(
            "SELECT e.kind FROM events e JOIN streams s ON s.id = e.stream WHERE s.name = ?"
            " ORDER BY e.position",
            (run,),
        )
        return [kind for (kind,) in rows]


@pytest.mark.parametrize("agent", ["patient", "threaded"])
def test_what_outlasts_the_grace_period_is_left_to_recovery(tmp_path: Path, agent: str) -> None:
    gate = tmp_path / "gate"
    with served(tmp_path, "--grace", "0.2") as server:
        run = server.start(agent, str(gate))["id"]
        until(lambda: begun(gate), "the step has begun")
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
    assert "step_completed" not in events_of(tmp_path, run)
    gate.touch()
    with served(tmp_path) as again:
        assert again.until_state(run, "completed")["result"] == "there"


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(tmp_path: Path, second: signal.Signals) -> None:
    gate = tmp_path / "gate"
    with served(tmp_path, "--grace", "600") as server:
        run = server.start("patient", str(gate))["id"]
        until(lambda: begun(gate), "the step has begun")
        server.signal(signal.SIGINT)
        until(lambda: refuses_runs(server), "the server drains")
        server.signal(second)
        assert server.ended() == -second
    gate.touch()
    with served(tmp_path) as again:
        assert again.until_state(run, "completed")["result"] == "there"


def test_who_waits_and_who_follows_is_answered_when_the_server_stops(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        run = server.start("waiter")["id"]
        server.until_state(run, "waiting")
        accept = {"accept": "text/event-stream"}
        with server.http.stream("GET", f"/v1/runs/{run}/events", headers=accept) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "id: 1"
            server.signal(signal.SIGTERM)
            assert not any("run_completed" in line for line in lines)
        assert server.ended() == 0


# A journal that fails.


def test_a_full_disk_answers_503_and_ends_with_a_clear_message(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        first = server.start("echo", {"text": "kept"}, wait_seconds=60)
        size = (tmp_path / "journal.db-wal").stat().st_size
        resource.prlimit(
            server.process.pid, resource.RLIMIT_FSIZE, (size + 200_000, size + 200_000)
        )
        failed = until(lambda: failing(server), "the journal is full")
        assert failed is not None
        assert failed["status"] == 503
        assert failed["code"].startswith("storage")
        assert server.ended() == 3
        last = server.said().strip().splitlines()[-1]
        assert last.startswith("error [storage")
        assert "Traceback" not in server.said()
    with served(tmp_path) as again:
        assert again.run(first["id"])["result"] == {"answer": "KEPT"}
        assert again.start("echo", {"text": "b"}, wait_seconds=60)["state"] == "completed"
    assert interlock("verify", "--rebuild", folder=tmp_path).returncode == 0


def failing(server: Served) -> dict[str, Any] | None:
    """The problem with which a start fails, once it does. Nothing else writes meanwhile."""
    body = {"input": {"text": "x" * 50_000}, "start_after": "1h"}
    answer = server.post("/v1/agents/echo/runs", body)
    return answer.json() if answer.status_code >= 400 else None


def test_the_store_of_the_command_line_is_used(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with served(tmp_path, "--store", store_in(other)) as server:
        assert str(other) in server.greeting
    assert (other / "journal.db").exists()
    assert not (tmp_path / "journal.db").exists()
