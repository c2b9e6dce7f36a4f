"""The demo, and the help desk under it, are killed again and again: everything happens once.

A longer run: `SUPPORT_DESK_TICKETS=80 SUPPORT_DESK_KILLS=40 SUPPORT_DESK_SEED=7`.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from examples.support_desk.agent import NONE_OF_THESE, desk_app
from examples.support_desk.connection import DeskConnection
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
from examples.support_desk.home import HANDBOOK, TICKETS, TRAIN, DeskHome
from examples.support_desk.labelled import read_labelled
from interlock import Client

ROOT = Path(__file__).parents[2]
COUNT = int(os.environ.get("SUPPORT_DESK_TICKETS", "24"))
KILLS = int(os.environ.get("SUPPORT_DESK_KILLS", "8"))
SEED = int(os.environ.get("SUPPORT_DESK_SEED", "1"))
LONGEST_LIFE_SECONDS = 3.0

pytestmark = [pytest.mark.alone, pytest.mark.timeout(60 + 10 * KILLS + 2 * COUNT)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[DeskHome]:
    home = DeskHome(tmp_path / "home")
    yield home
    home.stop_desk()


def start_demo(home: DeskHome) -> subprocess.Popen[str]:
    options = ["--home", str(home.folder), "--limit", str(COUNT)]
    command = [sys.executable, "-m", "examples.support_desk", "demo", *options]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(demo: subprocess.Popen[str]) -> str:
    printed, _ = demo.communicate()
    assert demo.returncode == 0, printed
    return printed


def kill_demos(home: DeskHome, dice: random.Random) -> int:
    """Start demos and kill each at a random moment; how many died at work."""
    died = 0
    for _ in range(KILLS):
        demo = start_demo(home)
        try:
            demo.wait(dice.uniform(0.2, LONGEST_LIFE_SECONDS))
        except subprocess.TimeoutExpired:
            demo.kill()
        demo.communicate()
        died += demo.returncode == -signal.SIGKILL
        orders = home.orders()
        if orders is not None and orders.finished:
            break
    return died


def follow_ups_by_category() -> dict[str, int]:
    handbook = read_handbook(HANDBOOK)
    return {name: int(handbook.entry(name).follow_up is not None) for name in handbook.categories}


async def look(running: RunningHelpDesk) -> tuple[Tally, dict[str, Ticket]]:
    async with HelpDesk(running.url, read_account(running.home, "agent")) as desk:
        tally = await count_actions(desk, author="agent")
        return tally, {ticket.id: ticket for ticket in await desk.tickets()}


def check_once(running: RunningHelpDesk, *, escalated: int) -> None:
    """Each ticket has one answer, one tag and its follow-up; `escalated` ones have nothing yet."""
    tally, tickets = asyncio.run(look(running))
    assert len(tally.tickets) == COUNT
    assert tally.doubled == 0
    follow_ups = follow_ups_by_category()
    untouched = 0
    for count in tally.tickets:
        ticket = tickets[count.ticket]
        if ticket.status == "escalated":
            untouched += 1
            assert (count.replies + count.drafts, count.tags, count.follow_ups) == (0, 0, 0)
        else:
            (tag,) = ticket.tags
            assert (count.replies + count.drafts, count.tags) == (1, 1), ticket
            assert count.follow_ups == follow_ups[tag], ticket
    assert untouched == escalated


async def decide_and_finish(home: DeskHome) -> int:
    """A person decides every open question rightly, and the agent goes on; how many questions."""
    labels = {str(m.text): m.category for m in read_labelled(TICKETS, limit=COUNT)}
    async with AsyncExitStack() as stack:
        decider = stack.enter_context(NearestExamples(read_labelled(TRAIN)))
        desk = await stack.enter_async_context(DeskConnection(home.desk, "agent"))
        app = desk_app(desk, decider, read_handbook(HANDBOOK), store=home.store)
        decided: set[str] = set()
        async with app.client() as person:
            await decide_open(person, labels, decided)
        executor = await stack.enter_async_context(app.executor())
        while executor.store.run_counts().get("completed", 0) < COUNT:
            await decide_open(executor.client, labels, decided)
            await asyncio.sleep(0.02)
    return len(decided)


async def decide_open(person: Client, labels: Mapping[str, str], decided: set[str]) -> None:
    for task in person.journal.store.inbox():
        question = person.question(task)
        text = question["question"].partition("? ")[2]
        choice = labels[text] if labels[text] in question["choices"] else NONE_OF_THESE
        await person.decide(task.id, choice, by="test")
        decided.add(task.run)


def test_the_demo_is_killed_at_random_and_every_ticket_is_handled_once(home: DeskHome) -> None:
    died = kill_demos(home, random.Random(SEED))
    assert died
    assert find_running(home.desk), "the help desk is a process of its own and outlives the demo"
    printed = finish(start_demo(home))
    assert "Going on with the demo that was interrupted" in printed
    running = ensure_running(home.desk)
    waiting = sum(t.status == "escalated" for t in asyncio.run(look(running))[1].values())
    check_once(running, escalated=waiting)
    assert asyncio.run(decide_and_finish(home)) == waiting
    check_once(running, escalated=0)


def test_the_help_desk_is_killed_under_the_demo_and_everything_happens_once(
    home: DeskHome,
) -> None:
    dice = random.Random(SEED)
    demo = start_demo(home)
    killed = 0
    while demo.poll() is None and killed < max(3, KILLS // 2):
        running = find_running(home.desk)
        if running is None:
            time.sleep(0.05)
            continue
        try:
            demo.wait(dice.uniform(0.2, LONGEST_LIFE_SECONDS / 2))
        except subprocess.TimeoutExpired:
            os.kill(running.pid, signal.SIGKILL)
            killed += 1
            ensure_running(home.desk)
    printed = finish(demo)
    assert killed
    assert "doubled actions       0" in printed
    running = ensure_running(home.desk)
    waiting = sum(t.status == "escalated" for t in asyncio.run(look(running))[1].values())
    check_once(running, escalated=waiting)
