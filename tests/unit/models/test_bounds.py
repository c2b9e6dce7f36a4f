"""What a request may take at most is known before it is made, or it is not made."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent, BinaryContent, ImageUrl
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.settings import ModelSettings

from interlock import App, Run
from interlock.clock import SystemClock
from interlock.contract import Contract
from interlock.errors import RunFailedError
from interlock.models.registry import ModelRegistry
from interlock.observe.cost import cost_view
from interlock.testing.simulated_model import Rule, When
from tests.support.asking import says, simulated
from tests.support.local import app_in, entries_of, executing

IMAGE = ImageUrl("https://example.org/plan.png")
DOT = BinaryContent(b"\x89PNG", media_type="image/png")
TOKENS: dict[str, Any] = {"budgets": {"run": {"tokens": 50_000}}}


def app_of(tmp_path: Path, answers: OpenAIChatModel, prompt: Any, **terms: Any) -> App:
    """An agent that asks this once, with these settings and terms."""
    settings: ModelSettings = terms.pop("settings", None) or {}
    app = app_in(tmp_path)
    agent = Agent(answers, name="inner", model_settings=settings)

    @app.agent("desk")
    async def desk(run: Run) -> str:
        return await run.ask(agent, prompt)

    app.contracts["desk"] = Contract(agent="desk", **terms)
    return app


@pytest.mark.parametrize("file", [IMAGE, DOT], ids=["by address", "by bytes"])
def test_a_file_under_a_budget_of_tokens_needs_a_bound(tmp_path: Path, file: Any) -> None:
    async def main() -> None:
        async with simulated(rules=[Rule(reply=says("A plan."))]) as model:
            prompt = ["What is it?", file]
            app = app_of(tmp_path / "a", model.model, prompt, **TOKENS)
            async with executing(app) as local:
                with pytest.raises(RunFailedError, match=r"model\.tokens_per_file"):
                    await (await local.start("desk")).result()
            assert not model.ledger.entries()
            bounded = {"model": {"tokens_per_file": 3_000}}
            app = app_of(tmp_path / "b", model.model, prompt, **TOKENS, **bounded)
            async with executing(app) as local:
                handle = await local.start("desk")
                assert await handle.result() == "A plan."
                (asked,) = entries_of(local, handle.id, "model_requested")
                ((_, _, held),) = asked.event.header["holds"]
                assert held > 3_000 + 4_096
            # Without a budget of tokens or money there is nothing to bound.
            app = app_of(tmp_path / "c", model.model, prompt, budgets={"run": {"model_calls": 5}})
            async with executing(app) as local:
                assert await (await local.start("desk")).result() == "A plan."

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    asyncio.run(main())


def test_settings_that_undo_the_bound_of_an_answer_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("Never.")) as model:
            settings = ModelSettings(extra_body={"n": 5, "user": "ann"})
            app = app_of(tmp_path, model.model, "Hello", settings=settings, **TOKENS)
            async with executing(app) as local:
                with pytest.raises(RunFailedError, match=r"\['n'\] in extra_body"):
                    await (await local.start("desk")).result()
            assert not model.ledger.entries()

    asyncio.run(main())


def test_no_bound_by_the_agent_is_the_contracts(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("Short.")) as model:
            settings: Any = {"max_tokens": None}
            app = app_of(tmp_path, model.model, "Hello", settings=settings, **TOKENS)
            async with executing(app) as local:
                handle = await local.start("desk")
                assert await handle.result() == "Short."
                (asked,) = entries_of(local, handle.id, "model_requested")
                ((_, _, held),) = asked.event.header["holds"]
                assert held > 4_096

    asyncio.run(main())


def test_an_answer_that_nobody_counted_has_no_known_cost(tmp_path: Path) -> None:
    terms: dict[str, Any] = {
        "budgets": {"run": {"usd": 1}},
        "prices": {"openai:small": {"input_usd_per_million": 1, "output_usd_per_million": 2}},
    }

    async def main() -> None:
        uncounted = says("Hello.", usage_missing=True)
        async with simulated(uncounted) as model:
            app = app_of(tmp_path, model.model, "Hello", **terms)
            async with executing(app) as local:
                handle = await local.start("desk")
                assert await handle.result() == "Hello."
                cost = cost_view(local.store.read(handle.id))
                assert (cost.usd, cost.unpriced_calls) == ("0", 1)
                assert cost.uncertain_usd != "0"

    asyncio.run(main())


def test_limits_of_a_provider_hold_by_the_prefix_of_a_models_name() -> None:
    limits: dict[str, Any] = {"providers": {"openai-chat": {"requests_per_minute": 7}}}
    contract = Contract(agent="desk", **limits)

    async def main() -> None:
        async with simulated(says("Never.")) as model:
            registry = ModelRegistry(SystemClock(), [contract], {"openai-chat:small": model.model})
            assert registry.named("openai-chat:small").gate.limits.rate.requests_per_minute == 7
            assert registry.of(model.model).provider == "openai-chat"
            other = ModelRegistry(SystemClock(), [], {"openai-chat:small": model.model})
            assert other.named("openai-chat:small").provider == "openai"

    asyncio.run(main())


def test_a_summary_reads_the_summary_before_it(tmp_path: Path) -> None:
    """What is left out is read once: each summary is told the one before and what came since."""

    async def main() -> None:
        summary = Rule(when=When(user_contains="Summarise the"), reply=says("So far: all is well."))
        async with simulated(rules=[summary, Rule(reply=says("Good."))]) as model:
            app = app_in(tmp_path)
            agent = Agent(model.model, name="chat")
            app.deploy(
                agent,
                Contract.model_validate(
                    {
                        "agent": "chat",
                        "conversation": {"keep_messages": 2, "summarise": True},
                    }
                ),
            )
            async with executing(app) as local:
                handle = await local.start("chat", {"prompt": "Word 0", "conversation": "c"})
                for number in range(1, 5):
                    await handle.result()
                    asked = {"prompt": f"Word {number}", "conversation": "c"}
                    handle = await local.start("chat", asked)
                assert await handle.result() == "Good."
                said = [
                    json.dumps(json.loads(entry.body or b"")["said"])
                    for entry in entries_of(local, handle.id, "model_answered")
                ]
                (request,) = (text for text in said if "Summarise the" in text)
                assert "Earlier summary: So far: all is well." in request
                assert "Word 2" in request
                assert "Word 0" not in request
                assert "Word 1" not in request
                stream = local.store.read("conversation/default/c")
                kinds = [entry.event.kind for entry in stream]
                assert kinds.count("conversation_summarised") == 3
                # Messages that are all covered are not summed up again.
                again = json.loads(stream[-1].body or b"")
                assert again["covers"] == 6

    asyncio.run(main())
