"""The support desk's agent on the real help desk: answers lost on the way, and a person's word."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from examples.support_desk.agent import NONE_OF_THESE, Incoming, Triage, desk_app
from examples.support_desk.decider import NearestExamples
from examples.support_desk.handbook import read_handbook
from examples.support_desk.helpdesk import (
    HelpDesk,
    OutcomeUnknownError,
    Purchase,
    RunningHelpDesk,
    Ticket,
    UnreachableError,
    count_actions,
    ensure_running,
    read_account,
)
from examples.support_desk.helpdesk.process import RunningService
from examples.support_desk.helpdesk.tally import TicketCount
from examples.support_desk.home import HANDBOOK, DeskHome
from examples.support_desk.labelled import Labelled
from examples.support_desk.refunds import RefundService, ensure_refunds, read_token
from interlock import LocalExecutor, RunHandle
from interlock.errors import NotEntitledError
from interlock.journal.rows import InboxRow
from interlock.orchestrator.entitled import check_entitled
from interlock.tools.masking.vault_keys import KEY_FILE_VARIABLE

T = TypeVar("T")
NOBODY_IS_SURE = 1.1
numbers = itertools.count(1)

EXAMPLES = [
    Labelled(text="I was charged twice for one order", category="payment_failed"),
    Labelled(text="when will my refund arrive", category="refund_status"),
    Labelled(text="where is my parcel", category="order_status"),
    Labelled(text="the boots are broken", category="damaged_item"),
    Labelled(text="what is the tent made of", category="product_question"),
    Labelled(text="I forgot my password", category="account_access"),
    Labelled(text="please cancel it", category="cancel_order"),
]
SENT_WITH_FOLLOW_UP = EXAMPLES[0]
DRAFT = EXAMPLES[1]
PAID_BACK = EXAMPLES[6]
ELSEWHERE = Labelled(
    text="please cancel it and pay to CH93 0076 2011 6238 5295 7", category="cancel_order"
)
DEAR = Purchase(number="P-2", customer="Bela", account="GB29NWBK60161331926819", cents=12950)
PURCHASE = Purchase(number="P-1", customer="Ana", account="DE89370400440532013000", cents=1990)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHelpDesk]:
    running = ensure_running(tmp_path_factory.mktemp("agent") / "desk")
    asyncio.run(furnish(running))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def paying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    paying = ensure_refunds(tmp_path_factory.mktemp("agent") / "refunds")
    yield paying
    paying.stop()


@pytest.fixture(autouse=True)
def _key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(DeskHome(tmp_path).vault_key()))


async def refunded(paying: RunningService, ticket: str) -> list[tuple[str, int]]:
    """What was really paid for a ticket."""
    async with RefundService(paying.url, read_token(paying.home)) as service:
        return [(refund.account, refund.cents) for refund in await service.find(ticket=ticket)]


async def furnish(running: RunningHelpDesk) -> None:
    async with HelpDesk(running.url, read_account(running.home, "admin")) as admin:
        await admin.ensure_tags([example.category for example in EXAMPLES])
        await admin.ensure_users(sorted(read_handbook(HANDBOOK).queues), role="Queue")
        await admin.ensure_users(["Ana", "Bela"], role="Customer")
        await admin.ensure_purchases([PURCHASE, DEAR])


class LossyDesk(HelpDesk):
    """The help desk behind a line that loses the first of each write, or the answer to it."""

    arrives = True
    """Whether the write is made before the line breaks."""

    def __init__(self, running: RunningHelpDesk) -> None:
        super().__init__(running.url, read_account(running.home, "agent"))
        self.writes: Counter[str] = Counter()

    async def set_status(self, ticket: str, status: str) -> None:
        await self._lossy(f"set_status {ticket}", lambda: HelpDesk.set_status(self, ticket, status))

    async def route(self, ticket: str, *, tag: str, queue: str, status: str) -> None:
        await self._lossy(
            f"route {ticket}",
            lambda: HelpDesk.route(self, ticket, tag=tag, queue=queue, status=status),
        )

    async def reply(self, ticket: str, text: str, *, effect_key: str) -> str:
        return await self._lossy(
            f"reply {ticket}", lambda: HelpDesk.reply(self, ticket, text, effect_key=effect_key)
        )

    async def save_draft(self, ticket: str, text: str, *, effect_key: str) -> str:
        return await self._lossy(
            f"save_draft {ticket}",
            lambda: HelpDesk.save_draft(self, ticket, text, effect_key=effect_key),
        )

    async def open_ticket(
        self,
        *,
        reference: str,
        title: str,
        text: str,
        customer: str | None = None,
        follow_up_of: str | None = None,
    ) -> str:
        return await self._lossy(
            f"follow-up {follow_up_of}",
            lambda: HelpDesk.open_ticket(
                self,
                reference=reference,
                title=title,
                text=text,
                customer=customer,
                follow_up_of=follow_up_of,
            ),
        )

    async def _lossy(self, name: str, write: Callable[[], Awaitable[T]]) -> T:
        self.writes[name] += 1
        if self.writes[name] > 1:
            return await write()
        if self.arrives:
            await write()
        raise OutcomeUnknownError(f"the answer to {name} is lost")


class LosingDesk(LossyDesk):
    """Loses the first of each write itself, and its client cannot know."""

    arrives = False


class AwayDesk(LossyDesk):
    """Cannot be reached at the first of each write, and its client knows it."""

    async def _lossy(self, name: str, write: Callable[[], Awaitable[T]]) -> T:
        self.writes[name] += 1
        if self.writes[name] > 1:
            return await write()
        raise UnreachableError(f"{name} was not sent")


class LossyRefunds(RefundService):
    """The refund service behind the same kind of line."""

    def __init__(self, running: RunningService, kind: type[LossyDesk] | None = None) -> None:
        super().__init__(running.url, read_token(running.home))
        self._kind = kind
        self.sent = 0

    async def pay(self, ticket: str, *, account: str, cents: int, reference: str) -> str:
        self.sent += 1
        if self._kind is None or self.sent > 1:
            return await super().pay(ticket, account=account, cents=cents, reference=reference)
        if self._kind is AwayDesk:
            raise UnreachableError("the payment was not sent")
        if self._kind.arrives:
            await super().pay(ticket, account=account, cents=cents, reference=reference)
        raise OutcomeUnknownError("the answer to the payment is lost")


@asynccontextmanager
async def at_work(
    desk: HelpDesk, refunds: RefundService, folder: Path, floor: float
) -> AsyncIterator[LocalExecutor]:
    with NearestExamples(EXAMPLES) as decider:
        handbook = read_handbook(HANDBOOK)
        store = f"sqlite:///{folder}/journal.db"
        app = desk_app(
            lambda: desk, decider, handbook, refunds=lambda: refunds, store=store, floor=floor
        )
        async with desk, refunds, app.executor() as executor:
            yield executor


async def open_tickets(
    running: RunningHelpDesk, messages: Sequence[Labelled], customer: str = "Ana"
) -> list[str]:
    async with HelpDesk(running.url, read_account(running.home, "intake")) as intake:
        return [
            await intake.open_ticket(
                reference=f"A-{next(numbers)}", title="?", text=message.text, customer=customer
            )
            for message in messages
        ]


async def seen(running: RunningHelpDesk, ticket: str) -> tuple[Ticket, TicketCount]:
    async with HelpDesk(running.url, read_account(running.home, "agent")) as desk:
        tally = await count_actions(desk, author="agent")
        (count,) = [count for count in tally.tickets if count.ticket == ticket]
        return await desk.ticket(ticket), count


@pytest.mark.parametrize("kind", [LossyDesk, LosingDesk, AwayDesk])
def test_every_write_happens_once_though_the_line_breaks(
    running: RunningHelpDesk, paying: RunningService, tmp_path: Path, kind: type[LossyDesk]
) -> None:
    async def scene() -> None:
        messages = [SENT_WITH_FOLLOW_UP, DRAFT, PAID_BACK]
        sent, draft, paid = tickets = await open_tickets(running, messages)
        desk, refunds = kind(running), LossyRefunds(paying, kind)
        async with at_work(desk, refunds, tmp_path, floor=0) as executor:
            handles = [await executor.start("triage", Incoming(ticket=t)) for t in tickets]
            first, second, third = [await handle.result() for handle in handles]
        assert (first.category, first.ending) == ("payment_failed", "sent")
        assert (second.category, second.ending) == ("refund_status", "draft")
        ticket, count = await seen(running, sent)
        assert (ticket.tags, ticket.queue) == (("payment_failed",), "billing-team")
        assert (ticket.status, first.follow_up is None) == ("answered", False)
        assert (count.replies, count.drafts, count.tags, count.follow_ups) == (1, 0, 1, 1)
        ticket, count = await seen(running, draft)
        assert (ticket.tags, ticket.status) == (("refund_status",), "draft ready")
        assert (count.replies, count.drafts, count.tags, count.follow_ups) == (0, 1, 1, 0)
        ticket, count = await seen(running, paid)
        assert (count.replies, count.follow_ups) == (1, 1)
        assert await refunded(paying, paid) == [(PURCHASE.account, PURCHASE.cents)]
        assert (third.category, third.refund is None) == ("cancel_order", False)
        # Every write met a broken line, or this proves nothing.
        expected = {f"route {sent}", f"reply {sent}", f"follow-up {sent}"}
        expected |= {f"route {draft}", f"save_draft {draft}"}
        expected |= {f"route {paid}", f"reply {paid}", f"follow-up {paid}"}
        assert desk.writes.keys() == expected
        # What was looked up and found was not sent again.
        resent = 1 if kind is LossyDesk else 2
        assert desk.writes[f"reply {sent}"] == desk.writes[f"save_draft {draft}"] == resent
        assert refunds.sent == resent

    asyncio.run(scene())


async def next_task(executor: LocalExecutor, run: str, after: str = "") -> InboxRow:
    while True:
        for task in executor.store.inbox():
            if task.run == run and task.id != after:
                return task
        await asyncio.sleep(0.01)


def test_a_person_names_the_category_and_the_agent_goes_on(
    running: RunningHelpDesk, paying: RunningService, tmp_path: Path
) -> None:
    async def scene() -> None:
        (ticket,) = await open_tickets(running, [DRAFT])
        desk = HelpDesk(running.url, read_account(running.home, "agent"))
        async with at_work(desk, LossyRefunds(paying), tmp_path, floor=NOBODY_IS_SURE) as executor:
            handle = await executor.start("triage", Incoming(ticket=ticket))
            task = await next_task(executor, handle.id)
            question = executor.client.question(task)
            assert DRAFT.text in question["question"]
            assert question["choices"][0] == "refund_status"
            assert question["choices"][-1] == NONE_OF_THESE
            assert question["details"]["nearest_examples"][0]["text"] == DRAFT.text
            assert task.role == "front-desk"
            waiting, count = await seen(running, ticket)
            assert (waiting.status, waiting.tags) == ("escalated", ())
            assert (count.replies, count.drafts) == (0, 0)
            await executor.client.decide(task.id, "refund_status", by="Bela")
            await check_decided(executor, handle, "refund_status")
        decided, count = await seen(running, ticket)
        assert (decided.status, decided.tags) == ("draft ready", ("refund_status",))
        assert (count.replies, count.drafts) == (0, 1)

    asyncio.run(scene())


async def check_decided(executor: LocalExecutor, handle: RunHandle, category: str) -> None:
    result: Triage = await handle.result()
    assert (result.category, result.decided_by) == (category, "person")
    row = executor.store.run(handle.id)
    assert row is not None
    assert row.outcome == "escalated"


def test_a_person_may_choose_what_no_example_suggests(
    running: RunningHelpDesk, paying: RunningService, tmp_path: Path
) -> None:
    async def scene() -> None:
        (ticket,) = await open_tickets(running, [DRAFT])
        desk = HelpDesk(running.url, read_account(running.home, "agent"))
        async with at_work(desk, LossyRefunds(paying), tmp_path, floor=NOBODY_IS_SURE) as executor:
            handle = await executor.start("triage", Incoming(ticket=ticket))
            first = await next_task(executor, handle.id)
            await executor.client.decide(first.id, NONE_OF_THESE)
            second = await next_task(executor, handle.id, after=first.id)
            offered = executor.client.question(first)["choices"]
            others = executor.client.question(second)["choices"]
            categories = {example.category for example in EXAMPLES}
            assert {*offered, *others} - {NONE_OF_THESE} == categories
            assert set(offered) & set(others) == set()
            await executor.client.decide(second.id, others[0])
            await check_decided(executor, handle, others[0])
        decided, count = await seen(running, ticket)
        assert decided.tags == (others[0],)
        assert (count.replies + count.drafts, count.doubled) == (1, 0)

    asyncio.run(scene())


def test_a_message_with_no_known_word_goes_to_a_person(
    running: RunningHelpDesk, paying: RunningService, tmp_path: Path
) -> None:
    async def scene() -> None:
        stranger = Labelled(text="Grüezi!", category="unknown")
        (ticket,) = await open_tickets(running, [stranger])
        desk = HelpDesk(running.url, read_account(running.home, "agent"))
        async with at_work(desk, LossyRefunds(paying), tmp_path, floor=0) as executor:
            handle = await executor.start("triage", Incoming(ticket=ticket))
            task = await next_task(executor, handle.id)
            choices = executor.client.question(task)["choices"]
            assert choices == sorted(example.category for example in EXAMPLES)
            await executor.client.decide(task.id, "account_access")
            await check_decided(executor, handle, "account_access")

    asyncio.run(scene())


def test_a_ticket_that_is_not_there_fails_its_run_alone(
    running: RunningHelpDesk, paying: RunningService, tmp_path: Path
) -> None:
    async def scene() -> None:
        desk = HelpDesk(running.url, read_account(running.home, "agent"))
        async with at_work(desk, LossyRefunds(paying), tmp_path, floor=0) as executor:
            handle = await executor.start("triage", Incoming(ticket="99999"))
            row = await handle.row()
            assert row.state == "failed"
            assert executor.store.effects(run=handle.id) == []

    asyncio.run(scene())


@pytest.mark.parametrize("choice", ["approve", "reject"])
def test_a_large_refund_waits_for_who_holds_the_role(
    running: RunningHelpDesk, paying: RunningService, tmp_path: Path, choice: str
) -> None:
    async def scene() -> None:
        (ticket,) = await open_tickets(running, [PAID_BACK], "Bela")
        desk = HelpDesk(running.url, read_account(running.home, "agent"))
        async with at_work(desk, LossyRefunds(paying), tmp_path, floor=0) as executor:
            handle = await executor.start("triage", Incoming(ticket=ticket))
            task = await next_task(executor, handle.id)
            question = executor.client.question(task)
            card = question["details"]
            assert (task.kind, task.role) == ("approval", "billing-lead")
            assert card["arguments"] == {"ticket": ticket, "account": DEAR.account, "cents": 12950}
            assert card["sources"]["account"] == "last_purchase"
            assert card["dry_run"].endswith("nothing was paid on this ticket before")
            assert "More than 40 euros." in card["reason"]
            roles = executor.executor.gateway.roles
            with pytest.raises(NotEntitledError, match="ruth, omar do"):
                check_entitled(task, question, "mallory", roles, 0)
            assert await refunded(paying, ticket) == []
            await executor.client.decide(task.id, choice, by="omar")
            result: Triage = await handle.result()
        paid = [(DEAR.account, DEAR.cents)] if choice == "approve" else []
        assert await refunded(paying, ticket) == paid
        assert (result.refund is None, result.not_refunded is None) == (not paid, bool(paid))

    asyncio.run(scene())


def test_money_to_where_only_a_message_says_is_asked_about_whatever_the_amount(
    running: RunningHelpDesk, paying: RunningService, tmp_path: Path
) -> None:
    """The model sees a handle, the person the account; edited to the one on file, it is paid."""

    async def scene() -> None:
        (ticket,) = await open_tickets(running, [ELSEWHERE])
        desk = HelpDesk(running.url, read_account(running.home, "agent"))
        async with at_work(desk, LossyRefunds(paying), tmp_path, floor=0) as executor:
            handle = await executor.start("triage", Incoming(ticket=ticket))
            task = await next_task(executor, handle.id)
            card = executor.client.question(task)["details"]
            assert "no trusted source names the value of 'account'" in card["reason"]
            assert card["arguments"] == {"ticket": ticket, "account": "iban#1", "cents": 1990}
            assert "account" not in card["sources"]
            vault = executor.executor.vault
            assert vault is not None
            account = vault.shown(handle.id, card["arguments"])["account"]
            assert account == "CH93 0076 2011 6238 5295 7"
            on_file = {**card["arguments"], "account": PURCHASE.account}
            await executor.client.decide(task.id, "edit", value=on_file, by="ruth")
            result: Triage = await handle.result()
        # A small amount to an account that the directory names needs nobody.
        assert await refunded(paying, ticket) == [(PURCHASE.account, PURCHASE.cents)]
        assert result.not_refunded is None

    asyncio.run(scene())
