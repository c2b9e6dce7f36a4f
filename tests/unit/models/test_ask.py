"""`run.ask`: a Pydantic AI agent inside of a run, asking the simulated model over HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext

from interlock import App, EffectKey, LocalExecutor, Run, RunHandle
from interlock.contract import Budget, Budgets, Contract
from interlock.errors import AskFailedError, RunFailedError
from interlock.testing.simulated_model import Reply, Request, Rule, ToolCall, When
from tests.support.asking import calls, says, simulated, wrong
from tests.support.local import (
    app_in,
    crashing,
    entries_of,
    executing,
    kinds,
    open_task,
    until,
    until_state,
)

READ = {"interlock": {"effect": "read"}}


class Answer(BaseModel):
    """A structured output."""

    city: str
    degrees: int


@dataclass
class Customer:
    """An agent's dependencies."""

    name: str


def deployed(tmp_path: Path, agent: Agent[Any, Any], **terms: Any) -> App:
    """An app with this agent, under a contract with these terms."""
    app = app_in(tmp_path)
    app.deploy(agent, Contract(agent=agent.name or "", **terms))
    return app


async def ended(handle: RunHandle) -> Any:
    """The run's result; a run that waits for a person instead is a failure of the test."""
    async with asyncio.timeout(30):
        return await handle.result()


def test_an_agent_is_deployed_in_one_line_and_answers(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("At nine.")) as model:
            app = app_in(tmp_path)
            app.deploy(Agent(model.model, name="faq"))
            async with executing(app) as local:
                handle = await local.start("faq", "When do you open?")
                assert await ended(handle) == "At nine."
                (answered,) = entries_of(local, handle.id, "model_answered")
        assert answered.event.header["model"] == "openai:small"
        assert answered.event.header["output_tokens"] == 2
        body = json.loads(answered.body or b"")
        assert body["said"][0]["parts"][0]["content"] == "When do you open?"
        assert body["response"]["parts"][0]["content"] == "At nine."

    asyncio.run(main())


def test_each_tool_call_is_an_effect_with_a_key_of_its_own(tmp_path: Path) -> None:
    sent: list[str] = []

    async def main() -> None:
        both = Reply(
            tool_calls=(
                ToolCall(name="send", arguments={"to": "a"}),
                ToolCall(name="send", arguments={"to": "b"}),
            )
        )
        async with simulated(both, says("Sent.")) as model:
            agent = Agent(model.model, name="mailer")

            @agent.tool_plain
            def send(to: str) -> str:
                sent.append(to)
                return f"sent to {to}"

            async with executing(deployed(tmp_path, agent)) as local:
                handle = await local.start("mailer", "Write to both")
                assert await ended(handle) == "Sent."
                effects = local.store.effects(run=handle.id)
        assert sorted(sent) == ["a", "b"]
        assert {effect.state for effect in effects} == {"completed"}
        assert {effect.recovery for effect in effects} == {"never"}
        assert len({effect.effect_key for effect in effects}) == 2

    asyncio.run(main())


def test_a_function_that_reads_is_recorded_and_repeatable(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(calls("degrees", city="Oslo"), says("Cold.")) as model:
            agent = Agent(model.model, name="weather")

            @agent.tool_plain(metadata=READ)
            async def degrees(city: str) -> int:
                return -3

            async with executing(deployed(tmp_path, agent)) as local:
                handle = await local.start("weather", "And in Oslo?")
                assert await ended(handle) == "Cold."
                assert local.store.effects(run=handle.id) == []
                (read,) = entries_of(local, handle.id, "read_completed")
        assert json.loads(read.body or b"")["args"] == {"city": "Oslo"}

    asyncio.run(main())


def test_a_declared_tool_is_offered_without_its_hidden_arguments(tmp_path: Path) -> None:
    asked: list[Request] = []
    keys: list[str] = []

    def respond(request: Request) -> Reply:
        asked.append(request)
        return calls("reply", ticket="T-1", body="Hello") if request.turn == 0 else says("Done.")

    async def main() -> None:
        app = app_in(tmp_path)

        @app.tool(effect="write", recovery="key")
        async def reply(ticket: str, body: str, *, key: EffectKey) -> str:
            """Answer a customer."""
            keys.append(key)
            return f"{ticket}: {body}"

        async with simulated(rules=[Rule(respond=respond)]) as model:
            agent = Agent(model.model, name="helper")

            @app.agent("desk")
            async def desk(run: Run) -> str:
                return await run.ask(agent, "Answer T-1", tools=[reply])

            async with executing(app) as local:
                handle = await local.start("desk")
                assert await ended(handle) == "Done."
                (effect,) = local.store.effects(run=handle.id)
        assert keys == [effect.effect_key]
        assert set(asked[0].tools["reply"]["properties"]) == {"ticket", "body"}
        assert "Answer a customer." in json.dumps(asked[0].body["tools"])

    asyncio.run(main())


def test_wrong_arguments_reach_no_tool_and_are_told_to_the_model(tmp_path: Path) -> None:
    made: list[int] = []
    told: list[str] = []

    def respond(request: Request) -> Reply:
        if request.turn == 0:
            return calls("pay", amount_cents="much")
        told.append(request.messages[-1].text)
        return calls("pay", amount_cents=5) if request.turn == 1 else says("Paid.")

    async def main() -> None:
        app = app_in(tmp_path)

        @app.tool(effect="write", recovery="never")
        def pay(amount_cents: int) -> str:
            made.append(amount_cents)
            return "paid"

        async with simulated(rules=[Rule(respond=respond)]) as model:
            agent = Agent(model.model, name="payer")
            app.deploy(agent, tools=[pay])
            async with executing(app) as local:
                assert await ended(await local.start("payer", "Pay")) == "Paid."

    asyncio.run(main())
    assert made == [5]
    assert "amount_cents: Input should be a valid integer" in told[0]


def test_structured_output_is_asked_for_again_and_then_fits(tmp_path: Path) -> None:
    async def main() -> None:
        wrong = Reply(output={"city": "Rome"})
        right = Reply(output={"city": "Rome", "degrees": 30})
        async with simulated(wrong, right) as model:
            agent = Agent(model.model, name="weather", output_type=Answer)
            async with executing(deployed(tmp_path, agent)) as local:
                handle = await local.start("weather", "Rome?")
                assert await ended(handle) == Answer(city="Rome", degrees=30)
                assert len(entries_of(local, handle.id, "model_answered")) == 2

    asyncio.run(main())


def test_an_answer_that_never_fits_is_escalated_and_a_person_answers(tmp_path: Path) -> None:
    async def main() -> None:
        half = Rule(reply=Reply(output={"city": "Rome"}))
        async with simulated(rules=[half]) as model:
            agent = Agent(model.model, name="weather", output_type=Answer)
            app = deployed(tmp_path, agent, output={"attempts": 2, "escalate_to": "meteo"})
            async with executing(app) as local:
                handle = await local.start("weather", "Rome?")
                task = await open_task(local, handle.id)
                assert (task.kind, task.role) == ("ask", "meteo")
                entry = local.store.entry(task.position)
                assert entry is not None
                question = json.loads(entry.body or b"")
                assert question["problem"] == "output"
                assert "degrees" in question["question"]
                await local.client.decide(
                    task.id, "answer", value={"city": "Rome", "degrees": 31}, by="ann"
                )
                assert await ended(handle) == Answer(city="Rome", degrees=31)
            assert len(model.ledger.entries()) == 2

    asyncio.run(main())


def test_a_person_lets_it_try_again_with_a_note(tmp_path: Path) -> None:
    async def main() -> None:
        told = Rule(when=When(user_contains="Kelvin"), reply=says("303 K"))
        async with simulated(wrong(empty=True), rules=[told]) as model:
            agent = Agent(model.model, name="weather")
            async with executing(deployed(tmp_path, agent, output={"attempts": 1})) as local:
                handle = await local.start("weather", "Rome?")
                task = await open_task(local, handle.id)
                await local.client.decide(task.id, "retry", note="In Kelvin, please.", by="ann")
                assert await ended(handle) == "303 K"

    asyncio.run(main())


def test_a_person_is_told_which_writes_another_try_may_make_again(tmp_path: Path) -> None:
    sent: list[str] = []

    async def main() -> None:
        mail = Rule(when=When(turn=0), reply=calls("send", to="ann"))
        mute = Rule(reply=wrong(empty=True))
        async with simulated(rules=[mail, mute]) as model:
            agent = Agent(model.model, name="mailer")

            @agent.tool_plain
            def send(to: str) -> str:
                sent.append(to)
                return "sent"

            async with executing(deployed(tmp_path, agent, output={"attempts": 1})) as local:
                handle = await local.start("mailer", "Write to Ann")
                for choice in ("retry", "answer"):
                    task = await open_task(local, handle.id)
                    entry = local.store.entry(task.position)
                    assert entry is not None
                    question = json.loads(entry.body or b"")
                    assert question["made"] == {"send": 1}
                    assert "has made these writes already (send (1))" in question["question"]
                    await local.client.decide(task.id, choice, value="Sent.", by="ann")
                    await until(lambda t=task: not _is_open(local, t.id), "it is decided")
                assert await ended(handle) == "Sent."
        # The second try went on from the first one's messages, and saw what it had sent.
        assert sent == ["ann"]

    asyncio.run(main())


def test_another_try_goes_on_from_what_was_said(tmp_path: Path) -> None:
    """Also after a loop that left calls without an answer, and after a restart."""
    looked: list[str] = []

    async def main() -> None:
        again = Rule(when=When(user_contains="Look"), reply=calls("look", at="sky"))
        told = Rule(when=When(user_contains="It is blue"), reply=says("Blue."))
        async with simulated(rules=[told, again]) as model:

            def app() -> App:
                agent = Agent(model.model, name="looker")

                @agent.tool_plain(metadata={"interlock": {"effect": "read"}})
                def look(at: str) -> str:
                    looked.append(at)
                    return "grey"

                return deployed(tmp_path, agent)

            async with executing(app()) as local:
                handle = await local.start("looker", "Look")
                task = await open_task(local, handle.id)
            asked = len(model.ledger.entries())
            async with executing(app()) as local:
                await local.client.decide(task.id, "retry", note="It is blue.", by="ann")
                await until_state(local, handle.id, "completed")
                assert len(model.ledger.entries()) == asked + 1
                said = [
                    json.loads(entry.body or b"")
                    for entry in entries_of(local, handle.id, "model_answered")
                ]
                # Only what is new was recorded with the last answer.
                assert said[-1]["prefix"] > 0
                assert "It is blue." in json.dumps(said[-1]["said"])
                assert "Look" not in json.dumps(said[-1]["said"])
        assert looked == ["sky", "sky"]

    asyncio.run(main())


def test_one_run_may_ask_twice_in_one_conversation(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("Ann."), says("You are Ann.")) as model:
            app = app_in(tmp_path)
            agent = Agent(model.model, name="chat")

            @app.agent("talk")
            async def talk(run: Run) -> list[str]:
                first = await run.ask(agent, "Who am I?", conversation="c")
                return [first, await run.ask(agent, "Who?", conversation="c")]

            async with executing(app) as local:
                assert await ended(await local.start("talk")) == ["Ann.", "You are Ann."]

    asyncio.run(main())


def test_a_conversation_remembers_what_a_person_answered(tmp_path: Path) -> None:
    async def main() -> None:
        known = Rule(when=When(turn=1, user_contains="Now?"), reply=says("Still 31."))
        async with simulated(rules=[known, Rule(reply=wrong(empty=True))]) as model:
            agent = Agent(model.model, name="weather")
            async with executing(deployed(tmp_path, agent, output={"attempts": 1})) as local:
                first = await local.start("weather", {"prompt": "Rome?", "conversation": "c"})
                task = await open_task(local, first.id)
                await local.client.decide(task.id, "answer", value="31", by="ann")
                assert await ended(first) == "31"
                second = await local.start("weather", {"prompt": "Now?", "conversation": "c"})
                assert await ended(second) == "Still 31."

    asyncio.run(main())


def _is_open(local: LocalExecutor, task: str) -> bool:
    return any(row.id == task for row in local.store.inbox())


def test_without_escalation_the_code_gets_the_error(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(wrong(empty=True)) as model:
            agent = Agent(model.model, name="weather")
            app = app_in(tmp_path)

            @app.agent("careful")
            async def careful(run: Run) -> str:
                try:
                    return await run.ask(agent, "Rome?", escalate=False)
                except AskFailedError as error:
                    return f"no answer: {error.code}"

            async with executing(app) as local:
                assert await ended(await local.start("careful")) == "no answer: ask_failed"

    asyncio.run(main())


def test_what_was_answered_is_not_paid_again_after_a_crash(tmp_path: Path) -> None:
    """Recorded answers replay; a tool whose call was under way is recovered as it declares."""
    reached = asyncio.Event()
    stays = asyncio.Event()
    degrees_read: list[str] = []

    async def main() -> None:
        turns = (calls("degrees", city="Oslo"), calls("wait"), says("Cold."))
        async with simulated(*turns) as model:
            agent = Agent(model.model, name="weather")

            @agent.tool_plain(metadata=READ)
            async def degrees(city: str) -> int:
                degrees_read.append(city)
                return -3

            @agent.tool_plain(metadata=READ)
            async def wait() -> str:
                reached.set()
                await stays.wait()
                return "waited"

            app = deployed(tmp_path, agent)
            async with crashing(app) as local:
                handle = await local.start("weather", "Oslo?")
                await reached.wait()
            assert len(model.ledger.entries()) == 2
            stays.set()
            async with executing(app) as local:
                row = await until_state(local, handle.id, "completed")
                assert row.claims == 2 or row.state == "completed"
                assert len(entries_of(local, handle.id, "model_answered")) == 3
            assert len(model.ledger.entries()) == 3
        assert degrees_read == ["Oslo"]

    asyncio.run(main())


def test_another_prompt_on_replay_parks_the_run_before_any_call(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def main() -> None:
        async with simulated(calls("wait"), says("Done.")) as model:

            def app_with(instructions: str) -> App:
                agent = Agent(model.model, name="a", instructions=instructions)

                @agent.tool_plain(metadata=READ)
                async def wait() -> str:
                    gone.set()
                    await asyncio.Event().wait()
                    return "never"

                return deployed(tmp_path, agent)

            async with crashing(app_with("Be brief.")) as local:
                handle = await local.start("a", "hello")
                await gone.wait()
            async with executing(app_with("Be long.")) as local:
                row = await until_state(local, handle.id, "parked")
                assert row.reason == "replay_mismatch"
            assert len(model.ledger.entries()) == 1

    asyncio.run(main())


def test_dependencies_survive_a_resume(tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def main() -> None:
        async with simulated(calls("who"), calls("pause"), calls("who"), says("Bye.")) as model:
            agent = Agent(model.model, name="greeter", deps_type=Customer)
            seen: list[str] = []
            going_on = asyncio.Event()

            @agent.tool(metadata=READ)
            async def who(context: RunContext[Customer]) -> str:
                seen.append(context.deps.name)
                return f"{context.deps.name} {len(seen)}"

            @agent.tool_plain(metadata=READ)
            async def pause() -> str:
                reached.set()
                await going_on.wait()
                return "paused"

            app = deployed(tmp_path, agent)
            async with crashing(app) as local:
                given = {"prompt": "Greet", "deps": {"name": "Ada"}}
                handle = await local.start("greeter", given)
                await reached.wait()
            going_on.set()
            async with executing(app) as local:
                await until_state(local, handle.id, "completed")
        assert seen == ["Ada", "Ada"]

    asyncio.run(main())


def test_a_tool_may_ask_the_model_to_try_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(
            calls("find", name="x"), calls("find", name="y"), says("Found.")
        ) as model:
            agent = Agent(model.model, name="finder")

            @agent.tool_plain(metadata=READ, retries=2)
            async def find(name: str) -> str:
                if name == "x":
                    raise ModelRetry("there is no x")
                return name

            async with executing(deployed(tmp_path, agent)) as local:
                assert await ended(await local.start("finder", "Find")) == "Found."

    asyncio.run(main())


def test_a_write_whose_outcome_is_unknown_asks_a_person_and_not_the_model(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(calls("send"), says("Sent.")) as model:
            agent = Agent(model.model, name="mailer")

            @agent.tool_plain
            async def send() -> str:
                raise ConnectionError("the line went dead")

            async with executing(deployed(tmp_path, agent)) as local:
                handle = await local.start("mailer", "Send")
                task = await open_task(local, handle.id)
                assert task.kind == "effect"
                (effect,) = local.store.effects(run=handle.id)
                assert effect.state == "unknown"
                await local.client.resolve(effect.effect_key, "happened", result="sent", by="ann")
                assert await ended(handle) == "Sent."
            assert len(model.ledger.entries()) == 2

    asyncio.run(main())


def test_a_delegate_is_asked_inside_the_run_with_the_same_budget(tmp_path: Path) -> None:
    async def main() -> None:
        expert_rule = Rule(when=When(instructions_contain="expert"), reply=says("Forty-two."))
        async with simulated(calls("ask_expert"), says("It is 42."), rules=[expert_rule]) as model:
            from interlock.models.durability import Durability

            expert = Agent(
                model.model,
                name="expert",
                instructions="You are the expert.",
                capabilities=[Durability()],
            )
            agent = Agent(model.model, name="asker")

            @agent.tool_plain(metadata={"interlock": {"effect": "delegate"}})
            async def ask_expert() -> str:
                return (await expert.run("What is it?")).output

            app = deployed(tmp_path, agent, budgets={"run": {"model_calls": 3}})
            async with executing(app) as local:
                handle = await local.start("asker", "What is it?")
                assert await ended(handle) == "It is 42."
                assert len(entries_of(local, handle.id, "model_answered")) == 3
                (budget,) = local.store.budgets()
                assert (budget.spent, budget.held) == (3, 0)

    asyncio.run(main())


def test_a_child_run_draws_on_its_parents_budget(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(rules=[Rule(reply=says("Forty-two."))]) as model:
            app = app_in(tmp_path)
            expert = Agent(model.model, name="expert")
            app.deploy(expert)

            @app.agent("asker")
            async def asker(run: Run) -> str:
                first = await run.ask(Agent(model.model, name="self"), "What is it?")
                child = await run.start("expert", "What is it?")
                return first + await child.result()

            app.contracts["asker"] = Contract(
                agent="asker", budgets=Budgets(run=Budget(model_calls=2))
            )
            async with executing(app) as local:
                handle = await local.start("asker")
                assert await ended(handle) == "Forty-two.Forty-two."
                (budget,) = local.store.budgets()
                assert budget.account == f"run/{handle.id}/model_calls"
                assert (budget.spent, budget.held) == (2, 0)

    asyncio.run(main())


def test_an_agent_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    async def main() -> None:
        app = deployed(tmp_path, Agent(name="nobody"))
        async with executing(app) as local:
            handle = await local.start("nobody", "Hello")
            with pytest.raises(RunFailedError, match="has no model"):
                await ended(handle)

    asyncio.run(main())


def test_an_answer_is_shown_to_followers_while_it_comes_in(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(says("one two three four five six seven eight")) as model:
            agent = Agent(model.model, name="talker")
            gate = asyncio.Event()
            app = app_in(tmp_path)

            @app.agent("talk")
            async def talk(run: Run) -> str:
                await run.step(gate.wait)
                return await run.ask(agent, "Talk")

            async with executing(app) as local:
                handle = await local.start("talk")
                with local.executor.feed.follow(handle.id) as follower:
                    gate.set()
                    said = await ended(handle)
                    shown = [f["text"] for f in follower.taken() if f["kind"] == "model_text"]
        assert "".join(shown) == said
        assert len(shown) > 1
        assert model.ledger.entries()[0].streaming

    asyncio.run(main())


def test_a_conversation_goes_on_in_another_run(tmp_path: Path) -> None:
    asked: list[Request] = []

    def respond(request: Request) -> Reply:
        asked.append(request)
        return says(f"answer {request.turn}")

    async def main() -> None:
        async with simulated(rules=[Rule(respond=respond)]) as model:
            app = deployed(tmp_path, Agent(model.model, name="chat"))
            async with executing(app) as local:
                for text in ("I am Ada.", "Who am I?"):
                    given = {"prompt": text, "conversation": "ada"}
                    handle = await local.start("chat", given)
                    await ended(handle)
                assert "conversation_read" in kinds(local, handle.id)
                other = await local.start("chat", {"prompt": "Who?", "conversation": "bob"})
                await ended(other)
        texts = [[m.text for m in request.messages if m.role == "user"] for request in asked]
        assert texts == [["I am Ada."], ["I am Ada.", "Who am I?"], ["Who?"]]

    asyncio.run(main())


def test_the_journal_grows_by_what_is_new(tmp_path: Path) -> None:
    """Each message is stored once, however often it is sent along."""
    turns = 12

    def respond(request: Request) -> Reply:
        if request.turn < turns:
            return calls("note", text=str(request.turn) + "x" * 2000)
        return says("Done.")

    async def main() -> None:
        async with simulated(rules=[Rule(respond=respond)]) as model:
            agent = Agent(model.model, name="writer")

            @agent.tool_plain(metadata=READ)
            async def note(text: str) -> str:
                return f"noted {text[:3]}"

            async with executing(deployed(tmp_path, agent)) as local:
                handle = await local.start("writer", "Write")
                assert await ended(handle) == "Done."
                sizes = [
                    len(entry.body or b"")
                    for entry in entries_of(local, handle.id, "model_answered")
                ]
        assert max(sizes[1:turns]) - min(sizes[1:turns]) < 100

    asyncio.run(main())


def test_a_run_that_is_cancelled_while_a_model_is_asked_settles_its_hold(tmp_path: Path) -> None:
    async def main() -> None:
        async with simulated(wrong(hangs=True)) as model:
            app = deployed(
                tmp_path,
                Agent(model.model, name="a"),
                budgets={"run": {"tokens": 50_000}},
            )
            async with executing(app) as local:
                handle = await local.start("a", "hello")
                await until(model.ledger.entries, "the request is there")
                await local.client.cancel(handle.id)
                await until_state(local, handle.id, "cancelled")
                (budget,) = local.store.budgets()
                assert budget.held == 0
                assert budget.spent > 4096

    asyncio.run(main())
