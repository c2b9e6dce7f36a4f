"""The API over real HTTP: starting, reading, steering and following runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import JSON, Served, served, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for this file's tests; each uses runs of its own."""
    with served(tmp_path_factory.mktemp("http_runs")) as up:
        yield up


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem in an answer, checked for its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found.keys() == {"type", "title", "status", "detail", "code", "fields"}
    assert (found["status"], found["code"]) == (status, code)
    assert found["type"].endswith(code)
    return found


# Starting.


def test_a_run_is_accepted_and_can_be_followed_to_its_result(server: Served) -> None:
    answer = server.post("/v1/agents/echo/runs", {"input": {"text": "hi"}})
    run = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/runs/{run['id']}"
    assert run["created"]
    found = server.until_state(run["id"], "completed")
    assert found["result"] == {"answer": "HI"}
    assert found["outcome"] == "resolved"
    assert "completed with outcome 'resolved'" in found["explanation"]


def test_waiting_answers_200_with_the_result(server: Served) -> None:
    answer = server.post(
        "/v1/agents/echo/runs", {"input": {"text": "hi"}}, params={"wait_seconds": 60}
    )
    assert answer.status_code == 200
    assert answer.json()["result"] == {"answer": "HI"}


def test_waiting_for_a_run_that_waits_answers_202_when_the_time_is_over(server: Served) -> None:
    answer = server.post("/v1/agents/waiter/runs", {}, params={"wait_seconds": 0.2})
    assert answer.status_code == 202
    assert answer.json()["result"] is None


def test_a_failed_run_says_why(server: Served) -> None:
    answer = server.post("/v1/agents/failer/runs", {}, params={"wait_seconds": 60})
    assert answer.status_code == 200
    run = answer.json()
    assert (run["state"], run["reason"]) == ("failed", "ValueError")
    assert run["error"] == {"type": "ValueError", "message": "it cannot be done"}


def test_wrong_input_names_every_wrong_field_and_starts_nothing(server: Served) -> None:
    before = server.http.get("/v1/runs", params={"limit": 1}).json()["runs"]
    wrong = {"priority": -1, "address": {"zip_code": "x"}}
    answer = server.post("/v1/agents/echo/runs", {"input": wrong})
    found = problem(answer, 422, "invalid_input")
    fields = {item["field"] for item in found["fields"]["problems"]}
    assert fields == {
        "input.text",
        "input.priority",
        "input.address.city",
        "input.address.zip_code",
    }
    assert server.http.get("/v1/runs", params={"limit": 1}).json()["runs"] == before


def test_a_misspelt_field_is_named(server: Served) -> None:
    answer = server.post("/v1/agents/echo/runs", {"input": {"text": "a"}, "prioritty": 3})
    found = problem(answer, 422, "invalid_input")
    assert [item["field"] for item in found["fields"]["problems"]] == ["prioritty"]
    answer = server.http.get("/v1/runs", params={"stat": "failed"})
    found = problem(answer, 422, "invalid_input")
    assert [item["field"] for item in found["fields"]["problems"]] == ["query.stat"]


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 5000},
        {"start_after": "tomorrow"},
        {"deadline": "2026-05-01T12:30:00"},
        {"tenant": ""},
    ],
)
def test_wrong_options_are_refused(server: Served, options: dict[str, Any]) -> None:
    answer = server.post("/v1/agents/echo/runs", {"input": {"text": "a"}, **options})
    found = problem(answer, 422, "invalid_input")
    assert next(iter(options)) in found["detail"]


def test_options_reach_the_run(server: Served) -> None:
    body = {
        "input": {"text": "a"},
        "tenant": "acme",
        "priority": 7,
        "start_after": "1h",
        "deadline": "2099-01-01T00:00:00+01:00",
    }
    run = server.post("/v1/agents/echo/runs", body).json()
    assert (run["tenant"], run["priority"], run["state"]) == ("acme", 7, "queued")
    assert run["deadline_at"].startswith("2098-12-31T23:00:00")
    assert "not before" in run["explanation"]
    listed = server.http.get("/v1/runs", params={"tenant": "acme"}).json()["runs"]
    assert [found["id"] for found in listed] == [run["id"]]


def test_an_unknown_agent_is_not_found(server: Served) -> None:
    found = problem(server.post("/v1/agents/nobody/runs"), 404, "not_found")
    assert "echo" in found["detail"]


def test_an_input_over_the_limit_is_refused(server: Served) -> None:
    answer = server.post("/v1/agents/echo/runs", {"input": {"text": "x" * 1_000_000}})
    problem(answer, 413, "payload_too_large")


# Idempotency.


@pytest.mark.parametrize("first", ['"key 1"', "key-2"])
def test_the_same_key_answers_the_same_run_quoted_or_bare(server: Served, first: str) -> None:
    second = first.strip('"') if first.startswith('"') else f'"{first}"'
    answers = [
        server.post(
            "/v1/agents/echo/runs", {"input": {"text": "a"}}, headers={"idempotency-key": key}
        ).json()
        for key in (first, second)
    ]
    assert answers[0]["id"] == answers[1]["id"]
    assert [answer["created"] for answer in answers] == [True, False]


def test_the_same_key_with_another_input_is_a_conflict(server: Served) -> None:
    key = {"idempotency-key": "conflicting"}
    first = server.post("/v1/agents/echo/runs", {"input": {"text": "a"}}, headers=key).json()
    answer = server.post("/v1/agents/echo/runs", {"input": {"text": "b"}}, headers=key)
    assert problem(answer, 422, "idempotency_conflict")["fields"]["run"] == first["id"]


@pytest.mark.parametrize("key", ["", '"open', '""', "x" * 256])
def test_a_malformed_key_is_refused(server: Served, key: str) -> None:
    answer = server.post("/v1/agents/echo/runs", headers={"idempotency-key": key})
    problem(answer, 400, "malformed_request")


def test_a_repeated_signal_is_sent_once(server: Served) -> None:
    run = server.start("waiter")["id"]
    messages = [
        server.post(
            f"/v1/runs/{run}/signals/other", {"payload": 1}, headers={"idempotency-key": "once"}
        ).json()["message"]
        for _ in range(2)
    ]
    assert messages[0] == messages[1]
    sent = server.http.get(f"/v1/runs/mail%2F{run}/events")
    problem(sent, 404, "no_such_path")


# Reading.


def test_lists_have_no_bodies_and_pages_join(server: Served) -> None:
    started = [server.start("echo", {"text": f"secret {n}"}, wait_seconds=60) for n in range(5)]
    ids = [run["id"] for run in started]
    found: list[str] = []
    before: str | None = ""
    # Other tests may have run on this server or not: these five may be on the last pages.
    while before is not None and len(found) < len(ids):
        params = {"agent": "echo", "state": "completed", "limit": 2, "before": before}
        answer = server.http.get("/v1/runs", params=params)
        assert "secret" not in answer.text.lower()
        page = answer.json()
        found += [run["id"] for run in page["runs"]]
        before = page["next"]
    assert found[: len(ids)] == ids[::-1]


def test_who_was_told_of_an_end_reads_it_as_ended(server: Served) -> None:
    """Reads come from another connection than the writer's: it must never be behind an answer."""
    for _ in range(10):
        run = server.start("echo", {"text": "hi"}, wait_seconds=60)
        assert run["state"] == "completed"
        assert server.run(run["id"])["state"] == "completed"
        listed = server.http.get("/v1/runs", params={"state": "completed", "limit": 1}).json()
        assert [found["id"] for found in listed["runs"]] == [run["id"]]


def test_a_page_after_an_unknown_run_is_refused(server: Served) -> None:
    problem(server.http.get("/v1/runs", params={"before": "run_x"}), 404, "not_found")


def test_events_come_without_bodies_unless_asked(server: Served) -> None:
    run = server.start("echo", {"text": "hush"}, wait_seconds=60)["id"]
    answer = server.http.get(f"/v1/runs/{run}/events")
    assert "hush" not in answer.text.lower()
    events = answer.json()["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["kind"] == "run_queued"
    assert "body" not in events[0]
    shown = server.http.get(f"/v1/runs/{run}/events", params={"bodies": "true"}).json()["events"]
    assert shown[0]["body"] == {"text": "hush", "priority": 0, "address": None}
    page = server.http.get(f"/v1/runs/{run}/events", params={"limit": 2}).json()
    assert page["next"] == 2
    rest = server.http.get(f"/v1/runs/{run}/events", params={"after": 2}).json()
    assert [event["seq"] for event in [*page["events"], *rest["events"]]] == [
        event["seq"] for event in events
    ]


@pytest.mark.parametrize("path", ["/v1/runs/run_x", "/v1/runs/run_x/events"])
def test_an_unknown_run_is_not_found(server: Served, path: str) -> None:
    assert problem(server.http.get(path), 404, "not_found")["fields"] == {"run": "run_x"}


def test_what_is_not_there_and_what_is_not_taken_are_problems(server: Served) -> None:
    problem(server.http.get("/nothing"), 404, "no_such_path")
    answer = server.http.get("/v1/agents/echo/runs")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


# Steering.


def test_a_signal_reaches_the_run(server: Served) -> None:
    run = server.start("waiter")["id"]
    waiting = server.until_state(run, "waiting")
    assert waiting["waits"][0]["kind"] == "signal"
    assert f"interlock signal {run} go" in waiting["explanation"]
    answer = server.post(f"/v1/runs/{run}/signals/go", {"payload": "now"})
    assert answer.status_code == 202
    assert server.until_state(run, "completed")["result"] == "now"
    problem(server.post(f"/v1/runs/{run}/signals/go"), 409, "conflict")


def test_cancel_needs_no_body_and_ends_the_run(server: Served) -> None:
    run = server.start("waiter")["id"]
    assert server.http.post(f"/v1/runs/{run}/cancel", headers=JSON).status_code == 202
    assert server.until_state(run, "cancelled")["reason"] == "cancelled"
    problem(server.post(f"/v1/runs/{run}/cancel"), 409, "conflict")


def test_a_parked_run_can_be_retried(server: Served) -> None:
    run = server.start("stuck")["id"]
    parked = server.until_state(run, "parked")
    assert f"interlock retry {run}" in parked["explanation"]
    events = len(server.http.get(f"/v1/runs/{run}/events").json()["events"])
    assert server.post(f"/v1/runs/{run}/retry", {"by": "ana"}).status_code == 202

    def retried() -> bool:
        found = server.http.get(f"/v1/runs/{run}/events", params={"after": events}).json()
        return [e["kind"] for e in found["events"]][-1:] == ["run_parked"]

    until(retried, "the run is parked again")
    running = server.start("waiter")["id"]
    server.until_state(running, "waiting")
    problem(server.post(f"/v1/runs/{running}/retry"), 409, "conflict")


def test_a_question_is_asked_and_answered_once(server: Served) -> None:
    run = server.start("asker", "may I?")["id"]
    server.until_state(run, "waiting")
    tasks = server.http.get("/v1/inbox").json()["tasks"]
    (task,) = [task for task in tasks if task["run"] == run]
    assert (task["question"], task["choices"], task["role"]) == ("may I?", ["yes", "no"], "boss")
    path = f"/v1/inbox/{task['id']}/decision"
    problem(server.post(path, {"choice": "perhaps"}), 422, "invalid_input")
    answer = server.post(path, {"choice": "yes", "by": "ana"})
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["decided_by"]) == ("decided", "ana")
    assert "ana" in problem(server.post(path, {"choice": "no"}), 409, "conflict")["detail"]
    assert server.until_state(run, "completed")["result"] == "yes by ana"
    problem(server.post("/v1/inbox/task_x/decision", {"choice": "yes"}), 404, "not_found")


def test_pages_of_questions_and_effects_join(server: Served) -> None:
    for _ in range(3):
        server.until_state(server.start("asker", "may I?")["id"], "waiting")
        run = server.start("payer", 40)["id"]
        until(
            lambda run=run: "interlock effects resolve" in server.run(run)["explanation"],
            "a person is asked about the effect",
        )
    for path, part, cursor in (("inbox", "tasks", "after"), ("effects", "effects", "before")):
        whole = server.http.get(f"/v1/{path}", params={"limit": 100}).json()
        assert whole["next"] is None
        pages: list[Any] = []
        query: dict[str, Any] = {"limit": 2}
        while True:
            page = server.http.get(f"/v1/{path}", params=query).json()
            assert len(page[part]) <= 2
            pages += page[part]
            if page["next"] is None:
                break
            query[cursor] = page["next"]
        assert pages == whole[part]
        wrong = server.http.get(f"/v1/{path}", params={cursor: "nothing"})
        problem(wrong, 404, "not_found")


def test_an_unknown_effect_is_listed_and_resolved(server: Served) -> None:
    run = server.start("payer", 40)["id"]
    until(
        lambda: "interlock effects resolve" in server.run(run)["explanation"],
        "a person is asked about the effect",
    )
    listed = server.http.get("/v1/effects", params={"state": "unknown", "run": run})
    assert "40" not in json.dumps(listed.json()["effects"][0]["reason"])
    (effect,) = listed.json()["effects"]
    path = f"/v1/effects/{effect['effect_key']}/resolution"
    problem(server.post(path, {"verdict": "perhaps"}), 422, "invalid_input")
    assert server.post(path, {"verdict": "happened", "result": "paid"}).status_code == 202
    assert server.until_state(run, "completed")["result"] == "paid"
    problem(server.post(path, {"verdict": "given_up"}), 409, "conflict")
    answer = server.post("/v1/effects/effect_x/resolution", {"verdict": "happened"})
    problem(answer, 404, "not_found")


# Following.


def frames(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    """The server-sent events of a stream: id, event, data."""
    found: list[tuple[int, str, dict[str, Any]]] = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def test_events_stream_until_the_run_is_finished_and_resume(server: Served) -> None:
    run = server.start("waiter")["id"]
    accept = {"accept": "text/event-stream"}
    received, signalled = "", False
    with server.http.stream("GET", f"/v1/runs/{run}/events", headers=accept) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for part in stream.iter_text():
            received += part
            if "run_suspended" in received and not signalled:
                signalled = True
                server.post(f"/v1/runs/{run}/signals/go", {"payload": "secret"})
    assert "secret" not in received
    events = frames(received)
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    assert events[-1][1] == "run_completed"
    assert all(data["kind"] == kind for _, kind, data in events)
    resumed = server.http.get(
        f"/v1/runs/{run}/events", headers={**accept, "last-event-id": str(events[1][0])}
    )
    assert frames(resumed.text) == events[2:]
    over = {**accept, "last-event-id": str(events[-1][0])}
    assert server.http.get(f"/v1/runs/{run}/events", headers=over).status_code == 204
    wrong = {**accept, "last-event-id": "now"}
    problem(server.http.get(f"/v1/runs/{run}/events", headers=wrong), 400, "malformed_request")


# Health and description.


def test_the_server_is_alive_and_ready(server: Served) -> None:
    assert server.http.get("/healthz").json() == {"status": "alive"}
    assert server.http.get("/readyz").json() == {"status": "ready"}


def test_the_description_names_every_path_and_its_problems(server: Served) -> None:
    described = server.http.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) == {
        "/v1/agents/{agent}/runs",
        "/v1/runs",
        "/v1/runs/{run}",
        "/v1/runs/{run}/events",
        "/v1/runs/{run}/cancel",
        "/v1/runs/{run}/signals/{name}",
        "/v1/runs/{run}/retry",
        "/v1/inbox",
        "/v1/inbox/{task}",
        "/v1/inbox/{task}/decision",
        "/v1/effects",
        "/v1/effects/{effect_key}/resolution",
        "/v1/budgets",
        "/v1/budgets/raise",
        "/healthz",
        "/readyz",
    }
    for operations in described["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["tags"]
            assert operation["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
            assert "422" not in operation["responses"]
    operations = [o for path in described["paths"].values() for o in path.values()]
    names = {operation["operationId"] for operation in operations}
    assert len(names) == len(operations)
    assert {"runs_start", "runs_events", "inbox_decide", "effects_resolve"} <= names
    schemas = described["components"]["schemas"]
    assert set(schemas["Problem"]["required"]) >= {"type", "title", "status", "detail", "code"}
    assert not any("HTTPValidationError" in name for name in schemas)
    assert schemas["StartRequest"]["examples"]


def test_the_access_log_has_paths_and_nothing_of_what_was_sent(server: Served) -> None:
    server.post(
        "/v1/agents/echo/runs", {"input": {"text": "body-secret"}}, params={"wait_seconds": 5}
    )
    server.http.get("/v1/runs", params={"tenant": "query-secret"})
    until(lambda: "GET /v1/runs 200" in server.said(), "the access log has the line")
    assert "secret" not in server.said()


def test_the_greeting_names_the_app_and_its_agents(server: Served) -> None:
    assert "'served'" in server.greeting
    assert "echo" in server.greeting
    assert str(Path("journal.db")) in server.greeting
