"""An application to serve in tests of the command line and the API: one agent per behaviour."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from pydantic import BaseModel, Field

from interlock import App, Plan, PlanStep, Run

app = App("served")


class Address(BaseModel):
    """Where to."""

    city: str
    zip_code: int


class Ticket(BaseModel):
    """What a customer wrote."""

    text: str
    priority: int = Field(default=0, ge=0)
    address: Address | None = None


def shout(text: str) -> str:
    return text.upper()


@app.agent("echo")
async def echo(run: Run, ticket: Ticket) -> dict[str, str]:
    answer = await run.step(shout, ticket.text)
    run.outcome("resolved")
    return {"answer": answer}


@app.agent("waiter")
async def waiter(run: Run) -> str:
    return await run.wait("go", type=str)


@app.agent("asker")
async def asker(run: Run, question: str) -> str:
    decision = await run.escalate(question, to="boss", choices=["yes", "no"])
    return f"{decision.choice} by {decision.by}"


@app.agent("failer")
async def failer(run: Run) -> str:
    raise ValueError("it cannot be done")


@app.agent("stuck")
async def stuck(run: Run) -> str:
    await asyncio.Event().wait()
    return "never"


@app.tool(effect="write", recovery="never")
async def pay(amount: int) -> str:
    raise RuntimeError(f"nobody knows what became of {amount}")


@app.agent("payer")
async def payer(run: Run, amount: int) -> str:
    return await run.call(pay, amount)


@app.tool(effect="read")
def double(number: int) -> int:
    return 2 * number


@app.agent("planner")
async def planner(run: Run, number: int) -> int:
    first = PlanStep(id="first", tool="double", arguments={"number": number})
    second = PlanStep(
        id="second",
        tool="double",
        arguments={"number": {"$result": "first"}},
        depends_on=("first",),
    )
    return (await run.execute(Plan(steps=(first, second)), tools=[double]))["second"]


async def there(path: str) -> str:
    """Begin, and wait for a file."""
    Path(f"{path}.begun").touch()
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    return "there"


def there_in_thread(path: str) -> str:
    """As `there`, in a thread that nothing can stop."""
    Path(f"{path}.begun").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return "there"


@app.agent("patient")
async def patient(run: Run, path: str) -> str:
    return await run.step(there, path)


@app.agent("threaded")
async def threaded(run: Run, path: str) -> str:
    return await run.step(there_in_thread, path)
