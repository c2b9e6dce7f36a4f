"""What an agent can do at the help desk, against the real Roundup, and how each write recovers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from examples.support_desk.helpdesk import (
    Account,
    HelpDesk,
    OutcomeUnknownError,
    Purchase,
    ReferenceTakenError,
    RefusedError,
    RunningHelpDesk,
    UnreachableError,
    count_actions,
    ensure_running,
    read_account,
)
from examples.support_desk.helpdesk.tally import TicketCount

numbers = itertools.count(1)
PURCHASE = Purchase(number="P-1", customer="ana", account="DE89370400440532013000", cents=1999)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHelpDesk]:
    running = ensure_running(tmp_path_factory.mktemp("helpdesk") / "desk")
    asyncio.run(furnish(running))
    yield running
    running.stop()


async def furnish(running: RunningHelpDesk) -> None:
    async with sign_in(running, "admin") as admin:
        for _ in range(2):  # repeatable
            await admin.ensure_tags(["delivery", "damage"])
            await admin.ensure_users(["shipping-team", "returns-team"], role="Queue")
            await admin.ensure_users(["ana"], role="Customer")
            await admin.ensure_purchases([PURCHASE])


@asynccontextmanager
async def sign_in(running: RunningHelpDesk, name: str) -> AsyncIterator[HelpDesk]:
    async with HelpDesk(running.url, read_account(running.home, name)) as desk:
        yield desk


def as_agent(running: RunningHelpDesk, work: Callable[[HelpDesk, str], Awaitable[None]]) -> None:
    """Do `work` as the agent on a new ticket of Ana's."""

    async def scene() -> None:
        async with sign_in(running, "intake") as intake:
            ticket = await open_one(intake, f"A-{next(numbers)}")
        async with sign_in(running, "agent") as agent:
            await work(agent, ticket)

    asyncio.run(scene())


async def open_one(desk: HelpDesk, reference: str, text: str = "Where is my parcel?") -> str:
    return await desk.open_ticket(
        reference=reference, title="Late parcel", text=text, customer="ana"
    )


async def stray_messages(running: RunningHelpDesk) -> list[str]:
    """Messages of Ana's that belong to no ticket."""
    async with sign_in(running, "agent") as desk:
        return [message.id for message in await desk.messages_by("ana") if message.ticket is None]


async def count_of(desk: HelpDesk, ticket: str) -> TicketCount:
    tally = await count_actions(desk, author="agent")
    (count,) = [count for count in tally.tickets if count.ticket == ticket]
    return count


def test_a_customers_message_becomes_a_ticket(running: RunningHelpDesk) -> None:
    async def work(desk: HelpDesk, ticket: str) -> None:
        read = await desk.ticket(ticket)
        assert (read.title, read.text) == ("Late parcel", "Where is my parcel?")
        assert (read.status, read.tags, read.queue) == ("new", (), None)
        assert read.customer == "ana"
        (opening,) = await desk.messages(ticket)
        assert (opening.author, opening.text) == ("ana", "Where is my parcel?")
        assert (opening.draft, opening.effect_key) == (False, None)
        assert ticket in [listed.id for listed in await desk.tickets(status="new")]
        assert await desk.tickets(status="closed") == []

    as_agent(running, work)


def test_opening_with_one_reference_makes_one_ticket(running: RunningHelpDesk) -> None:
    async def scene() -> None:
        async with sign_in(running, "intake") as desk:
            opened = await asyncio.gather(*(open_one(desk, "once/1#2") for _ in range(8)))
            assert len(set(opened)) == 1
            assert await stray_messages(running) == []
            found = await desk.find_ticket("once/1#2")
            assert found is not None
            assert found.id == opened[0]
            assert await desk.find_ticket("once/1#") is None
            assert await desk.find_ticket("ONCE/1#2") is None

    asyncio.run(scene())


def test_a_reference_cannot_be_used_for_another_ticket(running: RunningHelpDesk) -> None:
    async def scene() -> None:
        async with sign_in(running, "intake") as desk:
            first = await open_one(desk, "mine", "one\r\n two ")
            assert await open_one(desk, "mine", "one\n two") == first
            with pytest.raises(ReferenceTakenError, match=f"issue{first} holds") as taken:
                await open_one(desk, "mine", "three")
            assert (taken.value.reference, taken.value.ticket) == ("mine", first)

    asyncio.run(scene())


def test_routing_is_repeatable(running: RunningHelpDesk) -> None:
    async def work(desk: HelpDesk, ticket: str) -> None:
        for _ in range(2):
            await desk.route(ticket, tag="delivery", queue="shipping-team", status="answered")
        routed = await desk.ticket(ticket)
        assert (routed.tags, routed.queue) == (("delivery",), "shipping-team")
        assert routed.status == "answered"
        await desk.route(ticket, tag="damage", queue="returns-team", status="open")
        assert (await desk.ticket(ticket)).tags == ("damage",)
        await desk.set_status(ticket, "escalated")
        assert (await desk.ticket(ticket)).status == "escalated"
        assert (await desk.ticket(ticket)).tags == ("damage",)

    as_agent(running, work)


def test_changes_at_the_same_time_are_all_made(running: RunningHelpDesk) -> None:
    async def work(desk: HelpDesk, ticket: str) -> None:
        await asyncio.gather(
            desk.route(ticket, tag="delivery", queue="shipping-team", status="open"),
            desk.reply(ticket, "On its way.", effect_key=f"{ticket}/a"),
            desk.reply(ticket, "Be patient.", effect_key=f"{ticket}/b"),
        )
        assert (await desk.ticket(ticket)).tags == ("delivery",)
        assert len(await desk.messages(ticket)) == 3

    as_agent(running, work)


def test_a_reply_is_found_by_its_effect_key(running: RunningHelpDesk) -> None:
    async def work(desk: HelpDesk, ticket: str) -> None:
        key = f"run-{ticket}/1/reply#1"
        assert await desk.find_messages(key) == []
        made = await desk.reply(ticket, "Hello Ana,\n\nit is on its way.", effect_key=key)
        (found,) = await desk.find_messages(key)
        assert (found.id, found.ticket, found.author) == (made, ticket, "agent")
        assert found.text == "Hello Ana,\n\nit is on its way."
        assert await desk.find_messages(key[:-1]) == []
        assert (await count_of(desk, ticket)).replies == 1

    as_agent(running, work)


def test_a_draft_is_kept_off_the_ticket_until_it_is_sent(running: RunningHelpDesk) -> None:
    async def work(desk: HelpDesk, ticket: str) -> None:
        draft = await desk.save_draft(ticket, "Dear Ana", effect_key=f"{ticket}/draft")
        assert [message.draft for message in await desk.messages(ticket)] == [False, True]
        before = await count_of(desk, ticket)
        assert (before.replies, before.drafts) == (0, 1)
        for _ in range(2):
            await desk.send_draft(draft)
        after = await count_of(desk, ticket)
        assert (after.replies, after.drafts, after.doubled) == (1, 0, 0)

    as_agent(running, work)


def test_the_directory_knows_what_a_customer_has_paid(running: RunningHelpDesk) -> None:
    async def work(desk: HelpDesk, ticket: str) -> None:
        assert await desk.last_purchase("ana") == PURCHASE
        assert await desk.last_purchase("returns-team") is None

    as_agent(running, work)


def test_a_follow_up_belongs_to_its_ticket(running: RunningHelpDesk) -> None:
    async def work(desk: HelpDesk, ticket: str) -> None:
        follow_up, again = [
            await desk.open_ticket(
                reference=f"{ticket}/follow-up", title="Call", text="Call Ana", follow_up_of=ticket
            )
            for _ in range(2)
        ]
        assert again == follow_up
        assert (await desk.ticket(follow_up)).follow_up_of == ticket
        assert [t.id for t in await desk.tickets(follow_up_of=ticket)] == [follow_up]
        assert (await count_of(desk, ticket)).follow_ups == 1
        tally = await count_actions(desk, author="agent")
        assert follow_up not in [count.ticket for count in tally.tickets]

    as_agent(running, work)


def test_what_is_done_twice_is_counted(running: RunningHelpDesk) -> None:
    """Roundup hinders no doubled reply, so a count of none says something."""

    async def work(desk: HelpDesk, ticket: str) -> None:
        before = (await count_actions(desk, author="agent")).doubled
        key = f"{ticket}/reply"
        await desk.reply(ticket, "Hello", effect_key=key)
        await desk.reply(ticket, "Hello", effect_key=key)
        await desk.save_draft(ticket, "Hello", effect_key=f"{ticket}/draft")
        for name in ("x", "y"):
            await desk.open_ticket(
                reference=f"{ticket}/{name}", title="Call", text="Call", follow_up_of=ticket
            )
        assert (await count_of(desk, ticket)).doubled == 3
        assert (await count_actions(desk, author="agent")).doubled == before + 3
        assert len(await desk.find_messages(key)) == 2

    as_agent(running, work)


def test_the_agent_may_do_its_work_and_no_more(running: RunningHelpDesk) -> None:
    async def work(desk: HelpDesk, ticket: str) -> None:
        for forbidden in (
            desk.ensure_tags(["mine"]),
            desk.ensure_users(["me"], role="Admin"),
            desk.route(ticket, tag="unknown tag", queue="shipping-team", status="open"),
            desk.route(ticket, tag="delivery", queue="nobody", status="open"),
            desk.ticket("99999"),
        ):
            with pytest.raises(RefusedError):
                await forbidden
        assert (await desk.ticket(ticket)).tags == ()
        async with sign_in(running, "intake") as intake:
            with pytest.raises(RefusedError) as refused:
                await intake.reply(ticket, "I am the agent", effect_key="stolen")
            assert refused.value.status == 403

    as_agent(running, work)


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_reply_is_not_sent(running: RunningHelpDesk, text: str) -> None:
    async def work(desk: HelpDesk, ticket: str) -> None:
        with pytest.raises(ValueError, match=f"issue{ticket} needs a text"):
            await desk.reply(ticket, text, effect_key="k")
        assert (await count_of(desk, ticket)).replies == 0

    as_agent(running, work)


def test_a_name_of_digits_alone_is_refused(running: RunningHelpDesk) -> None:
    async def scene() -> None:
        async with sign_in(running, "admin") as admin:
            with pytest.raises(ValueError, match="'404' cannot name a keyword"):
                await admin.ensure_tags(["404"])

    asyncio.run(scene())


def test_a_wrong_password_is_refused_without_naming_it(running: RunningHelpDesk) -> None:
    async def scene() -> None:
        wrong = Account(name="intake", password="let me in")
        async with HelpDesk(running.url, wrong) as desk:
            with pytest.raises(RefusedError) as refused:
                await open_one(desk, "never")
        assert refused.value.status == 401
        assert "let me in" not in str(refused.value)
        async with sign_in(running, "intake") as desk:
            assert await desk.find_ticket("never") is None

    asyncio.run(scene())


def test_nothing_was_made_where_nobody_listens(running: RunningHelpDesk) -> None:
    async def scene() -> None:
        listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        await listener.wait_closed()
        async with HelpDesk(f"http://127.0.0.1:{port}", account) as desk:
            with pytest.raises(UnreachableError, match="was not sent"):
                await desk.reply("1", "Hello", effect_key="k")

    account = read_account(running.home, "agent")
    asyncio.run(scene())


def test_the_outcome_is_unknown_when_no_answer_comes(running: RunningHelpDesk) -> None:
    async def scene() -> None:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            async with HelpDesk(f"http://127.0.0.1:{port}", account) as desk:
                with pytest.raises(OutcomeUnknownError, match="was sent and not answered"):
                    await desk.reply("1", "Hello", effect_key="k")

    account = read_account(running.home, "agent")
    asyncio.run(scene())


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
