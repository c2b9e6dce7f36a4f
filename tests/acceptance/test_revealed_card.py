"""Under handles, who has the right sees on the card of an approval what will be executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.vault import open_vault_at
from interlock.tools.masking.vault_keys import KEY_VARIABLE
from tests.support.payments import paid, payments_service
from tests.support.sealed_app import IBAN, furnish
from tests.support.serving import interlock, served, store_in, until

APP = "tests.support.sealed_app:app"
EMAIL = "jane.doe@example.com"
SEALED = {"iban": "iban#1", "note": "to iban#1, as email#1 asked"}


def key_of(folder: Path, name: str, *roles: str) -> str:
    words = [word for role in roles for word in ("--role", role)]
    keys = ("--keys", str(folder / "keys.json"))
    return interlock("key", "new", name, *words, *keys, folder=folder).stdout.strip()


def arguments(folder: Path, *more: str) -> Any:
    shown = interlock("inbox", "show", *more, "--json", folder=folder)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)["details"]["arguments"]


def test_the_card_shows_what_is_executed_to_who_may_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, interlock("vault", "key", folder=tmp_path).stdout.strip())
    plain = key_of(tmp_path, "ana", "read", "start", "decide", "billing")
    trusted = key_of(tmp_path, "bela", "read", "decide", "billing", "reveal")
    with payments_service(tmp_path / "ledger.jsonl") as url:
        furnish(tmp_path, url)
        with (
            served(tmp_path, "--keys", str(tmp_path / "keys.json"), app=APP) as server,
            server.as_caller(plain) as ana,
            server.as_caller(trusted) as bela,
        ):
            body = {"input": f"I am {EMAIL}. Pay {IBAN}."}
            assert ana.post("/v1/agents/payer/runs", json=body).status_code == 202
            tasks = until(lambda: ana.get("/v1/inbox").json()["tasks"], "somebody is asked")
            task = tasks[0]["id"]
            assert tasks[0]["details"]["arguments"] == SEALED
            assert ana.get(f"/v1/inbox/{task}").json()["details"]["arguments"] == SEALED
            for path in (f"/v1/inbox/{task}", "/v1/inbox"):
                assert ana.get(path, params={"reveal": True}).status_code == 403
            revealed = bela.get(f"/v1/inbox/{task}", params={"reveal": True}).json()
            listed = bela.get("/v1/inbox", params={"reveal": True}).json()["tasks"]
            assert listed == [revealed]
            seen = revealed["details"]["arguments"]
            assert seen == {"iban": IBAN, "note": f"to {IBAN}, as {EMAIL} asked"}
            assert arguments(tmp_path, task) == SEALED
            assert arguments(tmp_path, task, "--reveal") == seen
            answer = bela.post(f"/v1/inbox/{task}/decision", json={"choice": "approve"})
            assert answer.status_code == 200, answer.text
            until(lambda: paid(tmp_path / "ledger.jsonl"), "it is paid")
    # The server is gone: the vault says it all the same, until the value is erased.
    assert [json.loads(one.body) for one in paid(tmp_path / "ledger.jsonl")] == [seen]
    assert arguments(tmp_path, task, "--reveal") == seen
    vault = open_vault_at(store_in(tmp_path))
    assert vault is not None
    assert vault.erase(EMAIL) == 1
    vault.close()
    assert arguments(tmp_path, task, "--reveal")["note"] == f"to {IBAN}, as email#1 asked"
    monkeypatch.delenv(KEY_VARIABLE)
    refused = interlock("inbox", "show", task, "--reveal", folder=tmp_path)
    assert refused.returncode == 1
    assert "error [vault]" in refused.stderr
    assert arguments(tmp_path, task) == SEALED
