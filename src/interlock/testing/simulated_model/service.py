"""The HTTP API of a simulated model: chat completions, models, and the ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from interlock.clock import Clock
from interlock.errors import InvalidInputError, NotFoundError, UsageError
from interlock.testing.simulated_model.answer import answer_to
from interlock.testing.simulated_model.chooser import Choice, Chooser
from interlock.testing.simulated_model.completion import CREATED_SECONDS
from interlock.testing.simulated_model.delivery import Delivery
from interlock.testing.simulated_model.ledger import Ledger
from interlock.testing.simulated_model.misbehaviour import Misbehaviour
from interlock.testing.simulated_model.problem import problem_body
from interlock.testing.simulated_model.reply import Usage
from interlock.testing.simulated_model.request import Request, parse_request
from interlock.testing.simulated_model.scenario import Scenario
from interlock.testing.simulated_model.shipment import (
    Shipment,
    error_shipment,
    shipment_of,
    status_shipment,
)

__all__ = ["Service"]

_ANY_MODEL: Final = ("simulated",)
_BEHAVED: Final = Misbehaviour()


class Service:
    """Answers requests out of a scenario. It belongs to one loop."""

    def __init__(self, scenario: Scenario, chooser: Chooser, ledger: Ledger, clock: Clock) -> None:
        self._scenario = scenario
        self._chooser = chooser
        self._ledger = ledger
        self._clock = clock
        self.stopping = asyncio.Event()

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/ledger", self._show_ledger),
            ],
            exception_handlers={HTTPException: _not_served},
        )

    async def _complete(self, http: HttpRequest) -> Delivery | Response:
        try:
            content = await http.body()
        except ClientDisconnect:
            return Response()  # Nobody is there to read it; the request never arrived.
        headers = dict(http.headers)
        try:
            request = parse_request(content, headers)
        except InvalidInputError as error:
            sequence = self._ledger.add(**self._unread(content, headers))
            return self._delivery(sequence, _refusal(error))
        sequence = self._ledger.add(**self._read(request))
        try:
            choice = self._chooser.choose(request)
        except UsageError as error:
            return self._delivery(sequence, _refusal(error))
        self._ledger.change(sequence, source=choice.source)
        return self._reply(sequence, request, choice)

    def _reply(self, sequence: int, request: Request, choice: Choice) -> Delivery:
        wrong = choice.reply.misbehaviour
        answer = answer_to(request, choice.reply, obeying=self._scenario.obeying)
        if wrong.status is not None:
            shipment = status_shipment(wrong.status, wrong, self._clock)
        else:
            shipment = shipment_of(request, answer, wrong)
        price = answer.usage if wrong.is_billed else None
        return self._delivery(sequence, shipment, wrong, price)

    def _delivery(
        self,
        sequence: int,
        shipment: Shipment,
        wrong: Misbehaviour = _BEHAVED,
        price: Usage | None = None,
    ) -> Delivery:
        return Delivery(
            shipment=shipment,
            wrong=wrong,
            price=price,
            ledger=self._ledger,
            sequence=sequence,
            stopping=self.stopping,
        )

    def _read(self, request: Request) -> dict[str, Any]:
        return {
            "received_us": self._clock.now_us(),
            "request_digest": request.digest,
            "messages_digest": request.messages_digest,
            "model": request.model,
            "turn": request.turn,
            "streaming": request.streaming,
            "prompt_tokens": request.prompt_tokens,
            "headers": request.headers,
        }

    def _unread(self, content: bytes, headers: dict[str, str]) -> dict[str, Any]:
        """Fields of a request that is no request: of its parts nothing is known."""
        digest = hashlib.sha256(content).hexdigest()
        return {
            "received_us": self._clock.now_us(),
            "request_digest": digest,
            "messages_digest": digest,
            "model": "",
            "turn": 0,
            "streaming": False,
            "prompt_tokens": 0,
            "headers": headers,
        }

    async def _models(self, _: HttpRequest) -> Response:
        models = [
            {"id": name, "object": "model", "created": CREATED_SECONDS, "owned_by": "interlock"}
            for name in self._scenario.models or _ANY_MODEL
        ]
        return _json_response(json.dumps({"object": "list", "data": models}))

    async def _show_ledger(self, _: HttpRequest) -> Response:
        return _json_response(self._ledger.view().model_dump_json())


def _refusal(error: UsageError) -> Shipment:
    if isinstance(error, NotFoundError):
        return error_shipment(404, problem_body(error.message, code="model_not_found"))
    return error_shipment(400, problem_body(error.message, code=error.code))


async def _not_served(http: HttpRequest, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = f"The simulated model does not serve {http.method} {http.url.path}."
    return Response(problem_body(message), status, media_type="application/json")


def _json_response(content: str) -> Response:
    return Response(content, media_type="application/json")
