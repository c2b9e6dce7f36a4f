"""An application whose agents ask a model, to serve in tests; INTERLOCK_TEST_MODEL says where."""

from __future__ import annotations

import os

from pydantic_ai import Agent

from interlock import App, Run
from tests.support.asking import model_at

app = App("served_agents")
faq = Agent(model_at(os.environ["INTERLOCK_TEST_MODEL"]), name="faq")


@app.agent("faq")
async def answer(run: Run, question: str) -> str:
    """Answer once somebody says `go`, so that who wants to follow is there by then."""
    await run.wait("go")
    return await run.ask(faq, question)
