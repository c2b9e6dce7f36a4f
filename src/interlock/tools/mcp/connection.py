"""One connection to a server, kept by a task of its own, and the calls that go over it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from interlock.errors import InterlockError
from interlock.tools.mcp.answer import value_of
from interlock.tools.mcp.failure import (
    CallLostError,
    NotConnectedError,
    RejectedError,
    ThrottledError,
    UnauthorizedError,
)
from interlock.tools.mcp.pins import FIELDS, Pin
from interlock.tools.mcp.reference import Secrets
from interlock.tools.mcp.terms import ServerTerms

if TYPE_CHECKING:
    from mcp import Client, MCPError
    from mcp_types import CallToolResult

    from interlock.tools.mcp.transport import Sending

__all__ = ["Connection"]

_MOST_PAGES: Final = 100
_MOST_TOOLS: Final = 2_000
_MODES: Final = {"auto": "auto", "2025-11-25": "legacy", "2026-07-28": "2026-07-28"}


class Connection:
    """A server's connection, from its beginning to its end. It is not opened again."""

    def __init__(self, name: str, terms: ServerTerms, secrets: Secrets, folder: Path) -> None:
        self.name = name
        self.protocol = ""
        self._terms = terms
        self._secrets = secrets
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._client: Client | None = None
        self._offered: dict[str, Pin] = {}
        self._listed_at = 0.0
        self._listing = asyncio.Lock()
        self._stale = False
        self._calls = 0
        self._retired = False
        self._over = asyncio.Event()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        # In a context of its own: that of the call which happens to be the first ends before it.
        self._task = self._loop.create_task(self._keep(), context=contextvars.Context())

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be sent over it; calls under way may still end well."""
        return self._retired or self._over.is_set() or self._task.done()

    @property
    def is_closed(self) -> bool:
        """Whether all of it has ended."""
        return self._task.done()

    async def ready(self) -> None:
        """Wait until it is open and its tools are known. Raises `NotMadeError`s."""
        try:
            # Not the keeper's own limit: it tells only after it has ended the program.
            async with asyncio.timeout(self._terms.connect_seconds):
                await asyncio.shield(self._ready)
        except TimeoutError as error:
            raise self._late() from error

    async def close(self) -> None:
        """End it, and the program that was started for it. Repeatable."""
        self._over.set()
        await asyncio.wait({self._task})

    def _retire(self) -> None:
        """Take no more calls, and end it after those that are under way."""
        self._retired = True
        if not self._calls:
            self._over.set()

    # The keeper: what is entered by a task is left by the same one.

    async def _keep(self) -> None:
        from mcp import Client

        from interlock.tools.mcp.transport import SENDING, Sending, open_transport

        sending = Sending()
        SENDING.set(sending)
        # It logs what servers say, unmasked. What goes wrong is told by our errors.
        logging.getLogger("mcp").setLevel(logging.CRITICAL)
        try:
            async with asyncio.timeout(self._terms.connect_seconds) as limit:
                transport = open_transport(self._terms, self._secrets, self._folder, self._over.set)
                async with Client(
                    transport,
                    mode=_MODES[self._terms.protocol],
                    cache=None,
                    read_timeout_seconds=self._terms.connect_seconds,
                    message_handler=self._heard,
                ) as client:
                    self._client = client
                    self.protocol = client.protocol_version
                    await self._list()
                    limit.reschedule(None)
                    if not self._ready.done():
                        self._ready.set_result(None)
                    await self._over.wait()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - told to who waits
            self._not_opened(error, sending)
        finally:
            self._client = None
            self._over.set()
            self._not_opened(None, sending)

    def _not_opened(self, error: BaseException | None, sending: Sending) -> None:
        if self._ready.done():
            return
        self._ready.set_exception(self._why_not(error, sending))
        # Nobody may be waiting any more.
        self._ready.exception()

    def _why_not(self, error: BaseException | None, sending: Sending) -> Exception:
        where = f"MCP server {self.name!r}"
        if isinstance(error := _first(error), InterlockError):
            return UnauthorizedError(error.message)
        refused = self._refusal(sending, where)
        if refused is not None:
            return refused
        if isinstance(error, TimeoutError):
            return self._late()
        why = sending.trouble or _told(error)
        return NotConnectedError(f"{where} cannot be reached: {self._secrets.without(why)}")

    def _late(self) -> Exception:
        seconds = self._terms.connect_seconds
        return NotConnectedError(f"MCP server {self.name!r} did not answer within {seconds:g} s.")

    async def _heard(self, message: Any) -> None:
        """The server may say that its tools have changed."""
        if type(message).__name__ == "ToolListChangedNotification":
            self._stale = True

    # What it offers.

    async def offered(self) -> Mapping[str, Pin]:
        """The server's tools, at most `recheck_seconds` old. Raises `NotMadeError`s."""
        async with self._listing:
            age = self._loop.time() - self._listed_at
            if self._stale or age > self._terms.recheck_seconds:
                await self._list_again()
        return self._offered

    async def _list_again(self) -> None:
        from interlock.tools.mcp.transport import SENDING, Sending

        if self._client is None or self.is_over:
            raise NotConnectedError(f"MCP server {self.name!r}: the connection ended.")
        sending = Sending()
        token = SENDING.set(sending)
        try:
            async with asyncio.timeout(self._terms.connect_seconds):
                await self._list()
        except Exception as error:
            self._retire()
            raise self._why_not(error, sending) from error
        finally:
            SENDING.reset(token)

    async def _list(self) -> None:
        from mcp_types import PaginatedRequestParams

        assert self._client is not None  # noqa: S101 - the keeper has it, and closes after us
        self._stale = False
        found: dict[str, Pin] = {}
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self._client.session.list_tools(
                params=PaginatedRequestParams(cursor=cursor)
            )
            for tool in page.tools:
                plain = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
                found[tool.name] = Pin({f: plain[f] for f in FIELDS if f in plain})
            cursor = page.next_cursor
            if cursor is None or len(found) > _MOST_TOOLS:
                break
        self._offered, self._listed_at = found, self._loop.time()

    # Calls.

    async def call(self, tool: str, arguments: dict[str, Any], seconds: float) -> tuple[Any, Any]:
        """Call a tool once: its answer, and the `_meta` of that.

        Raises what `failure` says of the effect, and `TimeoutError` after `seconds`.
        """
        from mcp import MCPError

        from interlock.tools.mcp.transport import SENDING, Sending

        where = f"tool {tool!r} of MCP server {self.name!r}"
        if self._client is None or self.is_over:
            raise NotConnectedError(f"{where}: the connection ended before the call was sent.")
        sending = Sending()
        token = SENDING.set(sending)
        self._calls += 1
        try:
            result = await self._client.session.call_tool(
                tool, arguments, read_timeout_seconds=seconds, allow_input_required=True
            )
        except MCPError as error:
            raise self._failure(error, sending, where) from error
        except RuntimeError as error:  # Its answer is not what its schema promises.
            raise CallLostError(f"{where}: {self._secrets.without(str(error))}") from error
        finally:
            SENDING.reset(token)
            self._calls -= 1
            if self._retired:
                self._retire()
        return self._read(result, where)

    def _read(self, result: CallToolResult | Any, where: str) -> tuple[Any, Any]:
        try:
            return self._secrets.without(value_of(result, where)), result.meta
        except Exception as error:
            error.args = tuple(map(self._secrets.without, error.args))
            raise

    def _failure(self, error: MCPError, sending: Sending, where: str) -> Exception:
        if sending.session_ended:
            self._retired = True
        refused = self._refusal(sending, where)
        if refused is not None:
            return refused
        if sending.trouble or (sending.status or 0) >= 400:
            # A server that has lost the session may say so in any way it likes.
            self._retired = True
        said = sending.trouble or self._secrets.without(error.message)
        return _lost(error.code, said, where)

    def _refusal(self, sending: Sending, where: str) -> Exception | None:
        """Why the call was certainly not made, where what happened on its way says so."""
        if sending.unauthorized:
            why = f"{where}: no token was given: {self._secrets.without(sending.unauthorized)}"
            return NotConnectedError(why) if sending.elsewhere else UnauthorizedError(why)
        if sending.status in (401, 403):
            return UnauthorizedError(f"{where}: the server does not let us in: {sending.status}.")
        if sending.status == 429:
            return ThrottledError(f"{where} was refused: HTTP 429.", sending.retry_after)
        if sending.session_ended:
            return NotConnectedError(f"{where}: the server has ended the session.")
        if sending.not_sent:
            return NotConnectedError(f"{where} was not sent: {sending.not_sent}")
        return None


def _lost(code: int, said: str, where: str) -> Exception:
    """What the answer, or the lack of one, means; nothing of it says that the call was not made."""
    from mcp_types import CONNECTION_CLOSED, INVALID_PARAMS, METHOD_NOT_FOUND, REQUEST_TIMEOUT

    if code == REQUEST_TIMEOUT:
        return TimeoutError(f"{where} did not answer in time.")
    if code in (METHOD_NOT_FOUND, INVALID_PARAMS):
        return RejectedError(f"{where} was rejected: {said} ({code})")
    if code == CONNECTION_CLOSED:
        return CallLostError(f"{where}: the connection ended during the call: {said}")
    return CallLostError(f"{where}: {said} ({code})")


def _first(error: BaseException | None) -> BaseException | None:
    """The first thing that went wrong; a group says nothing of its own."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def _told(error: BaseException | None) -> str:
    if error is None:
        return "the connection ended."
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
