"""What the agent can do at the help desk, and the refunds it can make: each with its recovery.

A tool says how to go on when nobody knows whether its call was carried out, because the process or
the connection ended meanwhile. Interlock does the rest: the intent is on disk before the call, and
the outcome after it.

What of it may be done by whom is in `policies/`. A refund goes to an account that the customer
directory names, or a person is asked: what a message says of accounts is only what somebody wrote.
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
from .refunds import RefundService

__all__ = ["DeskSource", "DeskTools", "RefundSource", "declare_tools"]

DeskSource = Callable[[], HelpDesk]
RefundSource = Callable[[], RefundService]

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


def declare_tools(app: App, desk: DeskSource, refunds: RefundSource) -> DeskTools:
    """Declare the tools on `app`. `desk` and `refunds` answer what to use, at each call."""
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

    # The customer directory is the company's own: what it says may be a destination.
    @app.tool(
        effect="read", refused=(RefusedError,), attempts=_ATTEMPTS, pause=_PAUSE, trusted=True
    )
    async def last_purchase(customer: str) -> Purchase | None:
        return await desk().last_purchase(customer)

    return DeskTools(
        hand_over=hand_over,
        route=route,
        reply=reply,
        save_draft=save_draft,
        open_follow_up=open_follow_up,
        last_purchase=last_purchase,
        refund=_declare_refund(app, refunds),
    )


def _declare_refund(app: App, refunds: RefundSource) -> Tool[..., str]:
    async def find_refund(
        ticket: str,  # noqa: ARG001 - a lookup is given what the call was given
        account: str,  # noqa: ARG001
        cents: int,  # noqa: ARG001
        key: EffectKey,
    ) -> Happened[str] | NotHappened:
        found = await refunds().find(reference=key)
        return Happened(found[0].id) if found else NOT_HAPPENED

    async def preview(ticket: str, account: str, cents: int) -> str:
        before = [f"{one.cents / 100:.2f}" for one in await refunds().find(ticket=ticket)]
        paid = f"{', '.join(before)} euros" if before else "nothing"
        return (
            f"{cents / 100:.2f} euros would go to {account}; {paid} was paid on this ticket before"
        )

    # Money that has gone does not come back, and the service pays each time that it is asked.
    @app.tool(
        effect="irreversible",
        recovery="lookup",
        lookup=find_refund,
        not_made=(UnreachableError,),
        refused=(RefusedError,),
        settle=_SETTLE,
        attempts=_ATTEMPTS,
        pause=_PAUSE,
        owner="billing-lead",
        destinations=("account",),
        unique_by=("ticket",),
        amount="cents",
        dry_run=preview,
    )
    async def refund(ticket: str, account: str, cents: int, key: EffectKey) -> str:
        return await refunds().pay(ticket, account=account, cents=cents, reference=key)

    return refund
