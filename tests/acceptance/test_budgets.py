"""Budgets as people and machines meet them: the command line and real HTTP on one journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from interlock.cli import app
from interlock.journal import open_store
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit
from interlock.limits.budget import Account, WorstCase, opening, reserve, settle_worst_case
from tests.support.serving import Served, served, store_in

USD = "tenant/acme/2026-11-25/usd"
CALLS = "run/r1/model_calls"


def prepared(folder: Path) -> None:
    """Two accounts, on one of which 0.25 USD are held and 1 is spent."""
    store = open_store(store_in(folder))
    accounts = [Account(USD, "usd", 2_000_000), Account(CALLS, "model_calls", 3)]
    store.commit(opening(accounts))
    for attempt, micro_usd in enumerate((1_000_000, 250_000)):
        worst = WorstCase(micro_usd=micro_usd)
        call = reserve(accounts, worst, run="r1", generation=1, key="/ask#1", attempt=attempt)
        ends = settle_worst_case(call.holds) if attempt == 0 else (Draft("noted"),)
        store.commit([Commit((Append("r1", (*call.drafts, *ends)),), call.guards)])
    store.close()


def command(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["budget", *arguments, "--store", store_in(folder)])


def ok(result: Result) -> str:
    assert result.exit_code == 0, (result.stderr, result.exception)
    return result.stdout


SHOWN = {
    "account": USD, "unit": "usd", "limit": "2", "held": "0.25", "spent": "1", "left": "0.75",
}  # fmt: skip


def test_the_list_for_people_and_for_machines(tmp_path: Path) -> None:
    prepared(tmp_path)
    lines = ok(command(tmp_path, "list")).splitlines()
    assert lines[0].split() == ["account", "limit", "held", "spent", "left"]
    assert [line.split() for line in lines[2:]] == [
        [CALLS, "3", "0", "0", "3"],
        [USD, "2", "0.25", "1", "0.75"],
    ]
    found = json.loads(ok(command(tmp_path, "list", "--prefix", "tenant/", "--json")))
    assert found == {"budgets": [SHOWN]}
    assert ok(command(tmp_path, "list", "--prefix", "agent/")) == "no budgets\n"


def test_a_raise_is_in_the_unit_of_the_account(tmp_path: Path) -> None:
    prepared(tmp_path)
    raised = ("raise", USD, "0.50", "--by", "ada", "--message-id", "m1")
    said = ok(command(tmp_path, *raised))
    assert said == f"raised {USD} to 2.5; 1.25 is left (message m1)\n"
    again = json.loads(ok(command(tmp_path, *raised, "--json")))
    assert again == {
        "budget": {**SHOWN, "limit": "2.5", "left": "1.25"}, "message": "m1", "runs": [],
    }  # fmt: skip
    assert f"raised {CALLS} to 5;" in ok(command(tmp_path, "raise", CALLS, "2"))


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code", "says"),
    [
        (("tenant/acme/usd", "0.5"), 1, "not_found", f"there are: {USD}."),
        ((USD, "much"), 2, "invalid_input", "'much' is no amount"),
        ((USD, "0"), 2, "invalid_input", "by more than 0"),
        ((CALLS, "0.5"), 2, "invalid_input", "too fine for model_calls; give a whole number"),
        ((USD, "1", "--message-id", "m1"), 2, "idempotency_conflict", "by another amount"),
    ],
)
def test_what_is_wrong_with_a_raise_is_said(
    tmp_path: Path, arguments: tuple[str, ...], exit_code: int, code: str, says: str
) -> None:
    prepared(tmp_path)
    ok(command(tmp_path, "raise", USD, "2", "--message-id", "m1"))
    result = command(tmp_path, "raise", *arguments)
    assert result.exit_code == exit_code, result.output
    assert result.stderr.startswith(f"error [{code}]: ")
    assert says in result.stderr


def test_listing_makes_no_journal(tmp_path: Path) -> None:
    assert command(tmp_path, "list").exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("http_budgets")
    prepared(folder)
    with served(folder) as up:
        yield up


def test_budgets_over_http(server: Served) -> None:
    found = server.http.get("/v1/budgets").json()
    assert [row["account"] for row in found["budgets"]] == [CALLS, USD]
    found = server.http.get("/v1/budgets", params={"prefix": "tenant/", "limit": 1}).json()
    assert found == {"budgets": [SHOWN]}
    body = {"account": CALLS, "amount": "4", "by": "ana"}
    for _ in range(2):
        answer = server.post("/v1/budgets/raise", body, headers={"Idempotency-Key": "k1"})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["budget"]["limit"], answer.json()["message"]) == ("7", "k1")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"account": "nobody", "amount": "0.5"}, 404, "not_found"),
        ({"account": USD, "amount": "-1"}, 422, "invalid_input"),
        ({"account": USD, "amount": 1}, 422, "invalid_input"),
        ({"account": USD}, 422, "invalid_input"),
        ({"account": USD, "amount": "1", "limit": "2"}, 422, "invalid_input"),
    ],
)
def test_what_is_wrong_with_a_raise_is_a_problem(
    server: Served, body: dict[str, Any], status: int, code: str
) -> None:
    answer = server.post("/v1/budgets/raise", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    (row,) = server.http.get("/v1/budgets", params={"prefix": "tenant/"}).json()["budgets"]
    assert row["limit"] == "2"
