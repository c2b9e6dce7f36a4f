"""A payment service that counts: `python -m tests.support.payments LEDGER`.

A process of its own that no test kills. Every payment is on disk, with the very bytes of its
body, before it is answered. `POST /key` honours an idempotency key; `POST /lookup` pays at every
request, and `GET /lookup` tells whether it did. `GET /quote` is what a dry run asks, and
`PUT /quote` changes it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from tests.support.processes import program

__all__ = ["Payment", "paid", "payments_service"]


class Payment(NamedTuple):
    """One payment that was really made."""

    recovery: str
    key: str
    body: str


def paid(ledger: Path) -> list[Payment]:
    """All payments, in order."""
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [Payment(*json.loads(line)) for line in lines]


@contextmanager
def payments_service(ledger: Path) -> Iterator[str]:
    """The address of a service that runs until the end of the block."""
    with program("tests.support.payments", str(ledger)) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


class _Service:
    def __init__(self, ledger: Path) -> None:
        self._file = os.open(ledger, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        self._made: set[tuple[str, str]] = set()
        self._quotes: dict[str, str] = {}

    async def pay(self, request: Request) -> JSONResponse:
        recovery, key = request.url.path.strip("/"), request.headers["idempotency-key"]
        try:
            body = (await request.body()).decode()
        except ClientDisconnect:  # It was killed before it had asked for anything.
            return JSONResponse({"paid": False})
        if recovery == "lookup" or (recovery, key) not in self._made:
            os.write(self._file, f"{json.dumps([recovery, key, body])}\n".encode())
            os.fsync(self._file)
            self._made.add((recovery, key))
        # Late enough that a kill finds the caller waiting for it.
        await asyncio.sleep(0.05)
        return JSONResponse({"paid": True})

    async def find(self, request: Request) -> JSONResponse:
        return JSONResponse({"paid": ("lookup", request.query_params["key"]) in self._made})

    async def quote(self, request: Request) -> PlainTextResponse:
        account = request.query_params["account"]
        if request.method == "PUT":
            self._quotes[account] = (await request.body()).decode()
        return PlainTextResponse(self._quotes.get(account, f"pays into {account}"))

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/key", self.pay, methods=["POST"]),
                Route("/lookup", self.pay, methods=["POST"]),
                Route("/lookup", self.find, methods=["GET"]),
                Route("/quote", self.quote, methods=["GET", "PUT"]),
            ]
        )


def main() -> None:
    """Serve until killed, and say where."""
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(_Service(Path(sys.argv[1])).application(), log_level="error")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
