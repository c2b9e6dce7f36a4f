"""The agent of the support desk.

It reads a ticket, asks a model what it is about, tags and assigns it, replies or leaves a draft,
opens a second ticket and pays money back where the handbook says so. What the model is not sure of,
or does not answer in a way that can be used, it hands to a person, and goes on with the person's
answer.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic_ai import Agent

from interlock import App, Retry, Run
from interlock.errors import AskFailedError, NotAllowedError

from .answer import TicketAnswer, ticket_agent
from .decider import OFFLINE, Decision, NearestExamples
from .desk_model import model_named
from .handbook import Handbook, HandbookEntry, fill_in
from .helpdesk import RefusedError, Ticket
from .tools import DeskSource, DeskTools, RefundSource, declare_tools

__all__ = ["DEFAULT_FLOOR", "NONE_OF_THESE", "Incoming", "Triage", "desk_app"]

DEFAULT_FLOOR: Final = 0.30
NONE_OF_THESE: Final = "none of these"
_CONTRACTS: Final = Path(__file__).parent / "contracts"
_POLICIES: Final = Path(__file__).parent / "policies"
_READING: Final = Retry(attempts=8, base=timedelta(seconds=0.5), give_up_on=(RefusedError,))
_EXAMPLES_SHOWN: Final = 3
_CATEGORIES_OFFERED: Final = 5


class Incoming(BaseModel):
    """The agent's input: the id of a ticket at the help desk."""

    model_config = ConfigDict(extra="forbid")

    ticket: str = Field(pattern=r"^[0-9]+$")


class Triage(BaseModel):
    """The agent's result: what was decided about a ticket, by whom, and what was made of it.

    `confidence` is the model's, 0 to 1, whoever decided. `message` and `follow_up` are ids
    at the help desk, `refund` is one at the refund service. `not_refunded` is why money that the
    handbook would have paid back was not.
    """

    ticket: str
    category: str
    confidence: float
    decided_by: Literal["model", "person"]
    queue: str
    ending: Literal["sent", "draft"]
    message: str
    follow_up: str | None
    refund: str | None
    not_refunded: str | None = None


class _Paid(NamedTuple):
    """What came of paying back: the refund's id, or why there is none where one was due."""

    refund: str | None = None
    problem: str | None = None


class _Asked(NamedTuple):
    """What came of asking the model: its answer, or why there is none that can be used."""

    answer: TicketAnswer | None
    problem: str = ""

    @property
    def confidence(self) -> float:
        return 0.0 if self.answer is None else self.answer.confidence


def desk_app(
    desk: DeskSource,
    decider: NearestExamples,
    handbook: Handbook,
    *,
    refunds: RefundSource,
    store: str,
    floor: float = DEFAULT_FLOOR,
    model: str = OFFLINE,
) -> App:
    """The application with its agent `triage`.

    `desk` and `refunds` answer the services to use, `store` is the journal's URL. The vault needs
    its key, in the environment or in the file that INTERLOCK_VAULT_KEY_FILE names. The model of the
    name `model` decides; a decision whose confidence is below `floor` (0: never, above 1: always)
    goes to a person. Raises `DeskModelError` for a model that cannot be used.
    """
    deciding = model_named(model, decider, handbook)
    app = App(
        "support-desk",
        store=store,
        contracts=_CONTRACTS,
        policies=_POLICIES,
        models={model: deciding},
    )
    tools = declare_tools(app, desk, refunds)
    agent = ticket_agent(deciding, decider, handbook)

    async def read_ticket(ticket: str) -> Ticket:
        return await desk().ticket(ticket)

    @app.agent("triage")
    async def triage(run: Run, incoming: Incoming) -> Triage:
        ticket = await run.step(read_ticket, incoming.ticket, retry=_READING)
        said = await _ask_model(run, agent, ticket)
        answer = said.answer
        if answer is not None and answer.category is not None and answer.confidence >= floor:
            category, reply = answer.category, answer.reply
        else:
            await run.call(tools.hand_over, ticket.id)
            category, reply = await _ask_person(run, ticket, said, decider, handbook), None
        entry = handbook.entry(category)
        message, follow_up = await _carry_out(run, tools, ticket, entry, category, reply)
        pay_to = None if answer is None else answer.pay_to
        paid = await _pay_back(run, tools, ticket, pay_to) if entry.refund else _Paid()
        person = reply is None
        run.outcome("escalated" if person else "drafted" if entry.ending == "draft" else "resolved")
        return Triage(
            ticket=ticket.id,
            category=category,
            confidence=said.confidence,
            decided_by="person" if person else "model",
            queue=entry.queue,
            ending="draft" if entry.ending == "draft" else "sent",
            message=message,
            follow_up=follow_up,
            refund=paid.refund,
            not_refunded=paid.problem,
        )

    _ = triage
    return app


async def _ask_model(run: Run, agent: Agent[None, TicketAnswer], ticket: Ticket) -> _Asked:
    try:
        # The desk has a question of its own for a person, so none is asked here.
        return _Asked(await run.ask(agent, ticket.text, name="decide", escalate=False))
    except AskFailedError as failed:
        return _Asked(None, failed.message)


async def _ask_person(
    run: Run, ticket: Ticket, asked: _Asked, decider: NearestExamples, handbook: Handbook
) -> str:
    """A person's category: the model's guess, one of the nearest examples', or else any other."""
    decision = await run.step(decider.decide, ticket.text, name="nearest_examples")
    offered = _offered(asked, decision)
    others = sorted(decider.categories.difference(offered))
    shown = decision.neighbours[:_EXAMPLES_SHOWN]
    details: dict[str, Any] = {
        "ticket": ticket.id,
        "confidence": round(asked.confidence, 3),
        "nearest_examples": [{"category": n.category, "text": n.text} for n in shown],
    }
    if asked.problem:
        details["problem"] = asked.problem

    async def ask(choices: list[str]) -> str:
        question = f"What is ticket {ticket.reference} about? {ticket.text}"
        role = handbook.anything_else.queue
        return (await run.escalate(question, to=role, choices=choices, details=details)).choice

    choice = await ask([*offered, NONE_OF_THESE] if offered and others else offered or others)
    return await ask(others) if choice == NONE_OF_THESE else choice


def _offered(asked: _Asked, decision: Decision) -> list[str]:
    guess = None if asked.answer is None else asked.answer.category
    nearest = list(dict.fromkeys(neighbour.category for neighbour in decision.neighbours))
    offered = nearest[:_CATEGORIES_OFFERED]
    return offered if guess is None or guess in offered else [guess, *offered]


async def _carry_out(
    run: Run,
    tools: DeskTools,
    ticket: Ticket,
    entry: HandbookEntry,
    category: str,
    reply: str | None,
) -> tuple[str, str | None]:
    """Route, answer and follow up; the ids of the message and of the follow-up ticket.

    `reply` is the model's; without it the handbook's is used.
    """
    names = {"customer": ticket.customer or "customer", "reference": ticket.reference}
    status = "draft ready" if entry.ending == "draft" else "answered"
    await run.call(tools.route, ticket.id, tag=category, queue=entry.queue, status=status)
    write = tools.save_draft if entry.ending == "draft" else tools.reply
    message = await run.call(write, ticket.id, fill_in(reply or entry.reply, **names))
    title = entry.follow_up_to(**names)
    if title is None:
        return message, None
    text = f"For {entry.queue}: {title}.\n\n{names['customer']} wrote:\n{ticket.text}"
    return message, await run.call(tools.open_follow_up, ticket.id, title=title, text=text)


async def _pay_back(run: Run, tools: DeskTools, ticket: Ticket, pay_to: str | None) -> _Paid:
    """Pay back what the customer bought last, where there is something and nobody says no.

    It goes to the account that it was paid from. Where the message names another, that is what is
    asked for: a person decides, since the customer directory does not know it.
    """
    purchase = await run.call(tools.last_purchase, ticket.customer) if ticket.customer else None
    if purchase is None:
        return _Paid(None, "nothing was bought")
    account = pay_to or purchase.account
    try:
        paid = await run.call(tools.refund, ticket.id, account=account, cents=purchase.cents)
    except NotAllowedError as refused:
        return _Paid(None, refused.message)
    return _Paid(paid)
