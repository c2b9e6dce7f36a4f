"""An application that pays what people approve: served from a folder that holds its policies.

`payments.url` in the working directory says where the payment service is.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from interlock import NOT_HAPPENED, App, EffectKey, Happened, Run
from interlock.base.codec import canonical

__all__ = ["POLICIES", "app", "body_of", "furnish", "order", "people"]

# `send` pays at every request: a second one would show.
POLICIES = """
@id("small") permit (principal, action in [Action::"pay", Action::"send"], resource)
when { context.amount <= 5000 };
@id("large") @approval("billing") @within("1h")
permit (principal, action in [Action::"pay", Action::"send"], resource)
when { context.amount > 5000 && context.amount <= 100000 };
@id("huge") @approval("billing") @two_persons @within("1h")
permit (principal, action in [Action::"pay", Action::"send"], resource)
when { context.amount > 100000 };
@id("pressing") @approval("billing") @within("2s")
permit (principal, action == Action::"pay_soon", resource);
@id("blocked") forbid (principal, action in [Action::"pay", Action::"send"], resource)
when { context.args.account == "blocked" };
"""
HOLDERS = ("ana", "bela", "chidi")


def people(*, dora_until: str = "2999-12-31") -> str:
    """`people.yaml`: three who hold the role, one who acts for Ana, one whose time is over."""
    return (
        f"roles: {{billing: [{', '.join(HOLDERS)}]}}\n"
        "delegations:\n"
        f"  - {{from: ana, to: dora, role: billing, until: {dora_until}}}\n"
        "  - {from: bela, to: eve, role: billing, until: 2001-01-01}\n"
    )


def furnish(folder: Path, payments: str) -> None:
    """Write what the application reads from its folder."""
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "paying.cedar").write_text(POLICIES)
    (folder / "policies" / "people.yaml").write_text(people())
    (folder / "payments.url").write_text(payments)


def order(tool: str, account: str, cents: int) -> dict[str, Any]:
    """The input of a run of `payer`."""
    note = f"für {account} – “{cents}”"
    return {"tool": tool, "arguments": {"account": account, "cents": cents, "note": note}}


def body_of(arguments: dict[str, Any]) -> str:
    """The bytes that a call with these arguments sends."""
    return canonical(arguments, "a payment").decode()


app = App("paying", policies=Path.cwd() / "policies")


def _client() -> httpx.AsyncClient:
    url = Path("payments.url").read_text()
    return httpx.AsyncClient(base_url=url, timeout=10, trust_env=False)


async def quote(account: str, cents: int, note: str) -> str:
    async with _client() as service:
        return (await service.get("/quote", params={"account": account})).text


async def _paid(path: str, arguments: dict[str, Any], key: str) -> str:
    async with _client() as service:
        headers = {"idempotency-key": key}
        answer = await service.post(path, content=body_of(arguments), headers=headers)
        answer.raise_for_status()
    return json.dumps(arguments)


async def find(account: str, cents: int, note: str, key: EffectKey) -> Any:
    async with _client() as service:
        answer = await service.get("/lookup", params={"key": key})
    done = json.dumps({"account": account, "cents": cents, "note": note})
    return Happened(done) if answer.json()["paid"] else NOT_HAPPENED


@app.tool(effect="irreversible", recovery="key", amount="cents", dry_run=quote)
async def pay(account: str, cents: int, note: str, key: EffectKey) -> str:
    return await _paid("/key", {"account": account, "cents": cents, "note": note}, key)


@app.tool(effect="irreversible", recovery="key", amount="cents")
async def pay_soon(account: str, cents: int, note: str, key: EffectKey) -> str:
    return await _paid("/key", {"account": account, "cents": cents, "note": note}, key)


@app.tool(
    effect="irreversible",
    recovery="lookup",
    lookup=find,
    amount="cents",
    settle=timedelta(seconds=0.5),
)
async def send(account: str, cents: int, note: str, key: EffectKey) -> str:
    return await _paid("/lookup", {"account": account, "cents": cents, "note": note}, key)


@app.agent("payer")
async def payer(run: Run, order: dict[str, Any]) -> str:
    tools = {"pay": pay, "pay_soon": pay_soon, "send": send}
    return await run.call(tools[order["tool"]], **order["arguments"])
