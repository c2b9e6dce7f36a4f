"""An application whose model sees handles, and whose payments a person approves.

Served from a folder with `payments.url`; the rest it brings with it.
"""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from interlock import App, EffectKey, Run
from interlock.contract import Contract

__all__ = ["IBAN", "app", "furnish"]

IBAN = "FR76 3000 6000 0112 3456 7890 189"
POLICY = '@id("pay") @approval("billing") permit (principal, action == Action::"pay", resource);\n'


def furnish(folder: Path, payments: str) -> None:
    """Write what the application reads from its folder."""
    (folder / "policies").mkdir()
    (folder / "policies" / "pay.cedar").write_text(POLICY)
    (folder / "payments.url").write_text(payments)


def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Call the tool with the handles that the model was shown, then say that it is done."""
    if len(messages) > 1:
        return ModelResponse(parts=[TextPart("done")])
    arguments = {"iban": "iban#1", "note": "to iban#1, as email#1 asked"}
    return ModelResponse(parts=[ToolCallPart("pay", arguments)])


app = App("sealed", policies=Path.cwd() / "policies")
app.contracts["payer"] = Contract.model_validate({"agent": "payer", "masking": {"handles": True}})
asked = Agent(FunctionModel(answer), name="asked")


@app.tool(effect="irreversible", recovery="key")
async def pay(iban: str, note: str, key: EffectKey) -> str:
    url = Path("payments.url").read_text()
    async with httpx.AsyncClient(base_url=url, trust_env=False) as service:
        body = json.dumps({"iban": iban, "note": note})
        headers = {"idempotency-key": key}
        (await service.post("/key", content=body, headers=headers)).raise_for_status()
    return "paid"


@app.agent("payer")
async def payer(run: Run, text: str) -> str:
    return await run.ask(asked, text, tools=[pay], escalate=False)
