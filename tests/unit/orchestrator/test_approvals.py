"""Calls that a policy allows, refuses, or has a person approve: nothing else is ever made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock import App, EffectKey, LocalExecutor, Run, Tool
from interlock.errors import (
    InvalidInputError,
    NotAllowedError,
    NotRecordableError,
    PolicyError,
    RunFailedError,
)
from interlock.journal.rows import InboxRow
from tests.support.local import MovableClock, executing, kinds, open_task, until, until_state

POLICIES = """
@id("reads") permit (principal, action in Action::"any read", resource);
@id("small") permit (principal == Agent::"payer", action == Action::"refund", resource)
when { context.amount <= 5000 };
@id("large") @approval("billing-team") @within("3h") @reason("More than 50 euros.")
permit (principal, action == Action::"refund", resource)
when { context.amount > 5000 && context.amount <= 100000 };
@id("huge") @approval("billing-team") @two_persons
permit (principal, action == Action::"refund", resource) when { context.amount > 100000 };
@id("never") forbid (principal, action == Action::"refund", resource)
when { context.args.account == "blocked" };
@id("watched") @log_only forbid (principal, action == Action::"refund", resource)
when { context.amount == 13 };
"""
PEOPLE = """
roles: {billing-team: [ana, bela]}
delegations:
  - {from: ana, to: carl, role: billing-team, until: 2999-12-31}
  - {from: bela, to: dora, role: billing-team, until: 2001-01-01}
"""
Paid = list[tuple[str, int]]


class Desk:
    """An app with one tool that pays, and what it has paid."""

    def __init__(self, folder: Path, policies: str = POLICIES, people: str = PEOPLE) -> None:
        rights = folder / "policies"
        rights.mkdir(exist_ok=True)
        (rights / "desk.cedar").write_text(policies)
        (rights / "people.yaml").write_text(people)
        self.paid: Paid = []
        self.previewed: Callable[[int], str] = lambda cents: f"would pay {cents}"
        store = f"sqlite:///{folder / 'journal.db'}"
        self.app = App("test", store=store, policies=rights)
        self.refund: Tool[..., str] = self.app.tool(
            effect="irreversible",
            recovery="key",
            amount="cents",
            dry_run=self._preview,
            attempts=1,
        )(self._refund_function())

        @self.app.agent("payer")
        async def payer(run: Run, order: dict[str, Any]) -> str:
            return await run.call(self.refund, **order)

        self.payer = payer

    def _preview(self, account: str, cents: int) -> str:
        return self.previewed(cents)

    def _refund_function(self) -> Callable[..., str]:
        def refund(account: str, cents: int, key: EffectKey) -> str:
            self.paid.append((account, cents))
            return f"paid {cents}"

        return refund


def pay(cents: int, account: str = "DE1") -> dict[str, Any]:
    return {"account": account, "cents": cents}


async def next_task(local: LocalExecutor, run: str, *, after: str) -> InboxRow:
    def found() -> InboxRow | None:
        tasks = local.store.inbox()
        return next((task for task in tasks if task.run == run and task.id != after), None)

    return await until(found, f"another open inbox task of {run}")


def question(local: LocalExecutor, task: InboxRow) -> dict[str, Any]:
    return local.client.question(task)


async def refused(local: LocalExecutor, order: dict[str, Any]) -> str:
    handle = await local.start("payer", order)
    with pytest.raises(RunFailedError) as failed:
        await handle.result()
    assert "NotAllowedError" in str(failed.value.error_types)
    return str(failed.value)


def test_a_policy_allows_and_the_journal_says_which(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(13))
            assert await handle.result() == "paid 13"
            (intent,) = [
                e.event for e in local.store.read(handle.id) if e.event.kind == "effect_intended"
            ]
            assert intent.header["policies"] == ["small"]
            assert intent.header["would"] == [["watched", "deny"]]
            assert len(intent.header["policy_hash"]) == 64

    asyncio.run(scenario())


def test_what_is_forbidden_or_not_permitted_is_not_made(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    @desk.app.agent("other")
    async def other(run: Run) -> str:
        try:
            return await run.call(desk.refund, "DE1", 10)
        except NotAllowedError as error:
            return f"{error.fields['policies']} {error}"

    async def scenario() -> None:
        async with executing(desk.app) as local:
            assert "policy 'never' forbids it" in await refused(local, pay(10, "blocked"))
            said = await (await local.start("other")).result()
            assert said.startswith("[] ")
            assert "no policy permits it" in said

    asyncio.run(scenario())
    assert desk.paid == []


def test_a_person_approves_the_very_call_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(9000))
            task = await open_task(local, handle.id)
            card = question(local, task)
            assert (task.kind, task.role) == ("approval", "billing-team")
            assert card["choices"] == ["approve", "edit", "reject"]
            assert card["details"]["arguments"] == pay(9000)
            assert card["details"]["dry_run"] == "would pay 9000"
            assert "More than 50 euros." in card["details"]["reason"]
            assert card["details"]["sources"] == {
                "account": "the run's input",
                "cents": "the run's input",
            }
            assert desk.paid == []
            await local.client.decide(task.id, "approve", by="bela")
            assert await handle.result() == "paid 9000"
            events = [e.event for e in local.store.read(handle.id)]
            (granted,) = [e for e in events if e.kind == "approval_granted"]
            (intent,) = [e for e in events if e.kind == "effect_intended"]
            assert intent.header["consumes"] == granted.header["approval"]

    asyncio.run(scenario())
    assert desk.paid == [("DE1", 9000)]


def test_only_who_holds_the_role_approves(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(9000))
            seen = ""
            for person in ("eve", "dora", ""):
                task = await next_task(local, handle.id, after=seen)
                seen = task.id
                await local.client.decide(task.id, "approve", by=person)
            task = await next_task(local, handle.id, after=seen)
            assert desk.paid == []
            await local.client.decide(task.id, "approve", by="carl")
            assert await handle.result() == "paid 9000"
            refusals = [
                json.loads(e.body or b"{}")["problem"]
                for e in local.store.read(handle.id)
                if e.event.kind == "resolution_refused"
            ]
            assert refusals[0] == "eve does not hold the role 'billing-team'; ana, bela do"
            (granted,) = [
                e.event for e in local.store.read(handle.id) if e.event.kind == "approval_granted"
            ]
            assert (granted.header["by"], granted.header["acts_for"]) == ("carl", "ana")

    asyncio.run(scenario())


def test_two_persons_approve_and_one_is_not_two(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(200_000))
            seen = ""
            for person in ("ana", "ana"):
                task = await next_task(local, handle.id, after=seen)
                seen = task.id
                await local.client.decide(task.id, "approve", by=person)
            task = await next_task(local, handle.id, after=seen)
            assert question(local, task)["details"]["approved_by"] == ["ana"]
            assert desk.paid == []
            await local.client.decide(task.id, "approve", by="bela")
            assert await handle.result() == "paid 200000"

    asyncio.run(scenario())
    assert len(desk.paid) == 1


def test_what_was_rejected_is_not_made(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(9000))
            task = await open_task(local, handle.id)
            await local.client.decide(task.id, "reject", by="ana")
            with pytest.raises(RunFailedError, match="ana rejected it"):
                await handle.result()

    asyncio.run(scenario())
    assert desk.paid == []


@pytest.mark.parametrize(
    ("cents", "then"),
    [(4000, "paid 4000"), (8000, "asked"), (9000, "asked"), (300_000, "asked")],
)
def test_an_edited_call_is_judged_as_a_new_one(tmp_path: Path, cents: int, then: str) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(9000))
            task = await open_task(local, handle.id)
            await local.client.decide(task.id, "edit", value=pay(cents, "FR2"), by="ana")
            if then == "asked":
                second = await next_task(local, handle.id, after=task.id)
                assert question(local, second)["details"]["arguments"] == pay(cents, "FR2")
                assert desk.paid == []
                await local.client.decide(second.id, "reject", by="ana")
                await handle.row()
            else:
                assert await handle.result() == then

    asyncio.run(scenario())
    assert desk.paid == ([] if then == "asked" else [("FR2", cents)])


def test_an_edit_that_fits_no_tool_is_asked_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(9000))
            task = await open_task(local, handle.id)
            await local.client.decide(task.id, "edit", value={"cents": "many"}, by="ana")
            second = await next_task(local, handle.id, after=task.id)
            assert question(local, second)["details"]["arguments"] == pay(9000)
            with pytest.raises(InvalidInputError, match="is not offered"):
                await local.client.decide(second.id, "maybe", by="ana")

    asyncio.run(scenario())
    assert desk.paid == []


def test_nobody_answers_in_time(tmp_path: Path) -> None:
    desk, clock = Desk(tmp_path), MovableClock()

    async def scenario() -> None:
        async with executing(desk.app, clock=clock) as local:
            handle = await local.start("payer", pay(9000))
            await open_task(local, handle.id)
            await until_state(local, handle.id, "waiting")
            clock.move(timedelta(hours=3, seconds=1))
            local.executor.nudge()
            with pytest.raises(RunFailedError, match="nobody approved it in time"):
                await handle.result()
            assert local.store.inbox() == []

    asyncio.run(scenario())
    assert desk.paid == []


def test_an_approval_is_void_when_it_has_expired_before_the_call(tmp_path: Path) -> None:
    """It was given in time, but nobody was there to make the call."""
    desk, clock = Desk(tmp_path), MovableClock()

    async def scenario() -> None:
        async with executing(desk.app, clock=clock) as local:
            handle = await local.start("payer", pay(9000))
            task = await open_task(local, handle.id)
            run = handle.id
        async with desk.app.client() as person:
            await person.decide(task.id, "approve", by="ana")
        clock.move(timedelta(hours=4))
        async with executing(desk.app, clock=clock) as local:
            await until_state(local, run, "failed")
            assert "approval_granted" in kinds(local, run)
            assert "effect_intended" not in kinds(local, run)

    asyncio.run(scenario())
    assert desk.paid == []


def test_an_approval_is_void_when_the_dry_run_says_something_else(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(9000))
            task = await open_task(local, handle.id)
            desk.previewed = lambda cents: "it was paid back already"
            await local.client.decide(task.id, "approve", by="ana")
            second = await next_task(local, handle.id, after=task.id)
            assert desk.paid == []
            assert question(local, second)["details"]["dry_run"] == "it was paid back already"
            await local.client.decide(second.id, "approve", by="ana")
            assert await handle.result() == "paid 9000"

    asyncio.run(scenario())
    assert len(desk.paid) == 1


def test_a_policy_that_forbids_meanwhile_goes_before_an_approval(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(9000))
            task = await open_task(local, handle.id)
            run = handle.id
        async with desk.app.client() as person:
            await person.decide(task.id, "approve", by="ana")
        stricter = Desk(tmp_path, POLICIES + '@id("stop") forbid (principal, action, resource);')
        async with executing(stricter.app) as local:
            await until_state(local, run, "failed")
        assert stricter.paid == []

    asyncio.run(scenario())
    assert desk.paid == []


def test_a_run_that_turns_away_needs_no_approval_any_more(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    @desk.app.agent("hasty")
    async def hasty(run: Run) -> str:
        try:
            async with asyncio.timeout(0.01):
                return await run.call(desk.refund, "DE1", 9000)
        except TimeoutError:
            return "gave up"

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("hasty")
            assert await handle.result() == "gave up"
            assert local.store.inbox() == []

    asyncio.run(scenario())
    assert desk.paid == []


def test_a_read_is_judged_too(tmp_path: Path) -> None:
    desk = Desk(tmp_path, POLICIES.replace('"any read"', '"refund"'))
    looked: list[str] = []

    @desk.app.tool(effect="read")
    def look(customer: str) -> str:
        looked.append(customer)
        return customer

    @desk.app.agent("reader")
    async def reader(run: Run) -> str:
        return await run.call(look, "Ana")

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("reader")
            with pytest.raises(RunFailedError, match="no policy permits it"):
                await handle.result()

    asyncio.run(scenario())
    assert looked == []


@pytest.mark.parametrize(
    ("policies", "people", "complaint"),
    [
        (
            '@id("x") permit (principal, action == Action::"refnd", resource);',
            PEOPLE,
            "desk.cedar:1",
        ),
        ('@id("x") permit (principal == Agent::"pyer", action, resource);', PEOPLE, "no agent"),
        (
            '@id("x") permit (principal, action, resource) when { context.args.acount == "" };',
            PEOPLE,
            "`args.acount`",
        ),
        ("permit (principal, action, resource);", PEOPLE, '@id("…")'),
        ("", PEOPLE, "desk.cedar"),
        (POLICIES, "roles: {front-desk: [ana]}", "nobody has the role 'billing-team'"),
        (POLICIES, "roles: {billing-team: []}", "nobody holds"),
        (POLICIES, "rolls: {}", "people.yaml"),
    ],
)
def test_wrong_rights_are_told_before_anything_runs(
    tmp_path: Path, policies: str, people: str, complaint: str
) -> None:
    desk = Desk(tmp_path, policies, people)

    async def scenario() -> None:
        async with desk.app.executor():
            raise AssertionError("it must not begin")

    with pytest.raises(PolicyError) as wrong:
        asyncio.run(scenario())
    assert complaint in str(wrong.value)


def test_several_persons_decide_at_once_and_the_call_is_made_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handles = [await local.start("payer", pay(9000 + n)) for n in range(20)]
            tasks = [await open_task(local, handle.id) for handle in handles]
            async with desk.app.client() as first, desk.app.client() as second:
                words = [
                    person.decide(task.id, choice, by=by)
                    for number, task in enumerate(tasks)
                    for person, choice, by in (
                        (first, "approve" if number % 2 else "reject", "ana"),
                        (second, "reject" if number % 2 else "approve", "bela"),
                        (local.client, "approve", "bela"),
                    )
                ]
                said = await asyncio.gather(*words, return_exceptions=True)
            assert sum(word is None for word in said) == len(tasks)
            await until(lambda: not local.store.inbox())
            rows = [await handle.row() for handle in handles]
            chosen = [local.store.inbox(("decided",), 1000)]
            assert len(chosen[0]) == len(tasks)
            completed = [row for row in rows if row.state == "completed"]
            assert len(completed) == len(desk.paid) == len(set(desk.paid))

    asyncio.run(scenario())


async def asked_then_stopped(desk: Desk, clock: MovableClock | None = None) -> tuple[str, str]:
    """A run that waits for an approval, whose executor has stopped: its id, and the task's."""
    async with executing(desk.app, clock=clock) as local:
        handle = await local.start("payer", pay(9000))
        task = await open_task(local, handle.id)
        return handle.id, task.id


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('@approval("billing-team") @within("3h")', '@approval("board") @within("3h")'),
        ('@approval("billing-team") @within', '@approval("billing-team") @two_persons @within'),
    ],
)
def test_a_policy_that_asks_for_more_meanwhile_voids_an_approval(
    tmp_path: Path, before: str, after: str
) -> None:
    """The word is on its way when the policies change: who must approve is asked."""
    desk = Desk(tmp_path)
    people = PEOPLE.replace("roles: {", "roles: {board: [zoe], ")

    async def still_asked(local: LocalExecutor, run: str) -> None:
        task = await until(
            lambda: next((t for t in local.store.inbox() if t.run == run), None), "another task"
        )
        assert "effect_intended" not in kinds(local, run)
        assert task.role == ("board" if "board" in after else "billing-team")

    async def scenario() -> None:
        run, task = await asked_then_stopped(desk)
        async with desk.app.client() as person:
            await person.decide(task, "approve", by="ana")
        stricter = Desk(tmp_path, POLICIES.replace(before, after), people)
        async with executing(stricter.app) as local:
            await still_asked(local, run)
        assert stricter.paid == []

    asyncio.run(scenario())
    assert desk.paid == []


def test_who_may_not_approve_does_not_keep_the_question_open(tmp_path: Path) -> None:
    """A refused word asks again, until the same moment."""
    desk, clock = Desk(tmp_path), MovableClock()

    async def scenario() -> None:
        async with executing(desk.app, clock=clock) as local:
            handle = await local.start("payer", pay(9000))
            first = await open_task(local, handle.id)
            clock.move(timedelta(hours=2))
            await local.client.decide(first.id, "approve", by="eve")
            second = await next_task(local, handle.id, after=first.id)
            assert second.due_at_us == first.due_at_us

    asyncio.run(scenario())


def test_who_holds_a_role_and_who_acts_for_them_are_not_two(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(200_000))
            seen = ""
            for person in ("ana", "carl"):
                task = await next_task(local, handle.id, after=seen)
                seen = task.id
                await local.client.decide(task.id, "approve", by=person)
            task = await next_task(local, handle.id, after=seen)
            assert question(local, task)["details"]["approved_by"] == ["ana"]
            assert desk.paid == []

    asyncio.run(scenario())


def test_who_was_asked_is_heard_though_the_policies_are_gone(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        run, task = await asked_then_stopped(desk)
        bare = Desk(tmp_path)
        bare.app.policies = None
        async with executing(bare.app) as local:
            await until_state(local, run, "waiting")
            assert [row.id for row in local.store.inbox()] == [task]
            await local.client.decide(task, "reject", by="ana")
            await until_state(local, run, "failed")
        assert bare.paid == []

    asyncio.run(scenario())


def test_an_edit_without_arguments_is_refused_at_the_door(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(9000))
            task = await open_task(local, handle.id)
            with pytest.raises(InvalidInputError, match="as a JSON object"):
                await local.client.decide(task.id, "edit", by="ana")
            assert [row.id for row in local.store.inbox()] == [task.id]

    asyncio.run(scenario())


def test_an_edit_that_cannot_be_recorded_is_refused_at_the_door(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def scenario() -> None:
        async with executing(desk.app) as local:
            handle = await local.start("payer", pay(9000))
            task = await open_task(local, handle.id)
            with pytest.raises(NotRecordableError, match="9007199254740992"):
                await local.client.decide(task.id, "edit", value=pay(2**53), by="ana")
            assert [row.id for row in local.store.inbox()] == [task.id]

    asyncio.run(scenario())


def test_an_owner_who_holds_no_role_is_told_before_anything_runs(tmp_path: Path) -> None:
    """Nobody could approve what the tool's owner is asked about."""
    desk = Desk(tmp_path)
    desk.app.tool(
        "send", effect="write", recovery="repeatable", owner="mailer", autonomy="suggest"
    )(lambda to="": to)

    async def scenario() -> None:
        async with desk.app.executor():
            raise AssertionError("it must not begin")

    with pytest.raises(PolicyError, match="nobody has the role 'mailer'"):
        asyncio.run(scenario())
