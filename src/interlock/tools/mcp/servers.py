"""All servers of `mcp.yaml`: their tools as tools of ours, and their connections.

A tool is what `mcp.lock` says was accepted, so it is the same in every process, whether its server
can be reached or not. A connection is made by the first call that needs it, and made again by the
next call after it has ended.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from interlock.errors import NotFoundError
from interlock.tools.mcp.connection import Connection
from interlock.tools.mcp.failure import QuarantinedError
from interlock.tools.mcp.governed import governed_tool
from interlock.tools.mcp.pins import Pin, Pins, changed_fields, read_pins
from interlock.tools.mcp.reference import Secrets
from interlock.tools.mcp.terms import ServerTerms, read_terms
from interlock.tools.tool import Tool

__all__ = ["LOCK_NAME", "McpServers", "load_servers"]

LOCK_NAME: Final = "mcp.lock"


class McpServers:
    """The servers of one application. Used from several event loops, each has its connections."""

    def __init__(
        self,
        terms: Mapping[str, ServerTerms],
        pins: Pins,
        file: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.terms = terms
        self.pins = pins
        self.file = file
        self._environment = environment
        self._connections: dict[tuple[int, str], Connection] = {}
        # Those that others have taken the place of, until their last call has ended.
        self._leaving: list[tuple[int, Connection]] = []

    @property
    def lock_file(self) -> Path:
        """Where the accepted tools are."""
        return self.file.with_name(LOCK_NAME)

    def tools(self) -> Iterator[Tool[..., Any]]:
        """The declared tools, those in quarantine too. Raises `DeclarationError`."""
        for server, terms in self.terms.items():
            for tool, said in terms.tools.items():
                yield governed_tool(self, server, tool, terms, said, self.pin(server, tool))

    def check(self, server: str, tool: str, pin: Pin) -> None:
        """Raise `DeclarationError` where what we say of a tool does not fit what it would be."""
        terms = self.terms[server]
        governed_tool(self, server, tool, terms, terms.tools[tool], pin)

    def pin(self, server: str, tool: str) -> Pin | None:
        """What was accepted of a tool."""
        return self.pins.get(server, {}).get(tool)

    async def call(
        self, server: str, tool: str, arguments: dict[str, Any], seconds: float
    ) -> tuple[Any, Any]:
        """Call a tool as it was accepted (see `Connection.call`).

        Raises `QuarantinedError` where it is not what was accepted.
        """
        connection = await self._connected(server, self.pin(server, tool), tool)
        return await connection.call(tool, arguments, seconds)

    async def _connected(self, server: str, pin: Pin | None, tool: str) -> Connection:
        where = f"tool {tool!r} of MCP server {server!r} is in quarantine"
        if pin is None:
            raise QuarantinedError(
                f"{where}: it is not in {LOCK_NAME}. Read what it says of itself with `interlock "
                f"mcp diff`, then `interlock mcp accept {server}.{tool}`."
            )
        connection = await self._connection(server)
        now = (await connection.offered()).get(tool)
        if now is None:
            raise QuarantinedError(f"{where}: the server does not offer it any more.")
        if now.hash != pin.hash:
            fields = ", ".join(changed_fields(pin, now))
            raise QuarantinedError(
                f"{where}: what the server says of it has changed ({fields}). Read the change with "
                f"`interlock mcp diff`, then `interlock mcp accept {server}.{tool}`."
            )
        return connection

    async def _connection(self, server: str) -> Connection:
        key = (id(asyncio.get_running_loop()), server)
        connection = self._connections.get(key)
        if connection is not None and connection.is_over:
            left = [each for each in self._leaving if not each[1].is_closed]
            self._leaving = [*left, (key[0], connection)]
            connection = None
        if connection is None:
            connection = self._connections[key] = self._new(server)
        await connection.ready()
        return connection

    def _new(self, server: str) -> Connection:
        folder = self.file.parent
        secrets = Secrets(server, folder, self._environment)
        return Connection(server, self.terms[server], secrets, folder)

    @asynccontextmanager
    async def looking_at(self, server: str) -> AsyncGenerator[Connection]:
        """A connection for a look. Raises `NotFoundError`, or `NotMadeError` without one."""
        if server not in self.terms:
            known = ", ".join(self.terms) or "none"
            raise NotFoundError(f"{self.file} has no server {server!r}; there are: {known}.")
        connection = self._new(server)
        try:
            await connection.ready()
            yield connection
        finally:
            await connection.close()

    async def close(self) -> None:
        """End the connections of this event loop. Repeatable; the next call makes them again."""
        here = id(asyncio.get_running_loop())
        mine = [self._connections.pop(key) for key in list(self._connections) if key[0] == here]
        mine += [connection for loop, connection in self._leaving if loop == here]
        self._leaving = [each for each in self._leaving if each[0] != here]
        await asyncio.gather(*(connection.close() for connection in mine))


def load_servers(file: str | Path, environment: Mapping[str, str] | None = None) -> McpServers:
    """Read `mcp.yaml`, and `mcp.lock` beside it. No server is asked.

    Raises `DeclarationError` and `InvalidInputError`.
    """
    path = Path(file).absolute()
    terms = read_terms(path)
    pins = read_pins(path.with_name(LOCK_NAME))
    return McpServers(terms, pins, path, os.environ if environment is None else environment)
