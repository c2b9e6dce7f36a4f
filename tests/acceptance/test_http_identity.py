"""Callers who are asked who they are: keys, tokens, roles, tenants, and whose word a word is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from interlock.entry.api import build_api
from interlock.entry.auth import is_open
from tests.support.issuer import Issuer
from tests.support.serving import JSON, Served, interlock, served, until

ISSUER = Issuer()
KEYS: dict[str, tuple[str, ...]] = {
    "ana": ("--role", "admin", "--all-tenants"),
    "bela": ("--role", "read", "--role", "decide", "--role", "boss"),
    "carl": ("--role", "read", "--role", "decide"),
    "robot": ("--agent", "--role", "admin"),
    "acme": ("--role", "admin", "--tenant", "acme"),
    "nobody": ("--role", "bystander"),
}


def new_key(folder: Path, name: str, *more: str) -> str:
    """A key of the server's file."""
    made = interlock("key", "new", name, "--keys", str(folder / "keys.json"), *more, folder=folder)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


class Desk:
    """A server that asks who calls, and its callers by name."""

    def __init__(self, server: Served, keys: dict[str, str], clients: dict[str, httpx.Client]):
        self.server = server
        self.keys = keys
        self.of = clients

    def start(self, caller: str, agent: str = "waiter", value: Any = None, **more: Any) -> str:
        """A run, started by a caller."""
        body = {"input": value, **more}
        answer = self.of[caller].post(f"/v1/agents/{agent}/runs", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def task_of(self, run: str) -> str:
        """The open task of a run."""

        def found() -> str | None:
            tasks = self.of["ana"].get("/v1/inbox").json()["tasks"]
            return next((task["id"] for task in tasks if task["run"] == run), None)

        return cast("str", until(found, f"run {run} asks"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One server with a key for each caller, and an issuer whose tokens it takes."""
    folder = tmp_path_factory.mktemp("http_identity")
    keys = {name: new_key(folder, name, *more) for name, more in KEYS.items()}
    (folder / "jwks.json").write_text(ISSUER.key_set())
    (folder / "tokens.yaml").write_text(
        "issuer: https://login.example/\naudience: desk\njwks: jwks.json\nroles_prefix: il.\n"
    )
    files = ("--keys", str(folder / "keys.json"), "--tokens", str(folder / "tokens.yaml"))
    with served(folder, *files) as server, ExitStack() as stack:
        clients = {name: stack.enter_context(server.as_caller(key)) for name, key in keys.items()}
        yield Desk(server, keys, clients)


def code(answer: httpx.Response, status: int) -> str:
    """The code of a problem."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["code"]


# Who calls.


def test_without_a_credential_nothing_but_health_is_answered(desk: Desk) -> None:
    for path in ("/v1/runs", "/openapi.json", "/nothing", "/v1/agents/waiter/runs"):
        answer = desk.server.http.get(path)
        assert code(answer, 401) == "unauthenticated"
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    for path in ("/healthz", "/readyz", "/.well-known/oauth-protected-resource"):
        assert desk.server.http.get(path).status_code == 200


def test_it_is_refused_before_its_body_is_read(desk: Desk) -> None:
    answer = desk.server.http.post("/v1/agents/waiter/runs", content=b"{", headers=JSON)
    assert code(answer, 401) == "unauthenticated"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ilk_aaaaaaaaaa_" + "a" * 43,
        "Bearer x.y.z",
        "Basic YW5hOmFuYQ==",
        "ilk_aaaaaaaaaa_" + "a" * 43,
    ],
)
def test_a_wrong_credential_is_refused_and_written_nowhere(desk: Desk, header: str) -> None:
    answer = desk.server.http.get("/v1/runs", headers={"authorization": header})
    assert code(answer, 401) == "unauthenticated"
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    secret = header.rpartition(" ")[2]
    assert len(secret) < 10 or secret not in answer.text


def test_no_key_is_written_to_the_log(desk: Desk) -> None:
    run = desk.start("ana")
    assert desk.of["ana"].get(f"/v1/runs/{run}").status_code == 200
    said = desk.server.said()
    assert re.search(rf"GET /v1/runs/{run} 200 [0-9.]+ms ana$", said, re.MULTILINE)
    assert all(key.rpartition("_")[2] not in said for key in desk.keys.values())


def test_a_revoked_key_is_refused_by_the_next_request(desk: Desk) -> None:
    folder = desk.server.folder
    key = new_key(folder, "dora", "--role", "read")
    with desk.server.as_caller(key) as dora:
        assert dora.get("/v1/runs").status_code == 200
        keys = ("--keys", str(folder / "keys.json"))
        key_id = key.split("_")[1]
        assert interlock("key", "revoke", key_id, *keys, folder=folder).returncode == 0
        answer = dora.get("/v1/runs")
        assert code(answer, 401) == "unauthenticated"
        assert "revoked" in answer.json()["detail"]
        listed = json.loads(interlock("key", "list", *keys, "--json", folder=folder).stdout)
    assert {one["name"]: one["state"] for one in listed["keys"]}["dora"] == "revoked"
    assert all("hash" not in one for one in listed["keys"])


def test_a_file_of_keys_that_breaks_lets_nobody_in(tmp_path: Path) -> None:
    key = new_key(tmp_path, "ana", "--role", "read")
    path = tmp_path / "keys.json"
    with served(tmp_path, "--keys", str(path)) as server, server.as_caller(key) as ana:
        assert ana.get("/v1/runs").status_code == 200
        good = path.read_text()
        path.write_text("{")
        assert code(ana.get("/v1/runs"), 503) == "identity_unavailable"
        path.write_text(good + "\n")
        assert ana.get("/v1/runs").status_code == 200


def test_the_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_key(tmp_path, "ana", "--role", "read")
    monkeypatch.setitem(os.environ, "INTERLOCK_KEYS_FILE", str(tmp_path / "keys.json"))
    with served(tmp_path) as server:
        assert server.http.get("/v1/runs").status_code == 401


# Tokens.


def test_a_token_is_taken_and_names_its_person(desk: Desk) -> None:
    with desk.server.as_caller(ISSUER.token(sub="emil")) as emil:
        answer = emil.post("/v1/agents/waiter/runs", json={})
        assert answer.status_code == 202
        events = emil.get(f"/v1/runs/{answer.json()['id']}/events").json()["events"]
        assert events[0]["header"]["by"] == "emil"
        refused = emil.post(f"/v1/runs/{answer.json()['id']}/cancel", json={})
        assert code(refused, 403) == "forbidden"


def test_an_expired_token_is_refused_and_written_nowhere(desk: Desk) -> None:
    token = ISSUER.token(exp=1000)
    with desk.server.as_caller(token) as late:
        answer = late.get("/v1/runs")
    assert code(answer, 401) == "unauthenticated"
    assert "expired" in answer.json()["detail"]
    assert token.rpartition(".")[2] not in answer.text + desk.server.said()


def test_the_metadata_says_whose_tokens_are_taken(desk: Desk) -> None:
    challenge = desk.server.http.get("/v1/runs").headers["www-authenticate"]
    found = re.search(r'resource_metadata="([^"]+)"', challenge)
    assert found is not None
    assert found[1].startswith(desk.server.url)
    metadata = desk.server.http.get(found[1]).json()
    assert metadata["resource"] == "desk"
    assert metadata["authorization_servers"] == ["https://login.example/"]
    assert "il.call" in metadata["scopes_supported"]
    assert desk.server.http.get(f"{found[1]}/mcp").json() == metadata


# What a caller may.


def paths() -> Iterator[tuple[str, str]]:
    """Every path of the API that has a handler, with its method."""
    api = build_api(cast("Any", None))
    for path, operations in api.openapi()["paths"].items():
        for method in operations:
            yield method, path


def test_every_path_needs_a_role(desk: Desk) -> None:
    bodies = {
        "decision": {"choice": "yes"},
        "resolution": {"verdict": "given_up"},
        "raise": {"account": "x", "amount": "1"},
    }
    looked_at = 0
    for method, path in paths():
        if is_open(path):
            continue
        body = bodies.get(path.rpartition("/")[2], {}) if method == "post" else None
        filled = re.sub(r"\{\w+\}", "x", path)
        answer = desk.of["nobody"].request(method, filled, json=body)
        assert code(answer, 403) == "forbidden", path
        looked_at += 1
    assert looked_at > 10


def test_what_is_masked_needs_its_own_role(desk: Desk) -> None:
    run = desk.start("ana")
    for path in (f"/v1/runs/{run}", f"/v1/runs/{run}/events", "/v1/inbox"):
        assert desk.of["bela"].get(path).status_code == 200
        assert code(desk.of["bela"].get(path, params={"reveal": True}), 403) == "forbidden"
        assert desk.of["ana"].get(path, params={"reveal": True}).status_code == 200


# Whose word it is.


def test_a_run_says_who_started_it(desk: Desk) -> None:
    run = desk.start("acme")
    events = desk.of["ana"].get(f"/v1/runs/{run}/events").json()["events"]
    assert (events[0]["header"]["by"], events[0]["header"]["tenant"]) == ("acme", "acme")
    told = interlock("explain", run, folder=desk.server.folder).stdout
    assert "by acme" in told


def test_a_decision_is_of_the_person_who_calls(desk: Desk) -> None:
    task = desk.task_of(desk.start("ana", "asker", "May I?"))
    path = f"/v1/inbox/{task}/decision"
    claimed = desk.of["bela"].post(path, json={"choice": "yes", "by": "ana"})
    assert code(claimed, 403) == "forbidden"
    assert desk.of["bela"].post(path, json={"choice": "yes"}).json()["decided_by"] == "bela"


def test_the_role_that_is_asked_is_needed(desk: Desk) -> None:
    run = desk.start("ana", "asker", "May I?")
    path = f"/v1/inbox/{desk.task_of(run)}/decision"
    for caller in ("carl", "ana", "robot"):
        assert code(desk.of[caller].post(path, json={"choice": "yes"}), 403) == "forbidden"
    assert desk.of["bela"].post(path, json={"choice": "no", "by": "bela"}).status_code == 200
    assert desk.server.folder
    final = until(
        lambda: desk.of["ana"].get(f"/v1/runs/{run}").json().get("result"), "the run is finished"
    )
    assert final == "no by bela"


@pytest.mark.parametrize("path", ["cancel", "signals/go", "retry"])
def test_nobody_acts_under_another_name(desk: Desk, path: str) -> None:
    run = desk.start("ana")
    answer = desk.of["ana"].post(f"/v1/runs/{run}/{path}", json={"by": "bela"})
    assert code(answer, 403) == "forbidden"


# Tenants.


def test_a_caller_of_one_tenant_starts_and_sees_only_its_runs(desk: Desk) -> None:
    acme, ana = desk.of["acme"], desk.of["ana"]
    foreign = desk.start("ana", tenant="other")
    own = desk.start("acme")
    assert code(acme.post("/v1/agents/waiter/runs", json={"tenant": "other"}), 403) == "forbidden"
    listed = acme.get("/v1/runs").json()["runs"]
    assert {run["tenant"] for run in listed} == {"acme"}
    assert own in {run["id"] for run in listed}
    assert acme.get("/v1/runs", params={"tenant": "other"}).json()["runs"] == []
    assert {run["tenant"] for run in ana.get("/v1/runs").json()["runs"]} > {"acme"}
    assert acme.get(f"/v1/runs/{own}").status_code == 200
    for path in (f"/v1/runs/{foreign}", f"/v1/runs/{foreign}/events"):
        assert code(acme.get(path), 404) == "not_found"
    for path in ("cancel", "signals/go", "retry"):
        answer = acme.post(f"/v1/runs/{foreign}/{path}", json={})
        assert code(answer, 404) == "not_found"
    assert ana.get(f"/v1/runs/{foreign}").json()["state"] == "waiting"


def test_tasks_and_effects_of_another_tenant_are_not_there(desk: Desk) -> None:
    acme, ana = desk.of["acme"], desk.of["ana"]
    task = desk.task_of(desk.start("ana", "asker", "May I?", tenant="other"))
    own = desk.task_of(desk.start("acme", "asker", "May I?"))
    assert [one["id"] for one in acme.get("/v1/inbox").json()["tasks"]] == [own]
    answer = acme.post(f"/v1/inbox/{task}/decision", json={"choice": "yes"})
    assert code(answer, 404) == "not_found"

    run = desk.start("ana", "payer", 5, tenant="other")

    def find() -> Any:
        return ana.get("/v1/effects", params={"run": run}).json()["effects"]

    (effect,) = until(find, "the payment is tried")
    for query in ({}, {"run": run}, {"state": effect["state"]}):
        assert acme.get("/v1/effects", params=query).json()["effects"] == []
    path = f"/v1/effects/{effect['effect_key']}/resolution"
    assert code(acme.post(path, json={"verdict": "given_up"}), 404) == "not_found"


def test_an_account_of_another_tenant_is_not_named(desk: Desk) -> None:
    body = {"account": "tenant/other/2026-11-25/usd", "amount": "1"}
    answer = desk.of["acme"].post("/v1/budgets/raise", json=body)
    assert code(answer, 404) == "not_found"
    assert "there are" not in answer.json()["detail"]


def test_the_description_names_the_credentials(desk: Desk) -> None:
    schema = desk.of["ana"].get("/openapi.json").json()
    assert set(schema["components"]["securitySchemes"]) == {"apiKey", "token"}
    assert {"apiKey": []} in schema["security"]
    assert schema["paths"]["/healthz"]["get"]["security"] == []
