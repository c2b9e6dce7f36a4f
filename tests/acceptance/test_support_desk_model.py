"""The demo with a model of the user's own, asked over HTTP, which misbehaves; and with none."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.support_desk.__main__ import main
from examples.support_desk.helpdesk import (
    HelpDesk,
    Message,
    RunningHelpDesk,
    Ticket,
    ensure_running,
    read_account,
)
from examples.support_desk.home import DeskHome
from interlock.journal import open_store
from interlock.testing.simulated_model import (
    Misbehaviour,
    Reply,
    Rule,
    Scenario,
    SimulatedModel,
    Totals,
    When,
)
from tests.support.asking import calls

ROOT = Path(__file__).parents[2]
MODEL = "openai-chat:gpt-5-mini"
ANSWERED = "where is my parcel"
LOOKED_UP = "these boots are broken"
REFUSED_ONCE = "you charged my card twice"
MISFIT_ONCE = "when will my refund arrive"
NEVER_FITS = "please cancel my order"
UNSURE = "something about a tent"
IN_CIRCLES = "I forgot my password"
LABELS = {
    ANSWERED: "order_status",
    LOOKED_UP: "damaged_item",
    REFUSED_ONCE: "payment_failed",
    MISFIT_ONCE: "refund_status",
    NEVER_FITS: "cancel_order",
    UNSURE: "product_question",
    IN_CIRCLES: "account_access",
}
LOOK_UP = calls("similar_messages", text="broken")


def answer(category: str, queue: str, confidence: float = 0.9) -> Reply:
    """An answer about a ticket, in words of the model's own."""
    reply = f"Dear {{customer}}, {{reference}} is about {category}."
    output = {"category": category, "queue": queue, "confidence": confidence, "reply": reply}
    return Reply(output=output)


def on(message: str, reply: Reply, **more: Any) -> Rule:
    """What is answered to one customer's message."""
    turn = more.pop("turn", None)
    return Rule(when=When(user_contains=message, turn=turn), reply=reply, **more)


BUSY = Reply(misbehaviour=Misbehaviour(status=429, retry_after_seconds=0))
SCENARIO = Scenario(
    rules=(
        on(ANSWERED, answer("order_status", "shipping-team")),
        on(LOOKED_UP, LOOK_UP, turn=0),
        on(LOOKED_UP, answer("damaged_item", "returns-team"), turn=1),
        on(REFUSED_ONCE, BUSY, times=1),
        on(REFUSED_ONCE, answer("payment_failed", "billing-team")),
        on(MISFIT_ONCE, answer("refund_status", "shipping-team"), turn=0),
        on(MISFIT_ONCE, answer("refund_status", "billing-team"), turn=1),
        on(NEVER_FITS, answer("weather", "front-desk")),
        on(UNSURE, answer("wrong_item", "returns-team", confidence=0.1)),
        Rule(when=When(user_contains=IN_CIRCLES), loop=(LOOK_UP,)),
    )
)


@dataclass(frozen=True, kw_only=True)
class Worked:
    """What a demo printed and left behind."""

    printed: str
    tickets: Mapping[str, Ticket]
    written: Mapping[str, Message]
    questions: Mapping[str, dict[str, Any]]
    paid: Totals


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Worked:
    """A demo whose model is the simulated one."""
    folder = tmp_path_factory.mktemp("model")
    home = DeskHome(folder / "home")
    train = labelled(folder / "train.csv", ("I ordered another lamp", "wrong_item"))
    files = ("--train", train, "--tickets", labelled(folder / "new.csv"))
    with SimulatedModel(SCENARIO) as model:
        printed = demo(
            *files,
            "--home",
            str(home.folder),
            OPENAI_BASE_URL=model.base_url,
            OPENAI_API_KEY="none",
        )
        paid = model.ledger.totals()
    running = ensure_running(home.desk)
    try:
        tickets, written = asyncio.run(look(running))
    finally:
        running.stop()
    return Worked(
        printed=printed,
        tickets=tickets,
        written=written,
        questions=dict(open_questions(home)),
        paid=paid,
    )


def labelled(path: Path, *more: tuple[str, str]) -> str:
    """A file of every message with its label. The model decides, so examples may be the same."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "category"), *LABELS.items(), *more])
    return str(path)


def demo(*arguments: str, **variables: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "examples.support_desk", "demo", *arguments],
        cwd=ROOT,
        env=os.environ | {"INTERLOCK_MODEL": MODEL} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


async def look(running: RunningHelpDesk) -> tuple[dict[str, Ticket], dict[str, Message]]:
    """The customers' tickets by what they say, and what the agent wrote on each."""
    async with HelpDesk(running.url, read_account(running.home, "agent")) as desk:
        tickets = {t.text: t for t in await desk.tickets() if t.follow_up_of is None}
        said = [
            (text, message)
            for text, ticket in tickets.items()
            for message in await desk.messages(ticket.id)
            if message.author == "agent"
        ]
    assert len(dict(said)) == len(said)
    return tickets, dict(said)


def open_questions(home: DeskHome) -> Iterator[tuple[str, dict[str, Any]]]:
    """What persons are asked, by the customer's message."""
    with closing(open_store(home.store)) as store:
        for task in store.inbox():
            entry = store.entry(task.position)
            assert entry is not None
            asked = json.loads(entry.body or b"")
            yield asked["question"].partition("? ")[2], asked


@pytest.mark.parametrize(
    ("message", "queue", "status"),
    [
        (ANSWERED, "shipping-team", "answered"),
        (LOOKED_UP, "returns-team", "answered"),
        (REFUSED_ONCE, "billing-team", "answered"),
        (MISFIT_ONCE, "billing-team", "draft ready"),
    ],
)
def test_what_the_model_answers_is_done_at_the_help_desk(
    worked: Worked, message: str, queue: str, status: str
) -> None:
    ticket, written = worked.tickets[message], worked.written[message]
    assert (ticket.tags, ticket.queue) == ((LABELS[message],), queue)
    assert (ticket.status, written.draft) == (status, status == "draft ready")
    about = f"{ticket.reference} is about {LABELS[message]}."
    assert written.text == f"Dear {ticket.customer}, {about}"


@pytest.mark.parametrize(
    ("message", "problem"),
    [(NEVER_FITS, "'weather' is no category"), (IN_CIRCLES, "similar_messages"), (UNSURE, None)],
)
def test_what_it_does_not_answer_goes_to_a_person_with_the_reason(
    worked: Worked, message: str, problem: str | None
) -> None:
    ticket = worked.tickets[message]
    assert (ticket.status, ticket.tags) == ("escalated", ())
    assert message not in worked.written
    question = worked.questions[message]
    told = question["details"].get("problem")
    assert told is None if problem is None else problem in told
    guess = ["wrong_item"] if message == UNSURE else []
    assert question["choices"][: len(guess)] == guess
    assert LABELS[message] in question["choices"]


def test_the_report_counts_as_ever_and_says_who_decided_and_what_it_cost(worked: Worked) -> None:
    for name, figure in (("answered", "4"), ("escalated", "3"), ("accuracy", "100.0%")):
        assert re.search(rf"^{name} +{figure} ", worked.printed, re.MULTILINE), worked.printed
    assert re.search(r"^doubled actions +0 ", worked.printed, re.MULTILINE)
    (said,) = re.findall(r"^Decided by the model (.*)$", worked.printed, re.MULTILINE)
    paid = worked.paid
    assert said.startswith(f"{MODEL}: {paid.answered} answers, {paid.prompt_tokens:,} tokens in")
    assert re.search(r", [\d,]+ out, \$0\.\d{4}\.$", said)
    assert float(said.rpartition("$")[2].rstrip(".")) > 0
    assert "no model was used" not in worked.printed


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("nobody:has-it", "the model 'nobody:has-it' cannot be used: Unknown model"),
        ("openai:gpt-5-mini", "OPENAI_API_KEY"),
    ],
)
def test_a_model_that_cannot_be_used_is_named_before_anything_is_done(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
    said: str,
) -> None:
    monkeypatch.setenv("INTERLOCK_MODEL", model)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["demo", "--home", str(tmp_path / "home")]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.startswith("support_desk: the model ")
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
