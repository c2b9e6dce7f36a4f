"""The agent of the support desk.

It reads a ticket, decides what it is about, tags and assigns it, replies or leaves a draft, and
opens a second ticket where the handbook asks for one. What it is not sure of it hands to a person,
and goes on with the person's answer.
"""

from datetime import timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from interlock import App, Retry, Run

from .decider import Decision, NearestExamples
from .handbook import Handbook, HandbookEntry
from .helpdesk import RefusedError, Ticket
from .tools import DeskSource, DeskTools, declare_tools

__all__ = ["DEFAULT_FLOOR", "NONE_OF_THESE", "Incoming", "Triage", "desk_app"]

DEFAULT_FLOOR: Final = 0.30
NONE_OF_THESE: Final = "none of these"
_READING: Final = Retry(attempts=8, base=timedelta(seconds=0.5), give_up_on=(RefusedError,))
_EXAMPLES_SHOWN: Final = 3
_CATEGORIES_OFFERED: Final = 5


class Incoming(BaseModel):
    """The agent's input: the id of a ticket at the help desk."""

    model_config = ConfigDict(extra="forbid")

    ticket: str = Field(pattern=r"^[0-9]+$")


class Triage(BaseModel):
    """The agent's result: what was decided about a ticket, by whom, and what was made of it.

    `confidence` is the decider's, 0 to 1, whoever decided. `message` and `follow_up` are ids at
    the help desk.
    """

    ticket: str
    category: str
    confidence: float
    decided_by: Literal["examples", "person"]
    queue: str
    ending: Literal["sent", "draft"]
    message: str
    follow_up: str | None


def desk_app(
    desk: DeskSource,
    decider: NearestExamples,
    handbook: Handbook,
    *,
    store: str,
    floor: float = DEFAULT_FLOOR,
) -> App:
    """The application with its agent `triage`.

    `desk` answers the help desk to use, `store` is the journal's URL. A decision whose confidence
    is below `floor` (0: never, above 1: always) goes to a person.
    """
    app = App("support-desk", store=store)
    tools = declare_tools(app, desk)

    async def read_ticket(ticket: str) -> Ticket:
        return await desk().ticket(ticket)

    @app.agent("triage")
    async def triage(run: Run, incoming: Incoming) -> Triage:
        ticket = await run.step(read_ticket, incoming.ticket, retry=_READING)
        decision = await run.step(decider.decide, ticket.text)
        category, person = decision.category, False
        if category is None or decision.confidence < floor:
            await run.call(tools.hand_over, ticket.id)
            category, person = await _ask(run, ticket, decision, decider, handbook), True
        entry = handbook.entry(category)
        message, follow_up = await _carry_out(run, tools, ticket, entry, category)
        run.outcome("escalated" if person else "drafted" if entry.ending == "draft" else "resolved")
        return Triage(
            ticket=ticket.id,
            category=category,
            confidence=decision.confidence,
            decided_by="person" if person else "examples",
            queue=entry.queue,
            ending="draft" if entry.ending == "draft" else "sent",
            message=message,
            follow_up=follow_up,
        )

    _ = triage
    return app


async def _ask(
    run: Run, ticket: Ticket, decision: Decision, decider: NearestExamples, handbook: Handbook
) -> str:
    """A person's category: one of the nearest, or else any other."""
    nearest = list(dict.fromkeys(neighbour.category for neighbour in decision.neighbours))
    offered = nearest[:_CATEGORIES_OFFERED]
    others = sorted(decider.categories.difference(offered))
    shown = decision.neighbours[:_EXAMPLES_SHOWN]
    details = {
        "ticket": ticket.id,
        "confidence": round(decision.confidence, 3),
        "nearest_examples": [{"category": n.category, "text": n.text} for n in shown],
    }

    async def ask(choices: list[str]) -> str:
        question = f"What is ticket {ticket.reference} about? {ticket.text}"
        role = handbook.anything_else.queue
        return (await run.escalate(question, to=role, choices=choices, details=details)).choice

    choice = await ask([*offered, NONE_OF_THESE] if offered and others else offered or others)
    return await ask(others) if choice == NONE_OF_THESE else choice


async def _carry_out(
    run: Run, tools: DeskTools, ticket: Ticket, entry: HandbookEntry, category: str
) -> tuple[str, str | None]:
    """Route, answer and follow up; the ids of the message and of the follow-up ticket."""
    names = {"customer": ticket.customer or "customer", "reference": ticket.reference}
    status = "draft ready" if entry.ending == "draft" else "answered"
    await run.call(tools.route, ticket.id, tag=category, queue=entry.queue, status=status)
    answer = tools.save_draft if entry.ending == "draft" else tools.reply
    message = await run.call(answer, ticket.id, entry.reply_to(**names))
    title = entry.follow_up_to(**names)
    if title is None:
        return message, None
    text = f"For {entry.queue}: {title}.\n\n{names['customer']} wrote:\n{ticket.text}"
    return message, await run.call(tools.open_follow_up, ticket.id, title=title, text=text)
