"""An application that offers tools over MCP, to serve in tests. What a tool does is in a file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from interlock import App, EffectKey, Run

HOME = Path(os.environ.get("INTERLOCK_TEST_HOME", "."))
app = App("shop", policies=HOME / "policies", contracts=HOME / "contracts")


def _make(**what: Any) -> None:
    with (HOME / "made.jsonl").open("a") as file:
        file.write(json.dumps(what) + "\n")


class Order(BaseModel):
    """What was bought."""

    number: int
    customer: str
    note: str | None = None


@app.tool(effect="read", sensitive=("result.customer",))
async def find_order(number: int) -> Order:
    """Find an order by its number."""
    return Order(number=number, customer="ada")


@app.tool(effect="read")
async def find_numbers(of: str) -> list[int]:
    """The numbers of a customer's orders."""
    return [17, len(of)]


@app.tool(effect="read")
async def broken(tool: str) -> Any:
    """Fail, with a secret in the message."""
    raise RuntimeError(f"no {tool}; password=Tr0ub4dor-3-horse")


@app.tool(effect="irreversible", recovery="key", amount="cents", sensitive=("args.account",))
async def refund(account: str, cents: int, key: EffectKey) -> str:
    """Pay a customer back."""
    _make(tool="refund", account=account, cents=cents, key=key)
    return f"paid {cents}"


@app.tool(effect="write", recovery="repeatable")
async def note(text: str, *, pinned: bool = False) -> None:
    """Keep a note."""
    _make(tool="note", text=text, pinned=pinned)


@app.tool(effect="write", recovery="key", destinations=("to",))
async def send(to: str, body: str, key: EffectKey) -> str:
    """Send a message."""
    _make(tool="send", to=to, key=key)
    return "sent"


@app.tool(effect="write", recovery="repeatable")
def slowly(gate: str) -> str:
    """Wait for a file, then be done."""
    _make(tool="slowly")
    while not Path(gate).exists():
        time.sleep(0.01)
    return "done"


@app.tool(effect="write", recovery="repeatable")
async def inner(text: str) -> None:
    """For agents of ours only."""
    _make(tool="inner", text=text)


@app.agent("clerk")
async def clerk(run: Run, text: str) -> None:
    await run.call(inner, text)


OFFERED = (find_order, find_numbers, broken, refund, note, send, slowly)
app.offer("partner", *OFFERED)
app.offer("reader", find_order)
app.offer("local", *OFFERED)
