"""Plans: nothing happens before they are accepted, and nothing twice once they are."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from interlock import (
    App,
    EffectKey,
    LocalExecutor,
    Plan,
    PlanFailedError,
    PlanStep,
    Run,
    RunFailedError,
)
from interlock.errors import InvalidInputError
from interlock.journal.event import Entry
from interlock.observe.explain import explain
from interlock.tools.tool import Tool
from tests.support.journal_copy import copy_of
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

Answers = Callable[[str], Plan]


class Card(BaseModel):
    id: int
    owner: str


def step(id: str, tool: str, /, *after: str, **arguments: Any) -> PlanStep:
    return PlanStep(id=id, tool=tool, arguments=arguments, depends_on=after)


def plan_of(*steps: PlanStep) -> Plan:
    return Plan(steps=steps)


def result(id: str, path: str = "") -> dict[str, str]:
    return {"$result": id, "path": path} if path else {"$result": id}


@dataclass
class Desk:
    """The tools of the tests. What they do at each call is the test's."""

    app: App
    made: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    breaks: set[str] = field(default_factory=set)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)

    async def _act(self, what: str) -> None:
        self.begun.add(what)
        if what in self.gates:
            await self.gates[what].wait()
        if what in self.breaks:
            raise ValueError(f"{what} is broken")

    def declare(self) -> list[Tool[..., Any]]:
        @self.app.tool("card", effect="read", attempts=1)
        async def card(id: int) -> Card:
            """Read a card."""
            await self._act(f"card {id}")
            return Card(id=id, owner=f"owner {id}")

        @self.app.tool("pay", effect="write", recovery="key", not_made=(ValueError,), attempts=1)
        async def pay(card: Card, cents: int, *, key: EffectKey) -> str:
            what = f"pay {card.id} {cents}"
            await self._act(what)
            if key not in self.keys:
                self.keys.append(key)
                self.made.append(what)
            return f"paid {cents} of {card.owner}"

        @self.app.tool("join", effect="read", attempts=1)
        def join(texts: list[str]) -> str:
            return " and ".join(texts)

        return [card, pay, join]


def scripted(answers: Answers) -> Agent[None, Any]:
    """An agent whose model is a function from prompts to plans."""

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        prompts = [
            str(part.content)
            for message in messages
            for part in message.parts
            if isinstance(part, UserPromptPart)
        ]
        plan = json.loads(answers(prompts[-1]).model_dump_json(include={"steps"}))
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, plan)])

    return Agent(FunctionModel(model), name="planning")


def planner(app: App, desk: Desk, answers: Answers, **how: Any) -> None:
    tools, model = desk.declare(), scripted(answers)

    @app.agent("planner")
    async def agent(run: Run, goal: str) -> dict[str, Any]:
        plan = await run.plan(model, goal, tools=tools, **how)
        return await run.execute(plan)


TWO_CARDS = plan_of(
    step("one", "card", id=1),
    step("two", "card", id=2),
    step("first", "pay", "one", card=result("one"), cents=5),
    step("second", "pay", "two", card=result("two"), cents=7),
    step("report", "join", "first", "second", texts=[result("first"), result("second"), "done"]),
)
TWO_CARDS_RESULTS = {
    "one": {"id": 1, "owner": "owner 1"},
    "two": {"id": 2, "owner": "owner 2"},
    "first": "paid 5 of owner 1",
    "second": "paid 7 of owner 2",
    "report": "paid 5 of owner 1 and paid 7 of owner 2 and done",
}


def states(local: LocalExecutor, run: str) -> list[dict[str, str]]:
    """The states of the steps of each plan of a run."""
    explained = explain(local.store, run, 0)
    return [{s.id: s.state for s in plan.steps} for plan in explained.plans]


def story(local: LocalExecutor, run: str) -> list[str]:
    return [line.text for line in explain(local.store, run, 0, bodies=True).story]


async def completed(local: LocalExecutor, run: str) -> Any:
    row = await until_state(local, run, "completed", "failed", "parked")
    return local.result_of(row, local.app.agents[row.agent])


def test_a_plan_is_made_checked_and_carried_out(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    desk, prompts = Desk(app), []

    def answers(prompt: str) -> Plan:
        prompts.append(prompt)
        return TWO_CARDS

    planner(app, desk, answers)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner", "Pay both.")
            assert await handle.result() == TWO_CARDS_RESULTS
            assert sorted(desk.made) == ["pay 1 5", "pay 2 7"]
            (accepted,) = entries_of(local, handle.id, "plan_accepted")
            assert json.loads(accepted.body or b"")["goal"] == "Pay both."
            assert accepted.event.header["steps"][2] == {
                "id": "first", "tool": "pay", "after": ["one"],
            }  # fmt: skip
            assert states(local, handle.id) == [dict.fromkeys(TWO_CARDS_RESULTS, "done")]

    asyncio.run(main())
    (prompt,) = prompts
    assert "Pay both." in prompt
    assert "- card (reads): Read a card." in prompt
    assert "- pay (writes)" in prompt
    assert '"cents"' in prompt
    assert '"key"' not in prompt, "what the gateway fills in is not the model's"


def test_independent_steps_run_at_the_same_time(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    desk = Desk(app)
    desk.gates = {"card 1": asyncio.Event(), "card 2": asyncio.Event()}
    planner(app, desk, lambda _prompt: TWO_CARDS)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner", "go")
            await until(lambda: desk.begun == {"card 1", "card 2"})
            assert states(local, handle.id) == [
                {"one": "running", "two": "running", "first": "pending", "second": "pending",
                 "report": "pending"}
            ]  # fmt: skip
            desk.gates["card 2"].set()
            await until(lambda: "pay 2 7" in desk.made)
            await until(lambda: states(local, handle.id)[0]["second"] == "done")
            assert states(local, handle.id)[0]["one"] == "running"
            desk.gates["card 1"].set()
            assert await handle.result() == TWO_CARDS_RESULTS

    asyncio.run(main())


def test_the_story_tells_of_steps_by_their_names(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    desk = Desk(app)
    planner(app, desk, lambda _prompt: TWO_CARDS)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner", "go")
            await handle.result()
            told = "\n".join(story(local, handle.id))
            assert "Accepted plan 1: one, two, first, second, report." in told
            assert "Read 'card' (step 'one' of plan 1) completed." in told
            assert "The call of tool 'pay' (step 'first' of plan 1) happened." in told

    asyncio.run(main())


# Checking.


def test_a_wrong_plan_goes_back_with_its_problems(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    desk, prompts = Desk(app), []
    wrong = plan_of(step("one", "cart", id=1))

    def answers(prompt: str) -> Plan:
        prompts.append(prompt)
        return wrong if len(prompts) == 1 else TWO_CARDS

    planner(app, desk, answers)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner", "go")
            assert await handle.result() == TWO_CARDS_RESULTS
            (refused,) = entries_of(local, handle.id, "plan_refused")
            assert json.loads(refused.body or b"")["problems"] == [
                "step 'one': there is no tool 'cart'; there is card, join, pay."
            ]

    asyncio.run(main())
    assert "step 'one': there is no tool 'cart'" in prompts[1]
    assert '"tool": "cart"' in prompts[1]


def test_a_check_of_the_caller_counts_like_the_own_one(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    desk = Desk(app)

    def check(plan: Plan) -> Sequence[str]:
        over = [s.id for s in plan.steps if s.arguments.get("cents") == 700]
        return [f"step {id!r} pays more than the contract allows." for id in over]

    cards = TWO_CARDS.steps[:2]
    much = plan_of(*cards, step("first", "pay", "one", card=result("one"), cents=700))
    planner(app, desk, lambda prompt: TWO_CARDS if "contract" in prompt else much, check=check)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner", "go")
            assert await handle.result() == TWO_CARDS_RESULTS
            assert kinds(local, handle.id).count("plan_refused") == 1

    asyncio.run(main())


@pytest.mark.parametrize("choice", ["again", "give_up"])
def test_a_person_is_asked_when_no_plan_is_valid(tmp_path: Path, choice: str) -> None:
    app = app_in(tmp_path)
    desk, prompts = Desk(app), []

    def answers(prompt: str) -> Plan:
        prompts.append(prompt)
        return TWO_CARDS if "use card 2" in prompt else plan_of()

    planner(app, desk, answers, max_proposals=2)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner", "go")
            task = await open_task(local, handle.id)
            assert len(prompts) == 2
            await local.client.decide(task.id, choice, note="use card 2", by="ann")
            if choice == "again":
                assert await handle.result() == TWO_CARDS_RESULTS
                assert "A person says: use card 2" in prompts[2]
            else:
                with pytest.raises(RunFailedError, match="no valid plan was found for 'go'"):
                    await handle.result()
                assert desk.begun == set()

    asyncio.run(main())


def test_a_plan_that_was_given_by_hand_is_checked_too(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    desk = Desk(app)
    tools = desk.declare()

    @app.agent("a")
    async def a(run: Run) -> dict[str, Any]:
        with pytest.raises(InvalidInputError, match="needs its tools"):
            await run.execute(TWO_CARDS)
        with pytest.raises(InvalidInputError, match="there is no tool 'pay'"):
            await run.execute(TWO_CARDS, tools=[t for t in tools if t.name != "pay"])
        with pytest.raises(InvalidInputError, match="the same name"):
            await run.execute(TWO_CARDS, tools=[*tools, tools[0]])
        return await run.execute(TWO_CARDS, tools=tools)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            assert await handle.result() == TWO_CARDS_RESULTS
            assert kinds(local, handle.id).count("plan_accepted") == 1

    asyncio.run(main())


# Approving.


@pytest.mark.parametrize("choice", ["approve", "reject"])
def test_a_person_approves_the_plan_or_nothing_happens(tmp_path: Path, choice: str) -> None:
    app = app_in(tmp_path)
    desk = Desk(app)
    planner(app, desk, lambda _prompt: TWO_CARDS, approve="treasurer")

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("planner", "Pay both.")
            task = await open_task(local, handle.id)
            assert task.role == "treasurer"
            asked = json.loads(entries_of(local, handle.id, "task_opened")[0].body or b"")
            assert asked["choices"] == ["approve", "reject"]
            assert asked["details"]["plan"]["steps"][2]["arguments"]["cents"] == 5
        async with executing(app) as local:
            assert desk.begun == set()
            await local.client.decide(task.id, choice, note="too much", by="ann")
            if choice == "approve":
                assert await completed(local, handle.id) == TWO_CARDS_RESULTS
                (accepted,) = entries_of(local, handle.id, "plan_accepted")
                assert accepted.event.header["approved_by"] == "ann"
            else:
                with pytest.raises(RunFailedError, match="was rejected by ann: too much"):
                    await completed(local, handle.id)
                assert desk.begun == set()

    asyncio.run(main())


# Failing.


def test_a_failed_step_takes_with_it_only_what_depends_on_it(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    desk = Desk(app, breaks={"card 1"})
    tools = desk.declare()

    @app.agent("a")
    async def a(run: Run) -> list[Any]:
        try:
            await run.execute(TWO_CARDS, tools=tools)
        except PlanFailedError as error:
            facts = [error.fields["failed"], error.fields["skipped"], sorted(error.results)]
            return [error.was(ValueError), *facts]
        return []

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            assert await handle.result() == [
                True, ["one"], ["first", "report"], ["second", "two"],
            ]  # fmt: skip
            assert desk.made == ["pay 2 7"]
            assert states(local, handle.id) == [
                {"one": "failed", "two": "done", "first": "skipped", "second": "done",
                 "report": "skipped"}
            ]  # fmt: skip
            told = "\n".join(story(local, handle.id))
            assert "Plan 1 failed at one; skipped: first, report. It is given up." in told

    asyncio.run(main())


def test_another_plan_is_made_for_the_rest(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    desk, prompts = Desk(app, breaks={"card 1"}), []
    rest = plan_of(
        step("three", "card", id=3),
        step("third", "pay", "three", card=result("three"), cents=5),
        step("all", "join", "third", texts=[result("third"), result("second")]),
    )

    def answers(prompt: str) -> Plan:
        prompts.append(prompt)
        return TWO_CARDS if len(prompts) == 1 else rest

    planner(app, desk, answers)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner", "go")
            assert await handle.result() == {
                "two": {"id": 2, "owner": "owner 2"},
                "second": "paid 7 of owner 2",
                "three": {"id": 3, "owner": "owner 3"},
                "third": "paid 5 of owner 3",
                "all": "paid 5 of owner 3 and paid 7 of owner 2",
            }
            (failed,) = entries_of(local, handle.id, "plan_failed")
            assert failed.event.header["next"] == "replan"
            assert states(local, handle.id)[1] == {"three": "done", "third": "done", "all": "done"}

    asyncio.run(main())
    assert sorted(desk.made) == ["pay 2 7", "pay 3 5"]
    assert '- second: "paid 7 of owner 2"' in prompts[1]
    assert "card 1 is broken" in prompts[1]
    assert "skipped because of that: first, report." in prompts[1]


def test_a_new_plan_does_not_make_a_write_again(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    desk, prompts = Desk(app, breaks={"card 1"}), []
    twice = plan_of(step("retry", "pay", card=result("two"), cents=7))
    rest = plan_of(step("all", "join", texts=[result("second")]))

    def answers(prompt: str) -> Plan:
        prompts.append(prompt)
        return [TWO_CARDS, twice, rest][len(prompts) - 1]

    planner(app, desk, answers)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner", "go")
            assert (await handle.result())["all"] == "paid 7 of owner 2"
            assert desk.made == ["pay 2 7"]

    asyncio.run(main())
    assert "step 'retry': it makes the call of step 'second' again, which is done." in prompts[2]


def test_a_write_whose_outcome_nobody_knows_is_not_planned_again(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    prompts: list[str] = []
    sent: list[int] = []

    @app.tool("send", effect="write", recovery="never")
    async def send(number: int) -> str:
        sent.append(number)
        raise ConnectionError("reset by peer")

    once = plan_of(step("a", "send", number=1))
    again = plan_of(step("b", "send", number=1))

    def answers(prompt: str) -> Plan:
        prompts.append(prompt)
        return once if len(prompts) == 1 else again

    @app.agent("planner")
    async def agent(run: Run) -> str:
        plan = await run.plan(scripted(answers), "go", tools=[send], max_proposals=1)
        try:
            await run.execute(plan)
        except PlanFailedError as error:
            return str(error.fields["reason"])
        return ""

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner")
            unknown = await open_task(local, handle.id)
            await local.client.decide(unknown.id, "given_up", by="ann")
            task = await until(
                lambda: next((t for t in local.store.inbox() if t.id != unknown.id), None)
            )
            asked = entries_of(local, handle.id, "task_opened")[-1]
            assert json.loads(asked.body or b"")["details"]["problems"] == [
                "step 'b': it makes the call of step 'a' again, which may have happened."
            ]
            await local.client.decide(task.id, "give_up")
            assert await handle.result() == "refused"
            assert sent == [1]

    asyncio.run(main())


@pytest.mark.parametrize("max_replans", [0, 1, 2])
def test_plans_are_replaced_so_often_and_no_more(tmp_path: Path, max_replans: int) -> None:
    app = app_in(tmp_path)
    desk, prompts = Desk(app, breaks={f"card {n}" for n in range(9)}), []

    def answers(prompt: str) -> Plan:
        prompts.append(prompt)
        return plan_of(step("one", "card", id=len(prompts)))

    planner(app, desk, answers, max_replans=max_replans)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner", "go")
            with pytest.raises(RunFailedError, match=f"plan {max_replans + 1} failed at one"):
                await handle.result()
            assert len(prompts) == max_replans + 1
            assert states(local, handle.id) == [{"one": "failed"}] * (max_replans + 1)

    asyncio.run(main())


def test_a_reference_that_leads_nowhere_fails_its_step(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    tools = Desk(app).declare()
    plan = plan_of(
        step("one", "card", id=1), step("all", "join", "one", texts=[result("one", "colour")])
    )

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.execute(plan, tools=tools)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            with pytest.raises(RunFailedError, match="there is no 'colour' in the result"):
                await handle.result()
            assert states(local, handle.id) == [{"one": "done", "all": "failed"}]
            told = "\n".join(story(local, handle.id))
            assert "Step 'all' of plan 1 could not be called" in told

    asyncio.run(main())


def test_a_plan_that_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    big = plan_of(step("one", "card", id=2**60))
    planner(app, Desk(app), lambda prompt: TWO_CARDS if "recorded" in prompt else big)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner", "go")
            assert await handle.result() == TWO_CARDS_RESULTS

    asyncio.run(main())


# Crashes.


@pytest.mark.parametrize("seed", range(6))
def test_a_plan_goes_on_after_crashes_in_any_order(tmp_path: Path, seed: int) -> None:
    """Every call ends when the test lets it, in a random order, with a crash after each."""
    app = app_in(tmp_path)
    desk, prompts = Desk(app, breaks={"card 1"}), []
    choose = random.Random(seed)
    rest = plan_of(
        step("three", "card", id=3),
        step("four", "card", id=4),
        step("third", "pay", "three", card=result("three"), cents=3),
        step("fourth", "pay", "four", card=result("four"), cents=4),
        step("all", "join", "third", "fourth", texts=[result("third"), result("fourth")]),
    )
    names = ["card 1", "card 2", "card 3", "card 4", "pay 2 7", "pay 3 3", "pay 4 4"]

    def answers(prompt: str) -> Plan:
        prompts.append(prompt)
        return rest if "An earlier plan" in prompt else TWO_CARDS

    planner(app, desk, answers)

    let_go: set[str] = set()

    async def one_claim(local: LocalExecutor, run: str) -> bool:
        """Let one call end, and crash at once or when that is on disk; whether any was left."""
        await until(lambda: desk.begun - let_go or _over(local, run), "a call has begun")
        if _over(local, run):
            return False
        name = choose.choice(sorted(desk.begun - let_go))
        before = len(local.store.read(run))
        let_go.add(name)
        desk.gates[name].set()
        if choose.random() < 0.7:
            await until(lambda: len(local.store.read(run)) > before)
        return True

    async def main() -> None:
        async with app.client() as client:
            run = (await client.start("planner", "go")).run
        going_on = True
        while going_on:
            desk.gates = {name: asyncio.Event() for name in names if name not in let_go}
            desk.begun.clear()
            async with crashing(app) as local:
                going_on = await one_claim(local, run)
        async with executing(app) as local:
            assert (await completed(local, run))["all"] == "paid 3 of owner 3 and paid 4 of owner 4"
            assert kinds(local, run).count("plan_accepted") == 2
            assert set(states(local, run)[1].values()) == {"done"}

    asyncio.run(main())
    assert sorted(desk.made) == ["pay 2 7", "pay 3 3", "pay 4 4"]
    assert len(desk.keys) == 3


def test_every_prefix_of_a_plans_journal_continues_to_the_same_end(tmp_path: Path) -> None:
    """As if the process had crashed after each event; what was completed is not made again."""
    rest = plan_of(step("third", "pay", card=result("two"), cents=9))

    def answers(prompt: str) -> Plan:
        return rest if "An earlier plan" in prompt else TWO_CARDS

    def continued(name: str, entries: Sequence[Entry], run: str) -> tuple[Any, Desk, list[Entry]]:
        folder = tmp_path / name
        folder.mkdir()
        app = app_in(folder)
        desk = Desk(app, breaks={"card 1"})
        planner(app, desk, answers)
        if entries:
            copy_of(entries, folder / "journal.db")

        async def main() -> tuple[Any, Desk, list[Entry]]:
            async with executing(app) as local:
                id = run or (await local.start("planner", "go")).id
                value = await completed(local, id)
                return value, desk, local.store.read(id)

        return asyncio.run(main())

    value, _, entries = continued("whole", (), "")
    run = entries[0].event.stream
    assert value["third"] == "paid 9 of owner 2"
    for cut in range(1, len(entries)):
        again, desk, _ = continued(str(cut), entries[:cut], run)
        assert again == value, cut
        done = sum(e.event.kind == "effect_completed" for e in entries[:cut])
        assert len(desk.made) == 2 - done, cut


def _over(local: LocalExecutor, run: str) -> bool:
    row = local.store.run(run)
    return row is not None and row.state in ("completed", "failed", "parked")


def test_a_step_keeps_its_key_whichever_ends_first(tmp_path: Path) -> None:
    keys: list[dict[str, str]] = []
    for first in ("card 1", "card 2"):
        folder = tmp_path / first.replace(" ", "_")
        folder.mkdir()
        app = app_in(folder)
        desk = Desk(app)
        other = {"card 1": "card 2", "card 2": "card 1"}[first]
        desk.gates = {other: asyncio.Event()}
        planner(app, desk, lambda _prompt: TWO_CARDS)

        async def main(app: App = app, desk: Desk = desk, other: str = other) -> None:
            async with executing(app) as local:
                handle = await local.start("planner", "go")
                await until(lambda: desk.made)
                desk.gates[other].set()
                await handle.result()
                calls = [
                    e.event.key
                    for e in local.store.read(handle.id)
                    if e.event.kind in ("read_completed", "effect_completed")
                ]
                keys.append({key.split(":")[2]: key for key in calls})

        asyncio.run(main())
    assert keys[0] == keys[1]
    assert keys[0]["one"].endswith("/plan:1:one:card#1")


def test_cancelling_the_run_ends_its_plan(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    desk = Desk(app, gates={"card 1": asyncio.Event(), "card 2": asyncio.Event()})
    planner(app, desk, lambda _prompt: TWO_CARDS)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("planner", "go")
            await until(lambda: len(desk.begun) == 2)
            await local.client.cancel(handle.id)
            await until_state(local, handle.id, "cancelled")
            assert desk.made == []
            assert set(states(local, handle.id)[0].values()) == {"failed", "skipped"}

    asyncio.run(main())
