"""`interlock serve`: executes an app's runs and serves the API, until it is told to stop.

The first SIGTERM or SIGINT drains: nothing new is taken, operations in flight get the grace period
to end, the rest is left to recovery. A second one ends the process at once; nothing acknowledged is
lost either way. When the journal fails, requests are answered with that problem and the server ends
with the error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from interlock.app import App
from interlock.clock import SystemClock
from interlock.entry.api import guarded_api
from interlock.entry.auth import Authenticator, AuthOptions, authenticator
from interlock.entry.hosts import allowed_hosts, is_loopback
from interlock.entry.listener import listen
from interlock.entry.service import Service
from interlock.errors import InvalidInputError
from interlock.orchestrator.executor import ExecutorOptions

if TYPE_CHECKING:
    from interlock.entry.mcp_server import McpGateway

__all__ = ["ServeOptions", "serve"]

_log = logging.getLogger("interlock")
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_LAST_ANSWERS_SECONDS: Final = 5


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How to serve.

    `port` 0 takes a free one. `auth` says where callers' credentials are looked up: without it
    nobody is asked who they are, which is possible on an address of this machine only. `hosts` are
    further names that requests may ask for. `grace` bounds the drain; `concurrency` how many runs
    execute at once. `mcp_wait_seconds` is how long a call over MCP is waited for.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    auth: AuthOptions = field(default_factory=AuthOptions)
    hosts: tuple[str, ...] = ()
    concurrency: int = 200
    grace: timedelta = timedelta(seconds=30)
    mcp_wait_seconds: float = 20.0

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.auth.wanted:
            raise InvalidInputError(
                f"host {self.host!r} can be reached from other machines, and nobody would be asked "
                "who they are. Make API keys with `interlock key new` and give their file with "
                "--keys, or say with --tokens whose OAuth tokens are taken; or keep 127.0.0.1.",
                host=self.host,
            )
        if self.concurrency < 1 or self.grace < timedelta(0):
            raise InvalidInputError("concurrency is at least 1, and grace is not negative.")


async def serve(app: App, options: ServeOptions, announce: Callable[[str], None]) -> None:
    """Execute and serve until a signal comes; `announce` is told the address once it answers.

    Raises `StorageLockedError` when another process executes the runs of this store (nothing is
    served then), `StorageError` when the journal fails, `ConflictError` when the port is in use,
    `InvalidInputError` when credentials are to be looked up in a file that cannot be used.
    """
    clock = SystemClock()
    known = authenticator(options.auth, clock)
    with contextlib.closing(listen(options.host, options.port)) as listener:
        worker = f"{socket.gethostname()}:{os.getpid()}"
        executing = ExecutorOptions(concurrency=options.concurrency, worker=worker)
        # The drain is ours, since the API answers meanwhile; what is left then is given up at once.
        async with app.executor(executing, grace=timedelta(0)) as local:
            service = Service(local, clock, options.grace)
            gateway = _gateway(app, service, options)
            server = _server(service, options, known, gateway)
            async with AsyncExitStack() as stack:
                if gateway is not None:
                    await stack.enter_async_context(gateway.running())
                await _serve(service, server, listener, announce, stack)
            failure = service.failure()
            if failure is not None:
                raise failure


async def _serve(
    service: Service,
    server: _Server,
    listener: socket.socket,
    announce: Callable[[str], None],
    stack: AsyncExitStack,
) -> None:
    with _signals(service):
        serving = asyncio.create_task(server.serve([listener]))
        await _first_of(asyncio.create_task(server.up.wait()), serving)
        announce(_address(listener))
        await _until_stopped(service, serving)
        _log.info("draining for at most %g s", service.grace.total_seconds())
        await service.drain()
        # Clients of sessions keep a stream open, for which the server would wait.
        await stack.aclose()
        server.should_exit = True
        await serving


def _gateway(app: App, service: Service, options: ServeOptions) -> McpGateway | None:
    if not app.offers:
        return None
    from interlock.entry.mcp_server import McpGateway

    return McpGateway(app.name, app.offers, service, wait_seconds=options.mcp_wait_seconds)


def _server(
    service: Service,
    options: ServeOptions,
    known: Authenticator | None,
    gateway: McpGateway | None,
) -> _Server:
    hosts = allowed_hosts(options.host, options.hosts)
    config = uvicorn.Config(
        guarded_api(service, hosts, known, gateway),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """Leaves signals to us, and says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


async def _first_of(*tasks: asyncio.Task[Any]) -> None:
    """Wait for one; the first given is cancelled."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tasks[0].cancel()


def _address(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _until_stopped(service: Service, serving: asyncio.Task[None]) -> None:
    """Until a signal, or the end of the executor (only a failure ends it) or of the server."""
    stop = asyncio.create_task(service.stop.wait())
    execution = service.local.execution or serving
    await _first_of(stop, execution, serving)


@contextlib.contextmanager
def _signals(service: Service) -> Generator[None]:
    loop = asyncio.get_running_loop()

    def first(number: int) -> None:
        _log.info("%s: stopping; once more ends at once", signal.Signals(number).name)
        service.stop.set()
        for each in _SIGNALS:
            # The default action ends the process in C, whatever Python is doing.
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for number in _SIGNALS:
        loop.add_signal_handler(number, first, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
