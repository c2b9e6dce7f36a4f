"""`interlock mcp serve`: the gateway over this process's standard streams.

A client starts the process and is the only one to talk to it. Runs execute here, or, where a server
is up on the same journal, there.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from starlette.datastructures import Headers

from interlock.app import App
from interlock.clock import SystemClock
from interlock.entry.auth import AuthOptions, authenticator
from interlock.entry.auth_identity import Identity
from interlock.entry.mcp_calls import CallHost
from interlock.entry.service import Service
from interlock.entry.watching import JournalHost
from interlock.errors import InvalidInputError, StorageLockedError
from interlock.orchestrator.offered import LOCAL_CLIENT

__all__ = ["StdioOptions", "serve_stdio"]

_log = logging.getLogger("interlock")
_SESSION_BYTES: Final = 16


@dataclass(frozen=True, kw_only=True)
class StdioOptions:
    """How to serve. `auth` says where the `credential` of the client is looked up; without it the
    client is the one that is named `client`. `wait_seconds` is how long a call is waited for.
    """

    auth: AuthOptions = field(default_factory=AuthOptions)
    credential: str = field(default="", repr=False)
    client: str = LOCAL_CLIENT
    wait_seconds: float = 20.0
    grace: timedelta = timedelta(seconds=30)


async def serve_stdio(app: App, options: StdioOptions) -> None:
    """Serve until the client closes our standard input.

    Raises `RequestError` for a credential that is not taken, `InvalidInputError` when nothing is
    offered to the client.
    """
    from mcp.server.stdio import stdio_server

    from interlock.entry.mcp_server import McpGateway

    clock = SystemClock()
    who = await _identity(options, clock)
    if who.client not in app.offers:
        known = ", ".join(sorted(app.offers)) or "nobody"
        raise InvalidInputError(
            f"app {app.name!r} offers client {who.client!r} no tools, but to: {known}. Offer some "
            "with app.offer(…), or name another client."
        )
    async with _host(app, clock, options.grace) as host:
        gateway = McpGateway(
            app.name,
            app.offers,
            host,
            wait_seconds=options.wait_seconds,
            local=who,
            session=clock.random_bytes(_SESSION_BYTES).hex(),
        )
        server = gateway.server
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())


async def _identity(options: StdioOptions, clock: SystemClock) -> Identity:
    known = authenticator(options.auth, clock)
    if known is None:
        # Whoever starts a process of ours may use the command line as well.
        return Identity(
            name="",
            kind="agent",
            tenant=None,
            roles=frozenset({"call"}),
            client=options.client,
            credential="",
        )
    given = {"authorization": f"Bearer {options.credential}"} if options.credential else {}
    identity = await known.identify(Headers({"host": "localhost", **given}), "http")
    if not identity.may("call"):
        raise InvalidInputError(f"{identity.name} ({identity.credential}) lacks the role 'call'.")
    return identity


@asynccontextmanager
async def _host(app: App, clock: SystemClock, grace: timedelta) -> AsyncGenerator[CallHost]:
    async with AsyncExitStack() as stack:
        try:
            local = await stack.enter_async_context(app.executor(grace=grace))
        except StorageLockedError as locked:
            _log.info("%s: it executes the calls", locked.message)
            client = await stack.enter_async_context(app.client())
            yield JournalHost(client, clock)
            return
        yield Service(local, clock, grace)
