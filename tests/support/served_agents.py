"""An application whose agents ask a model, to serve in tests; INTERLOCK_TEST_MODEL says where."""

from __future__ import annotations

import os

from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from interlock import App, Run

client = AsyncOpenAI(base_url=os.environ["INTERLOCK_TEST_MODEL"], api_key="not-a-secret")
app = App("served_agents")
faq = Agent(OpenAIChatModel("small", provider=OpenAIProvider(openai_client=client)), name="faq")


@app.agent("faq")
async def answer(run: Run, question: str) -> str:
    """Answer once somebody says `go`, so that who wants to follow is there by then."""
    await run.wait("go")
    return await run.ask(faq, question)
