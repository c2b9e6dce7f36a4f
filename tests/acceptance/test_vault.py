"""A contract with handles: the model sees `iban#1`, the tool gets the IBAN, the journal neither."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from typer.testing import CliRunner

from interlock import App, EffectKey, Run
from interlock.cli.program import app as program
from interlock.contract import Contract
from interlock.errors import RunFailedError, VaultError
from interlock.testing.simulated_model import Scenario, SimulatedModel
from interlock.tools.masking.vault_keys import KEY_VARIABLE
from tests.support.asking import calls, says, simulated

IBAN = "FR76 3000 6000 0112 3456 7890 189"
EMAIL = "jane.doe@example.com"
OTHER = "bob@example.org"
KEY = f"k1:{base64.b64encode(bytes(range(32))).decode()}"
HANDLES = {"agent": "pay", "masking": {"handles": True, "person": "input.customer"}}


class Ticket(BaseModel):
    """What comes in."""

    customer: str
    text: str


class Desk:
    """An app whose agent may look people up and pay them, and what its tools were given."""

    def __init__(self, folder: Path, model: Any = None) -> None:
        self.app = App("desk", store=f"sqlite:///{folder / 'desk.db'}")
        self.app.contracts["pay"] = Contract.model_validate(HANDLES)
        self.paid: list[tuple[str, str]] = []
        self.path = folder / "desk.db"

        @self.app.tool(effect="read")
        async def find(name: str) -> dict[str, str]:
            return {"name": name, "email": OTHER}

        @self.app.tool(effect="write", recovery="never")
        def pay(iban: str, note: str, *, key: EffectKey) -> str:
            self.paid.append((iban, note))
            return f"paid {iban}"

        self.find, self.pay = find, pay
        asked = Agent(model, name="payer") if model is not None else Agent(name="payer")

        @self.app.agent("pay")
        async def agent(run: Run, ticket: Ticket) -> str:
            said = await run.ask(asked, ticket.text, tools=[find, pay], escalate=False)
            await run.wait("go", timeout=timedelta(seconds=0.01), default=None)
            return said

    def everything(self) -> bytes:
        """All bytes of the journal and of the vault, but the run's input, which has the values."""
        rows = sqlite3.connect(self.path).execute(
            "SELECT e.kind, e.header, b.body FROM events e LEFT JOIN bodies b USING (position)"
        )
        parts = [f"{k}{h}{b!r}".encode() for k, h, b in rows if k != "run_queued"]
        return b"".join(parts) + Path(f"{self.path}-vault").read_bytes()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


TURNS = (
    calls("find", name="Bob"),
    calls("pay", iban="iban#1", note="for email#1, copy to email#2"),
    says("Paid iban#1, told email#1."),
)
TICKET = Ticket(customer="cust-7", text=f"I am {EMAIL}. Refund {IBAN}, not iban#9.")


@asynccontextmanager
async def listened(said: list[str]) -> AsyncGenerator[OpenAIChatModel]:
    """The simulated model, and all that is sent to it, as it leaves the process."""

    async def listen(request: httpx.Request) -> None:
        said.append(request.content.decode())

    with SimulatedModel(Scenario(turns=TURNS)) as server:
        async with (
            httpx.AsyncClient(event_hooks={"request": [listen]}) as http,
            AsyncOpenAI(
                base_url=server.base_url, api_key="none", http_client=cast("Any", http)
            ) as client,
        ):
            yield OpenAIChatModel("small", provider=OpenAIProvider(openai_client=client))


def test_the_model_sees_handles_and_the_tool_gets_values(tmp_path: Path) -> None:
    async def main() -> None:
        said: list[str] = []
        async with listened(said) as model:
            desk = Desk(tmp_path, model)
            async with desk.app.executor() as executor:
                handle = await executor.start("pay", TICKET)
                assert await handle.result() == "Paid iban#1, told email#1."
        assert desk.paid == [(IBAN, f"for {EMAIL}, copy to {OTHER}")]
        sent, found = "".join(said), desk.everything()
        for value in (IBAN, EMAIL, OTHER):
            assert value not in sent
            assert value.encode() not in found
        # What only looked like a handle is none.
        assert "not iban #9" in sent

    asyncio.run(main())


@pytest.mark.parametrize(("forbidden", "paid"), [("FR*", 0), ("DE*", 1)])
def test_a_policy_judges_what_a_handle_stands_for(
    tmp_path: Path, forbidden: str, paid: int
) -> None:
    rights = tmp_path / "policies"
    rights.mkdir()
    (rights / "desk.cedar").write_text(
        '@id("all") permit (principal, action, resource);\n'
        '@id("never") forbid (principal, action == Action::"pay", resource) '
        f'when {{ context.args.iban like "{forbidden}" }};'
    )

    async def main() -> Desk:
        async with simulated(*TURNS) as model:
            desk = Desk(tmp_path, model.model)
            desk.app.policies = rights
            async with desk.app.executor() as executor:
                row = await (await executor.start("pay", TICKET)).row()
                assert row.state in ("completed", "failed")
        return desk

    desk = asyncio.run(main())
    assert len(desk.paid) == paid
    assert IBAN.encode() not in desk.everything()


def test_without_a_key_nothing_starts_and_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start() -> None:
        async with Desk(tmp_path).app.executor():
            pass

    for given in (None, "nonsense", "k1:c2hvcnQ="):
        monkeypatch.delenv(KEY_VARIABLE) if given is None else monkeypatch.setenv(
            KEY_VARIABLE, given
        )
        with pytest.raises(VaultError, match="interlock vault key") as caught:
            asyncio.run(start())
        assert given is None or given not in str(caught.value)
        monkeypatch.setenv(KEY_VARIABLE, KEY)


def test_another_key_is_told_and_rotation_needs_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path)

    async def start() -> None:
        async with desk.app.executor():
            pass

    def vault(*words: str) -> Any:
        return CliRunner().invoke(program, ["vault", *words, "--store", desk.app.store])

    asyncio.run(start())
    new = f"k2:{base64.b64encode(bytes(32)).decode()}"
    monkeypatch.setenv(KEY_VARIABLE, new)
    with pytest.raises(VaultError, match="'k1'"):
        asyncio.run(start())
    monkeypatch.setenv(KEY_VARIABLE, f"k1:{base64.b64encode(bytes(32)).decode()}")
    with pytest.raises(VaultError, match="another one than it was"):
        asyncio.run(start())
    monkeypatch.setenv(KEY_VARIABLE, f"{new},{KEY}")
    assert "wrapped 1 keys" in vault("rotate").output
    monkeypatch.setenv(KEY_VARIABLE, new)
    asyncio.run(start())


@pytest.mark.parametrize("whom", ["cust-7", EMAIL])
def test_erasing_a_person_keeps_the_journal_sound(tmp_path: Path, whom: str) -> None:
    async def until_waiting() -> str:
        async with simulated(*TURNS) as model:
            desk = Desk(tmp_path, model.model)

            async with desk.app.executor() as executor:
                handle = await executor.start("pay", TICKET)
                await handle.result()
                return handle.id

    asyncio.run(until_waiting())
    store = f"sqlite:///{tmp_path / 'desk.db'}"
    erased = CliRunner().invoke(program, ["vault", "erase", whom, "--store", store, "--json"])
    assert json.loads(erased.output) == {"erased": 3 if whom == "cust-7" else 1}
    again = CliRunner().invoke(program, ["vault", "erase", whom, "--store", store, "--json"])
    assert json.loads(again.output) == {"erased": 0}
    verified = CliRunner().invoke(program, ["verify", "--rebuild", "--store", store])
    assert verified.exit_code == 0, verified.output
    assert EMAIL.encode() not in Path(f"{tmp_path / 'desk.db'}-vault").read_bytes()


def test_a_run_whose_values_were_erased_is_parked_and_says_so(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'desk.db'}"

    async def main() -> None:
        async with simulated(*TURNS) as model:
            desk = Desk(tmp_path, model.model)
            asked = Agent(model.model, name="payer")
            desk.app.contracts["late"] = Contract.model_validate({**HANDLES, "agent": "late"})

            @desk.app.agent("late")
            async def late(run: Run, ticket: Ticket) -> str:
                said = await run.ask(asked, ticket.text, tools=[desk.find, desk.pay])
                await run.wait("go")
                return said

            async with desk.app.executor() as executor:
                handle = await executor.start("late", TICKET)
                while executor.store.run(handle.id).state != "waiting":  # type: ignore[union-attr]
                    await asyncio.sleep(0.01)
            done = await asyncio.to_thread(
                CliRunner().invoke, program, ["vault", "erase", "cust-7", "--store", store]
            )
            assert done.exit_code == 0, done.output
            async with desk.app.executor() as executor:
                await executor.client.signal(handle.id, "go")
                while (row := executor.client.run(handle.id)).state not in ("parked", "completed"):
                    await asyncio.sleep(0.01)
                agent = executor.client.agent("late")
                with pytest.raises(RunFailedError, match="erased from the vault"):
                    executor.result_of(row, agent)

    asyncio.run(main())
