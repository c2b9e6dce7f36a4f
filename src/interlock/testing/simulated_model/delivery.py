"""Sends a shipment, or fails to, as the misbehaviour has it, and keeps its entry in the ledger."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Receive, Scope, Send

from interlock.testing.simulated_model.caller import Caller
from interlock.testing.simulated_model.connection import TRANSPORT
from interlock.testing.simulated_model.ledger import Ledger, Outcome
from interlock.testing.simulated_model.misbehaviour import Misbehaviour
from interlock.testing.simulated_model.reply import Usage
from interlock.testing.simulated_model.shipment import Shipment

__all__ = ["Delivery"]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """An ASGI application that answers one request. `price` is what an answer costs, if it does."""

    shipment: Shipment
    wrong: Misbehaviour
    price: Usage | None
    ledger: Ledger
    sequence: int
    stopping: asyncio.Event

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Deliver, and close the connection unless everything was sent."""
        async with Caller(receive, self.stopping) as caller:
            outcome = await self._deliver(caller, send)
            self.ledger.change(self.sequence, outcome=outcome)
            if outcome != "sent":
                scope["extensions"][TRANSPORT]["transport"].close()
                await caller.hung_up()

    async def _deliver(self, caller: Caller, send: Send) -> Outcome:
        if self.wrong.hangs:
            await caller.stays(None)
            self._account(status=None)
            return caller.gone or "stopped"
        await caller.stays(
            None if self.wrong.answers_after_caller_left else self.wrong.latency_seconds
        )
        if caller.gone == "stopped":
            return "stopped"
        if self.wrong.closed_before_answer:
            self._account(status=None)
            return "closed"
        # A caller that left meanwhile pays all the same: the answer was made for it.
        self._account(status=self.shipment.status)
        return await self._send(caller, send)

    def _account(self, *, status: int | None) -> None:
        price = self.price
        self.ledger.change(
            self.sequence,
            status=status,
            answered=status == HTTPStatus.OK,
            billed_prompt_tokens=price.prompt_tokens if price else 0,
            billed_completion_tokens=price.completion_tokens if price else 0,
        )

    async def _send(self, caller: Caller, send: Send) -> Outcome:
        ship = self.shipment
        headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in ship.headers.items()]
        await send({"type": "http.response.start", "status": ship.status, "headers": headers})
        for number, piece in enumerate(ship.pieces, start=1):
            if number > 1:
                await caller.stays(self.wrong.chunk_seconds)
            if caller.gone:
                return caller.gone
            more = number < len(ship.pieces) or not ship.complete
            if not more:
                # A caller that has the whole answer must find it so in the ledger.
                self.ledger.change(self.sequence, outcome="sent")
            await send({"type": "http.response.body", "body": piece, "more_body": more})
        return caller.gone or ("sent" if ship.complete else "cut")
