"""The demo, and the help desk under it, are killed again and again: everything happens once.

A longer run: `SUPPORT_DESK_TICKETS=80 SUPPORT_DESK_KILLS=40 SUPPORT_DESK_SEED=7`.
"""

from __future__ import annotations

import asyncio
import csv
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
from pydantic import JsonValue

from examples.support_desk.agent import NONE_OF_THESE, desk_app
from examples.support_desk.connection import DeskConnection, RefundConnection
from examples.support_desk.decider import NearestExamples
from examples.support_desk.handbook import read_handbook
from examples.support_desk.helpdesk import (
    HelpDesk,
    RunningHelpDesk,
    Tally,
    Ticket,
    count_actions,
    ensure_running,
    find_running,
    read_account,
)
from examples.support_desk.home import ELSEWHERE, HANDBOOK, TICKETS, TRAIN, DeskHome
from examples.support_desk.intake import PURCHASES, reference_of
from examples.support_desk.labelled import Labelled, read_labelled
from examples.support_desk.refunds import ensure_refunds
from examples.support_desk.refunds.ledger import Ledger
from examples.support_desk.script import answer_approvals
from interlock import Client
from interlock.journal import open_store
from interlock.journal.rows import EffectRow, EffectState
from interlock.testing.simulated_model import (
    Misbehaviour,
    Reply,
    Request,
    Scenario,
    SimulatedModel,
    ToolCall,
)
from interlock.tools.masking.vault_keys import KEY_FILE_VARIABLE, KEY_VARIABLE

ROOT = Path(__file__).parents[2]
COUNT = int(os.environ.get("SUPPORT_DESK_TICKETS", "24"))
KILLS = int(os.environ.get("SUPPORT_DESK_KILLS", "8"))
SEED = int(os.environ.get("SUPPORT_DESK_SEED", "1"))
# Fewer, since the agent gives a help desk that is away too often up, as it should.
DESK_KILLS = max(3, KILLS // 8)
MODEL_KILLS = max(3, KILLS // 2)
SHARE_ANYWHERE = 0.3
LONGEST_LIFE_SECONDS = 2.0
LONGEST_WORK_SECONDS = 0.4

pytestmark = [pytest.mark.alone, pytest.mark.timeout(60 + 10 * KILLS + 2 * COUNT)]


def messages() -> list[Labelled]:
    """What customers write: first those who say where their money is to go.

    The fifth is Emil's: so small a refund that nobody is asked, and no dry run is made.
    """
    others = read_labelled(TICKETS)
    small = Labelled(text="Please cancel my order, I don't need it.", category="cancel_order")
    return [*read_labelled(ELSEWHERE), others[0], small, *others[1:]][:COUNT]


# Those who name an account or an address that the customer directory does not know: the first two.
STRANGE = frozenset({reference_of(0), reference_of(1)})


class Place(DeskHome):
    """A home whose help desks, those started here, are waited for in the end."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.letters = folder.with_name("letters.csv")
        with self.letters.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "category"))
            writer.writerows((message.text, message.category) for message in messages())
        self._started: list[RunningHelpDesk] = []

    def ensure_desk(self) -> RunningHelpDesk:
        self._started.append(ensure_running(self.desk))
        return self._started[-1]

    def ensure_refunds(self) -> None:
        """Have the refund service run."""
        self._started.append(ensure_refunds(self.refunds))

    def replace_desk(self, running: RunningHelpDesk) -> None:
        """Kill the help desk and start another; nothing when the demo, done, has stopped it."""
        try:
            os.kill(running.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        # For an instant the dying one looks alive.
        while self.ensure_desk().pid == running.pid:
            time.sleep(0.01)

    def leave(self) -> None:
        self.stop_desk()
        for started in self._started:
            started.stop()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Place]:
    home = Place(tmp_path / "home")
    yield home
    home.leave()


@contextmanager
def demo_at_work(home: Place) -> Iterator[subprocess.Popen[str]]:
    """The demo's process, which does not outlive the block."""
    options = ["--home", str(home.folder), "--tickets", str(home.letters)]
    command = [sys.executable, "-m", "examples.support_desk", "demo", *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        try:
            yield demo
        finally:
            demo.kill()


def kill_until_done(home: Place, dice: random.Random, kills: int = KILLS) -> list[int]:
    """Start the demo until it is done, killing it `kills` times; the help desk's process ids.

    The first time it is killed amid a write and the second amid a refund, then at random: on a fast
    machine, chance alone could miss every write.
    """
    desks: list[int] = []
    killed = 0
    while True:
        with refund_service_halted(home, killed == 1), demo_at_work(home) as demo:
            if killed == 0:
                with write_under_way(home, demo):
                    demo.kill()
            elif killed == 1:
                await_refund(home, demo)
                demo.kill()
            elif killed < kills and await_moment(home, demo, dice):
                demo.kill()
            printed, _ = demo.communicate()
        running = find_running(home.desk)
        if demo.returncode != -signal.SIGKILL:
            assert demo.returncode == 0, printed
            return desks
        killed += 1
        desks += [running.pid] if running else []


@contextmanager
def write_under_way(home: Place, demo: subprocess.Popen[str]) -> Iterator[RunningHelpDesk]:
    """Halt the help desk until the block ends, which begins once the agent waits for a write."""
    while demo.poll() is None and not wrote_since(home, 0):
        time.sleep(0.01)
    running = find_running(home.desk)
    assert running is not None, "the demo ended before a write could be met"
    os.kill(running.pid, signal.SIGSTOP)
    try:
        while all(effect.tool == "refund" for effect in effects(home, "intended")):
            assert demo.poll() is None, "the demo ended before a write could be met"
            time.sleep(0.01)
        yield running
    finally:
        with suppress(ProcessLookupError):  # The block may have killed it.
            os.kill(running.pid, signal.SIGCONT)


@contextmanager
def refund_service_halted(home: Place, wanted: bool) -> Iterator[None]:
    """What is sent to the refund service during the block, it takes only afterwards."""
    running = find_running(home.refunds) if wanted else None
    if running is not None:
        os.kill(running.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if running is not None:
            os.kill(running.pid, signal.SIGCONT)


def await_refund(home: Place, demo: subprocess.Popen[str]) -> None:
    """Wait until the agent waits for the refund service, which does not answer."""
    while all(effect.tool != "refund" for effect in effects(home, "intended")):
        assert demo.poll() is None, "the demo ended before a refund could be met"
        time.sleep(0.01)


def check_refunds(home: Place, tickets: Mapping[str, Ticket]) -> int:
    """Nobody was paid twice, or without approval, or elsewhere than the directory says; how many.

    By the refund service's own books.
    """
    with Ledger(home.refunds / "ledger.db") as ledger:
        paid = ledger.find()
    assert len({refund.ticket for refund in paid}) == len(paid), "a ticket was paid twice"
    bought = {purchase.customer: purchase for purchase in PURCHASES}
    with closing(open_store(home.store)) as store:
        for refund in paid:
            ticket = tickets[refund.ticket]
            assert ticket.reference not in STRANGE
            known = bought[ticket.customer or ""]
            assert (refund.account.replace(" ", ""), refund.cents) == (known.account, known.cents)
            effect = store.effect(refund.reference)
            assert effect is not None, "it was paid under another key"
            kinds = [e.event.kind for e in store.read(effect.run) if e.event.key == effect.key]
            assert ("approval_granted" in kinds) == (refund.cents > 4000), refund
    return len(paid)


def await_moment(home: Place, demo: subprocess.Popen[str], dice: random.Random) -> bool:
    """Wait for a random moment: any, or mostly one amid the work; False when the demo ended."""
    began_us = time.time_ns() // 1000
    anywhere = dice.random() < SHARE_ANYWHERE
    seconds = dice.uniform(0, LONGEST_LIFE_SECONDS if anywhere else LONGEST_WORK_SECONDS)
    while not anywhere and demo.poll() is None and not wrote_since(home, began_us):
        time.sleep(0.01)
    try:
        demo.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def wrote_since(home: Place, moment_us: int) -> bool:
    """Whether a write of the agent's was finished after a moment: it is in the midst of work."""
    made = effects(home, "completed")
    return any((effect.settled_at_us or 0) > moment_us for effect in made)


def effects(home: Place, state: EffectState) -> list[EffectRow]:
    if not home.journal.exists():
        return []
    with closing(open_store(home.store)) as store:
        return store.effects((state,))


def unknown_effects(home: Place) -> int:
    """How often the agent did not know whether a write was made."""
    return counted(home, "effect_unknown")


def counted(home: Place, kind: str) -> int:
    """How many events of a kind the journal has."""
    with closing(open_store(home.store)) as store:
        return sum(event.kind == kind for event in store.scan(limit=1_000_000))


def extras(ticket: Ticket) -> tuple[int, int]:
    """How many follow-up tickets and refunds the handbook and the policies allow."""
    entry = read_handbook(HANDBOOK).entry(ticket.tags[0])
    refunds = entry.refund and ticket.reference not in STRANGE
    return int(entry.follow_up is not None), int(refunds)


async def look(home: Place, running: RunningHelpDesk) -> tuple[Tally, dict[str, Ticket]]:
    with Ledger(home.refunds / "ledger.db") as ledger:
        refunded = [refund.ticket for refund in ledger.find()]
    async with HelpDesk(running.url, read_account(running.home, "agent")) as desk:
        tally = await count_actions(desk, author="agent", refunded=refunded)
        return tally, {ticket.id: ticket for ticket in await desk.tickets()}


def check_once(home: Place, running: RunningHelpDesk) -> int:
    """Each ticket has one answer, one tag, its follow-up and its refund, but the escalated ones.

    Answers how many are escalated; those have nothing yet.
    """
    tally, tickets = asyncio.run(look(home, running))
    assert check_refunds(home, tickets) == tally.refunds
    assert len(tally.tickets) == COUNT
    assert tally.doubled == 0
    escalated = 0
    for count in tally.tickets:
        ticket = tickets[count.ticket]
        if ticket.status == "escalated":
            escalated += 1
            assert (count.replies + count.drafts, count.tags) == (0, 0)
            assert (count.follow_ups, count.refunds) == (0, 0)
        else:
            assert (count.replies + count.drafts, count.tags) == (1, 1), ticket
            assert (count.follow_ups, count.refunds) == extras(ticket), ticket
    return escalated


async def decide_and_finish(home: Place) -> int:
    """A person decides every open question rightly, and the agent goes on; how many questions."""
    labels = {m.text: m.category for m in messages()}
    home.ensure_refunds()
    async with AsyncExitStack() as stack:
        decider = stack.enter_context(NearestExamples(read_labelled(TRAIN)))
        desk = await stack.enter_async_context(DeskConnection(home.desk, "agent"))
        refunds = await stack.enter_async_context(RefundConnection(home.refunds))
        book = read_handbook(HANDBOOK)
        app = desk_app(desk, decider, book, refunds=refunds, store=home.store)
        decided: set[str] = set()
        async with app.client() as person:
            await decide_open(person, labels, decided)
        executor = await stack.enter_async_context(app.executor())
        while (counts := executor.store.run_counts()).get("completed", 0) < COUNT:
            assert not counts.keys() & {"failed", "cancelled", "parked"}, counts
            await decide_open(executor.client, labels, decided)
            await asyncio.sleep(0.02)
    return len(decided)


async def decide_open(person: Client, labels: Mapping[str, str], decided: set[str]) -> None:
    await answer_approvals(person)
    for task in person.journal.store.inbox():
        if task.kind == "approval":  # It came just now.
            continue
        question = person.question(task)
        text = question["question"].partition("? ")[2]
        choice = labels[text] if labels[text] in question["choices"] else NONE_OF_THESE
        await person.decide(task.id, choice, by="test")
        decided.add(task.run)


def test_the_demo_is_killed_at_random_and_every_ticket_is_handled_once(
    home: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.folder.mkdir()
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    desks = kill_until_done(home, random.Random(SEED))
    assert len(set(desks)) == 1, "the help desk is a process of its own and outlives every kill"
    running = home.ensure_desk()
    waiting = check_once(home, running)
    assert unknown_effects(home), "no kill met a write, which proves nothing"
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(home.vault_key()))
    assert asyncio.run(decide_and_finish(home)) == waiting
    assert check_once(home, running) == 0


def test_the_help_desk_is_killed_under_the_demo_and_everything_happens_once(
    home: Place,
) -> None:
    dice = random.Random(SEED)
    with demo_at_work(home) as demo:
        with write_under_way(home, demo) as running:
            home.replace_desk(running)
        for _ in range(1, DESK_KILLS):
            running = find_running(home.desk)
            if await_moment(home, demo, dice) and running is not None:
                home.replace_desk(running)
        printed, _ = demo.communicate()
    assert demo.returncode == 0, printed
    assert re.search(r"doubled actions +0 ", printed), printed
    running = home.ensure_desk()
    waiting = check_once(home, running)
    assert unknown_effects(home), "no kill met a write, which proves nothing"
    assert re.search(rf"escalated +{waiting} ", printed), printed


def look_up_then_answer(request: Request) -> Reply:
    """A model that looks up similar messages, and then answers as the label says, in its time."""
    text = request.user_text
    takes_time = Misbehaviour(latency_seconds=0.1)
    if request.turn == 0:
        call = ToolCall(name="similar_messages", arguments={"text": text})
        return Reply(tool_calls=(call,), misbehaviour=takes_time)
    # Where a message has an account, the model sees a handle.
    (category,) = [m.category for m in messages() if m.text[:30] == text[:30]]
    handle = re.search(r"(?:iban|email)#\d+", text)
    queue = read_handbook(HANDBOOK).entry(category).queue
    output: dict[str, JsonValue] = {
        "category": category,
        "queue": queue,
        "confidence": 1,
        "reply": "Soon.",
    }
    output["pay_to"] = handle and handle[0]
    return Reply(output=output, misbehaviour=takes_time)


def test_a_model_is_paid_once_for_an_answer_though_the_demo_is_killed(
    home: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SimulatedModel(Scenario.of(look_up_then_answer)) as model:
        monkeypatch.setenv("INTERLOCK_MODEL", "openai-chat:gpt-5-mini")
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        kill_until_done(home, random.Random(SEED), MODEL_KILLS)
    assert check_once(home, home.ensure_desk()) == 0
    paid = Counter(entry.request_digest for entry in model.ledger.entries() if entry.answered)
    # Each ticket's two answers, and what was under way when the process was killed, once more.
    assert len(paid) == counted(home, "model_answered") == 2 * COUNT
    assert paid.total() - len(paid) <= counted(home, "model_attempt_failed")
