"""A separate system that counts what really happened to it: the judge, not the journal.

A process of its own on 127.0.0.1, with its own SQLite file (``synchronous=FULL``): an effect is
on disk before it is answered. Like real systems it takes a moment before it acts, acts though the
caller is gone, answers late, and now and then so late that the caller has given up.

- ``POST /key/{run}`` with ``Idempotency-Key``: made once for each key.
- ``POST /lookup/{run}`` with ``Reference``: made at every request; the same path with ``GET`` and
  ``?reference=`` tells whether it was.
- ``PUT /repeatable/{run}``: puts a value in place, at every request.
- ``POST /never/{run}``: made at every request, and nobody can ask.
- ``POST /permit?run=&recovery=&pid=``: passed before each effect.
- ``POST /freeze?pid=&recovery=``: the next such permit of that process stops it (SIGSTOP) before it
  is answered; ``GET /freeze`` tells whether that happened.
- ``GET /effects``: for each run and recovery, how often the effect was made and requested, and
  under how many keys.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.leash import leash_to_stdin

__all__ = ["CountingServer", "Delays", "Ledger"]

_RECOVERIES = {"key", "lookup", "repeatable", "never"}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS request (
    position INTEGER PRIMARY KEY, recovery TEXT NOT NULL, run TEXT NOT NULL, key TEXT NOT NULL,
    made INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS request_of_run ON request (run, recovery, key);
"""
_TALLY = """
SELECT run, recovery, SUM(made), COUNT(*), COUNT(DISTINCT key) FROM request GROUP BY run, recovery
"""


class Ledger:
    """Every request, and whether it made the effect, on disk before :meth:`enter` returns."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_SCHEMA)

    def enter(self, recovery: str, run: str, key: str) -> bool:
        """Enter a request; whether it made the effect. Only ``key`` refuses to make it again."""
        made = recovery != "key" or not self.happened(recovery, run, key)
        row = (recovery, run, key, int(made))
        self._connection.execute(
            "INSERT INTO request (recovery, run, key, made) VALUES (?, ?, ?, ?)", row
        )
        return made

    def happened(self, recovery: str, run: str, key: str) -> bool:
        """Whether an effect with that key was made."""
        query = "SELECT 1 FROM request WHERE run = ? AND recovery = ? AND key = ? AND made"
        return self._connection.execute(query, (run, recovery, key)).fetchone() is not None

    def tally(self) -> list[tuple[str, str, int, int, int]]:
        """run, recovery, times made, times requested, different keys."""
        return self._connection.execute(_TALLY).fetchall()


@dataclass(frozen=True, kw_only=True)
class Delays:
    """How the server dawdles: ``late_share`` of the answers take ``late_seconds``."""

    before_seconds: float
    after_seconds: float
    late_share: float
    late_seconds: float
    refused_share: float


class CountingServer:
    """The HTTP side of a ledger."""

    def __init__(self, ledger: Ledger, delays: Delays, seed: int) -> None:
        self._ledger, self._delays = ledger, delays
        self._random = random.Random(seed)
        self._armed: tuple[int, str] | None = None
        self._frozen: dict[str, object] | None = None

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/{recovery:str}/{run:str}", self.make, methods=["POST", "PUT"]),
                Route("/lookup/{run:str}", self.look_up, methods=["GET"]),
                Route("/permit", self.permit, methods=["POST"]),
                Route("/freeze", self.arm, methods=["POST"]),
                Route("/freeze", self.frozen, methods=["GET"]),
                Route("/effects", self.effects, methods=["GET"]),
            ]
        )

    async def make(self, request: Request) -> JSONResponse:
        """Make an effect, in this server's own time; it goes on when the caller is gone."""
        recovery, run = request.path_params["recovery"], request.path_params["run"]
        if recovery not in _RECOVERIES:
            return JSONResponse({"error": f"no recovery {recovery!r}"}, status_code=404)
        key = request.headers.get("idempotency-key" if recovery == "key" else "reference")
        if not key:
            return JSONResponse({"error": f"{recovery} needs a key in its header"}, status_code=400)
        if self._random.random() < self._delays.refused_share:
            return JSONResponse({"error": "busy; nothing was made"}, status_code=503)
        await asyncio.sleep(self._random.uniform(0, self._delays.before_seconds))
        made = self._ledger.enter(recovery, run, key)
        await asyncio.sleep(self._answer_seconds())
        return JSONResponse({"made": "now" if made else "before"})

    async def look_up(self, request: Request) -> JSONResponse:
        """Whether the effect with a reference happened."""
        run, reference = request.path_params["run"], request.query_params["reference"]
        return JSONResponse({"happened": self._ledger.happened("lookup", run, reference)})

    async def permit(self, request: Request) -> JSONResponse:
        """Let an effect pass, or stop its process here when that was asked for."""
        asked = request.query_params
        if self._armed == (int(asked["pid"]), asked["recovery"]):
            self._armed = None
            self._frozen = {"run": asked["run"], "recovery": asked["recovery"]}
            os.kill(int(asked["pid"]), signal.SIGSTOP)
        return JSONResponse({})

    async def arm(self, request: Request) -> JSONResponse:
        """Stop this process at its next permit for this recovery; pid 0 disarms."""
        pid = int(request.query_params["pid"])
        self._armed = (pid, request.query_params["recovery"]) if pid else None
        self._frozen = None
        return JSONResponse({})

    async def frozen(self, _: Request) -> JSONResponse:
        """Which effect a process was frozen at since the last arming, or null."""
        return JSONResponse(self._frozen)

    async def effects(self, _: Request) -> JSONResponse:
        """The tally of all requests."""
        return JSONResponse(self._ledger.tally())

    def _answer_seconds(self) -> float:
        if self._random.random() < self._delays.late_share:
            return self._delays.late_seconds
        return self._random.uniform(0, self._delays.after_seconds)


def main() -> None:
    """Serve on a free port of 127.0.0.1 and print it as a line of JSON."""
    options = _options()
    leash_to_stdin()
    delays = Delays(
        before_seconds=options.before_seconds,
        after_seconds=options.after_seconds,
        late_share=options.late_share,
        late_seconds=options.late_seconds,
        refused_share=options.refused_share,
    )
    server = CountingServer(Ledger(options.ledger), delays, options.seed)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    print(json.dumps({"event": "ready", "port": listening.getsockname()[1]}), flush=True)
    configuration = uvicorn.Config(server.application(), log_level="warning", access_log=False)
    uvicorn.Server(configuration).run(sockets=[listening])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--before-seconds", type=float, default=0.02)
    parser.add_argument("--after-seconds", type=float, default=0.02)
    parser.add_argument("--late-share", type=float, default=0.01)
    parser.add_argument("--late-seconds", type=float, default=1.5)
    parser.add_argument("--refused-share", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
