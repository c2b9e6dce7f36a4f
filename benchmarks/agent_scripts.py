"""What the simulated models of the scenarios say, each script a function of the request alone.

So a repeated request hears the same answer, and what a run comes to in the end does not depend on
when its process was killed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from interlock.testing.simulated_model import (
    Misbehaviour,
    Reply,
    Request,
    Rule,
    Scenario,
    ToolCall,
    When,
)

__all__ = ["ANSWER_KB", "SCRIPTS", "answer_of", "ticket_of"]

ANSWER_KB = 10
_TICKET = re.compile(r"ticket-(\d+)")
_RACER_TURNS = 3
_WRITER_TURNS = 400


def ticket_of(request: Request) -> int:
    """The number of the ticket that the first user message names."""
    for message in request.messages:
        found = _TICKET.search(message.text) if message.role == "user" else None
        if found is not None:
            return int(found.group(1))
    return -1


def answer_of(ticket: int) -> dict[str, object]:
    """What the clerk answers in the end; the amount comes from the tool that looks it up."""
    return {"ticket": f"ticket-{ticket}", "cents": 7 * ticket}


def _call(tool: str, /, **arguments: str) -> ToolCall:
    return ToolCall(name=tool, arguments=dict(arguments))


def clerk(request: Request) -> Reply:
    """Reads and writes of every recovery, in parallel; an output that does not fit; one that does.

    The model `main` refuses every fifth ticket after its first turn, so another one goes on.
    """
    number = ticket_of(request)
    name = f"ticket-{number}"
    slow = Misbehaviour(latency_seconds=(int(request.digest[:4], 16) % 20 + 1) / 100)
    if request.model == "main" and number % 5 == 0 and request.turn > 0:
        return Reply(misbehaviour=Misbehaviour(status=403))
    match request.turn:
        case 0:
            calls = (
                _call("look_up", ticket=name),
                _call("book", ticket=name),
                _call("put", ticket=name),
            )
            return Reply(tool_calls=calls, misbehaviour=slow)
        case 1:
            calls = (_call("send", ticket=name), _call("history", ticket=name))
            return Reply(text="Booked.", tool_calls=calls, misbehaviour=slow)
        case 2:
            return Reply(output={"ticket": name, "cents": "many"}, misbehaviour=slow)
        case _:
            looked = next(each for each in request.tool_results if each.tool == "look_up")
            cents = int(re.sub(r"\D", "", looked.text))
            return Reply(output={"ticket": name, "cents": cents}, misbehaviour=slow)


def racer(request: Request) -> Reply:
    """A few turns, each with a call of a tool, then a text."""
    slow = Misbehaviour(latency_seconds=(int(request.digest[:4], 16) % 20 + 5) / 100)
    if request.turn < _RACER_TURNS:
        called = _call("look_up", ticket=f"ticket-{ticket_of(request)}.{request.turn}")
        return Reply(text="I shall see. " * 20, tool_calls=(called,), misbehaviour=slow)
    return Reply(text=f"done: ticket-{ticket_of(request)}", misbehaviour=slow)


def writer(request: Request) -> Reply:
    """Long answers without end: in one ask with a call of a tool each, in a conversation alone."""
    text = f"{request.turn:06d} " + "0123456789abcdef" * (ANSWER_KB * 64)
    if request.tools and request.turn < _most_turns(request) - 1:
        return Reply(text=text, tool_calls=(_call("note", page=str(request.turn)),))
    return Reply(text=text)


def _most_turns(request: Request) -> int:
    found = re.search(r"(\d+) pages", request.user_text)
    return int(found.group(1)) if found else _WRITER_TURNS


SCRIPTS: Mapping[str, Scenario] = {
    "clerk": Scenario(
        rules=(
            # Every seventh ticket meets a server in trouble at the first attempt of each request.
            Rule(
                when=When(user_matches=r"ticket-\d*7\b"),
                times=1,
                counted="each_request",
                reply=Reply(misbehaviour=Misbehaviour(status=503)),
            ),
            Rule(respond=clerk),
        )
    ),
    "racer": Scenario.of(racer),
    "writer": Scenario.of(writer),
}
"""By the name that :mod:`benchmarks.model_server` takes."""
