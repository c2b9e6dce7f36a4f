"""The server's side of connections: bound to the loopback, closed at once, and cut on request.

An HTTP application cannot hang up before it has answered, and a real network can. So every request
carries its connection's transport, by which a delivery may close it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from interlock.errors import ConflictError

__all__ = ["TRANSPORT", "listen", "served"]

# The key among a request's ASGI extensions.
TRANSPORT: Final = "interlock.transport"
_BACKLOG: Final = 1024
# A client that comes back to an idle connection must not find it just closed.
_KEEP_ALIVE_SECONDS: Final = 3600


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1; port 0 takes a free one. Raises `ConflictError` for one in use."""
    # Named as TCP, since asyncio turns Nagle's algorithm off only then: without, the body of each
    # answer waits 40 ms for the acknowledgement of its head.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConflictError(
            f"the simulated model cannot listen on port {port}: {error.strerror or error}. Take "
            "another, or 0 for a free one.",
            port=port,
        ) from error
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def served(
    app: ASGIApp, listener: socket.socket, stopping: asyncio.Event
) -> AsyncGenerator[None]:
    """Serve an application for the time of the block, on the running loop.

    At its end `stopping` is set, every connection is cut, and all requests have ended: those that
    wait must watch `stopping` or the caller's leaving.
    """
    config, state = _config(app), ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(config, state, {}, loop), sock=listener, backlog=_BACKLOG
    )
    try:
        yield
    finally:
        server.close()
        stopping.set()
        await _hang_up(state)


def _config(app: ASGIApp) -> Config:
    config = Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    config.load()
    return config


async def _hang_up(state: ServerState) -> None:
    for connection in list(state.connections):
        connection.transport.abort()
    if state.tasks:
        await asyncio.wait(set(state.tasks))
    # Only the loop's next turns are missing: it has yet to tell the connections that they are lost.
    while state.connections:  # noqa: ASYNC110
        await asyncio.sleep(0)


class _Connection(H11Protocol):
    """Puts the transport into the scope of each request."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        app: Any = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"] = {TRANSPORT: {"transport": transport}}
            await app(scope, receive, send)

        self.app: Any = with_transport
