"""What the agent can do at the help desk: a read and six writes, each with its recovery.

A tool says how to go on when nobody knows whether its call was carried out, because the process or
the connection ended meanwhile. Interlock does the rest: the intent is on disk before the call, and
the outcome after it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from interlock import NOT_HAPPENED, App, EffectKey, Happened, NotHappened, Tool

from .helpdesk import (
    ChangedError,
    HelpDesk,
    Purchase,
    ReferenceTakenError,
    RefusedError,
    UnreachableError,
)

__all__ = ["DeskSource", "DeskTools", "declare_tools"]

DeskSource = Callable[[], HelpDesk]

# The desk answers in milliseconds. A request that left just before its sender died is in the
# server's queue long before a search that comes a second later.
_SETTLE: Final = timedelta(seconds=1)
# Seven pauses that double from a quarter of a second: a desk may be away for half a minute.
_ATTEMPTS: Final = 8
_PAUSE: Final = timedelta(seconds=0.25)


@dataclass(frozen=True, kw_only=True)
class DeskTools:
    """The tools, declared on an app. Those that make something answer its id."""

    hand_over: Tool[..., None]
    route: Tool[..., None]
    reply: Tool[..., str]
    save_draft: Tool[..., str]
    open_follow_up: Tool[..., str]
    last_purchase: Tool[..., Purchase | None]
    refund: Tool[..., str]


def declare_tools(app: App, desk: DeskSource) -> DeskTools:
    """Declare the tools on `app`. `desk` answers the help desk to use, at each call."""
    write = partial(
        app.tool,
        effect="write",
        not_made=(UnreachableError, ChangedError),
        refused=(RefusedError, ReferenceTakenError),
        settle=_SETTLE,
        attempts=_ATTEMPTS,
        pause=_PAUSE,
    )

    @write(recovery="repeatable")
    async def hand_over(ticket: str) -> None:
        await desk().set_status(ticket, "escalated")

    @write(recovery="repeatable")
    async def route(ticket: str, tag: str, queue: str, status: str) -> None:
        await desk().route(ticket, tag=tag, queue=queue, status=status)

    async def find_message(ticket: str, text: str, key: EffectKey) -> Happened[str] | NotHappened:  # noqa: ARG001 - a lookup is given what the call was given
        found = await desk().find_messages(key)
        return Happened(found[0].id) if found else NOT_HAPPENED

    @write(recovery="lookup", lookup=find_message)
    async def reply(ticket: str, text: str, key: EffectKey) -> str:
        return await desk().reply(ticket, text, effect_key=key)

    @write(recovery="lookup", lookup=find_message)
    async def save_draft(ticket: str, text: str, key: EffectKey) -> str:
        return await desk().save_draft(ticket, text, effect_key=key)

    @write(recovery="key")
    async def open_follow_up(ticket: str, title: str, text: str, key: EffectKey) -> str:
        return await desk().open_ticket(reference=key, title=title, text=text, follow_up_of=ticket)

    @app.tool(effect="read", refused=(RefusedError,), attempts=_ATTEMPTS, pause=_PAUSE)
    async def last_purchase(customer: str) -> Purchase | None:
        return await desk().last_purchase(customer)

    @write(recovery="key")
    async def refund(ticket: str, account: str, cents: int, key: EffectKey) -> str:
        return await desk().refund(ticket, account=account, cents=cents, reference=key)

    return DeskTools(
        hand_over=hand_over,
        route=route,
        reply=reply,
        save_draft=save_draft,
        open_follow_up=open_follow_up,
        last_purchase=last_purchase,
        refund=refund,
    )
