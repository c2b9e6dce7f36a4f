"""What people see of a run that asks a model: its story, its cost, its questions to people."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic_ai import Agent

from interlock import App, LocalExecutor
from interlock.contract import Contract
from interlock.journal.event import NO_BODY, NO_HASH, Entry, Event
from interlock.observe.cost import CostView, cost_in_words, cost_view
from interlock.observe.explain import Explanation, explain
from interlock.observe.sentence import sentence
from interlock.observe.view import task_view
from interlock.testing.simulated_model import Rule, Usage
from tests.support.asking import Simulated, calls, says, simulated, wrong
from tests.support.local import app_in, executing, open_task, until_state

PRICES = {
    "openai:small": {"input_usd_per_million": Decimal(1), "output_usd_per_million": Decimal(10)}
}
READ = {"interlock": {"effect": "read"}}


def desk(folder: Path, simulation: Simulated, /, **terms: Any) -> App:
    """An app with one agent that can look things up."""
    agent = Agent(simulation.model, name="desk")

    @agent.tool_plain(metadata=READ)
    def look_up(order: int) -> str:
        return f"order {order} is on its way"

    app = app_in(folder)
    app.deploy(agent, Contract(agent="desk", **terms))
    return app


def explained(local: LocalExecutor, run: str, *, bodies: bool = True) -> Explanation:
    """The run as of now."""
    return explain(local.store, run, local.client.run(run).updated_at_us, bodies=bodies)


def story(explanation: Explanation) -> str:
    """All lines in one text."""
    return "\n".join(line.text for line in explanation.story)


def test_the_story_says_what_was_asked_and_what_it_cost(tmp_path: Path) -> None:
    async def main() -> tuple[Explanation, Explanation]:
        wants = calls("look_up", order=7).model_copy(
            update={"usage": Usage(prompt_tokens=2000, completion_tokens=30)}
        )
        tells = says("It is on its way.").model_copy(
            update={"usage": Usage(prompt_tokens=2500, completion_tokens=9)}
        )
        async with simulated(wants, tells) as model:
            budgets = {"run": {"usd": Decimal(1), "tool_calls": 5}}
            app = desk(tmp_path, model, budgets=budgets, prices=PRICES)
            async with executing(app) as local:
                handle = await local.start("desk", "Where is my order?")
                await handle.result()
                return explained(local, handle.id), explained(local, handle.id, bodies=False)

    shown, hidden = asyncio.run(main())
    told = story(shown)
    assert "Is about to ask model 'openai:small'; held for it: $" in told
    assert 'answered: 2,000 tokens in, 30 out, $0.0023. Wants: look_up {"order":7}.' in told
    assert 'answered: 2,500 tokens in, 9 out, $0.00259. Text: "It is on its way.".' in told
    assert "Held for the next call of a tool: 1 tool call of run/run_" in told
    assert not {"budget_reserved", "budget_settled"} & {line.kind for line in shown.story}
    assert shown.cost == CostView(
        model_calls=2, failed_calls=0, input_tokens=4500, output_tokens=39, usd="0.00489",
        unpriced_calls=0, uncertain_usd="0",
    )  # fmt: skip
    assert hidden.cost == shown.cost
    assert "on its way" not in story(hidden)
    assert "look_up {" not in story(hidden)
    assert cost_in_words(shown.cost) == (
        "It cost 2 model calls, 4,500 tokens in and 39 out, $0.00489."
    )


def test_a_loop_is_shown_with_its_calls(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(rules=[Rule(loop=(calls("look_up", order=7),))]) as model:
            app = desk(tmp_path, model, output={"escalate_to": "boss"})
            async with executing(app) as local:
                handle = await local.start("desk", "Where is my order?")
                row = await open_task(local, handle.id)
                run = await until_state(local, handle.id, "waiting")
                said = sentence(local.store, run, run.updated_at_us)
                assert "(no usable answer came from a model) since" in said
                assert f"boss can unblock it (`interlock decide {row.id} retry|answer|" in said
                view = task_view(local.store, row)
                assert (view.kind, view.choices) == ("ask", ["retry", "answer", "give_up"])
                assert (view.details["asked"], view.details["problem"]) == (
                    "Where is my order?",
                    "loop",
                )
                assert [call["tool"] for call in view.details["loop"]["calls"]] == ["look_up"] * 3
                told = story(explained(local, handle.id))
                assert "Asked a person (boss) because no usable answer came" in told
                assert 'The calls: (1) look_up {"order":7}: new answer; (2) look_up' in told
                await local.client.decide(row.id, "answer", value="Friday.", by="ana")
                assert await handle.result() == "Friday."
                assert "ana decided: 'answer'. Value: \"Friday.\"." in story(
                    explained(local, handle.id)
                )

    asyncio.run(main())


def test_an_exhausted_budget_is_told_until_it_is_topped_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("It is on its way.")) as model:
            app = desk(tmp_path, model, budgets={"run": {"usd": Decimal(0)}}, prices=PRICES)
            async with executing(app) as local:
                handle = await local.start("desk", "Where is my order?")
                row = await open_task(local, handle.id)
                run = await until_state(local, handle.id, "waiting")
                said = sentence(local.store, run, run.updated_at_us)
                assert "(a budget is exhausted) since" in said
                assert f"`interlock decide {row.id} top_up|finish|stop`" in said
                view = task_view(local.store, row)
                assert view.details == {"account": f"run/{handle.id}/usd"}
                await local.client.decide(row.id, "top_up", value="0.5", by="ana")
                assert await handle.result() == "It is on its way."
                told = story(explained(local, handle.id))
        assert "too little left for asking model 'openai:small': $0 left and $" in told
        assert "because a budget is exhausted" in told
        assert f"ana raised budget 'run/{handle.id}/usd' by $0.5." in told

    asyncio.run(main())


def test_a_request_whose_cost_nobody_knows_is_told_apart(tmp_path: Path) -> None:
    async def main() -> None:
        fails_once = Rule(reply=wrong(status=500), times=1)
        async with simulated(says("It is on its way."), rules=[fails_once]) as model:
            budgets = {"run": {"usd": Decimal(1)}}
            app = desk(tmp_path, model, budgets=budgets, prices=PRICES, model={"attempts": 1})
            async with executing(app) as local:
                handle = await local.start("desk", "Where is my order?")
                await local.client.decide((await open_task(local, handle.id)).id, "retry")
                await handle.result()
                explanation = explained(local, handle.id)
                (account,) = local.store.budgets()
        cost, told = explanation.cost, story(explanation)
        assert "Attempt 1 of asking model 'openai:small' failed: " in told
        assert "another attempt may succeed" in told
        assert (cost.model_calls, cost.failed_calls) == (1, 1)
        assert float(cost.uncertain_usd) > 0
        counted = float(cost.usd) + float(cost.uncertain_usd)
        assert round(counted * 1_000_000) == account.spent
        assert cost_in_words(cost).endswith(
            f"1 request sent without an answer, ${cost.uncertain_usd} counted for what nobody "
            "knows the cost of."
        )

    asyncio.run(main())


def event(kind: str, key: str, **header: Any) -> Entry:
    """One event of a run."""
    return Entry(Event("run_1", 1, 1, 1, kind, 1, key, 0, header, NO_BODY, NO_HASH), None, False)


def test_generations_that_use_the_same_keys_are_added_up() -> None:
    account = {"account": "run/run_1/usd", "hold": "h"}
    failed = [
        event("model_attempt_failed", "/a.model#1", sent=1),
        event("budget_settled", "/a.model#1", amount=700, **account),
        event("budget_settled", "/a.model#1", amount=700, account="agent/a/2026-05-01/usd"),
    ]
    cost = cost_view([*failed, event("run_continued", "", generation=2), *failed])
    assert (cost.failed_calls, cost.usd, cost.uncertain_usd) == (2, "0", "0.0014")


def test_what_has_no_price_is_said_and_what_asks_no_model_says_nothing() -> None:
    unpriced = event("model_answered", "/a.model#1", input_tokens=1, output_tokens=2)
    priced = event("model_answered", "/a.model#2", cost_micro_usd=20)
    mixed = cost_in_words(cost_view([unpriced, priced]))
    assert mixed.endswith(", $0.00002, 1 call at a price nobody knows.")
    cost = cost_view([unpriced])
    assert cost_in_words(cost) == (
        "It cost 1 model call, 1 tokens in and 2 out, at a price nobody knows."
    )
    assert cost_in_words(cost_view([event("run_queued", "")])) == ""
