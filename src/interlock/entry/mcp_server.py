"""The MCP gateway: an application's offered tools for agents that are not ours.

A thin layer of the protocol over `mcp_calls`. Arguments are checked by our own types, since the
library's `Server` checks none; hosts and origins are checked at the server's door, since the
library checks none by itself. Both eras of the protocol are served: sessions that begin with
`initialize` (to 2025-11-25), and single requests (2026-07-28).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from typing import Any, Final

import mcp_types as types
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.types import Receive, Scope, Send

from interlock.entry.auth_identity import Identity
from interlock.entry.door import IDENTITY, MAX_REQUEST_BYTES
from interlock.entry.mcp_calls import Asked, CallAnswer, CallHost, ToolCaller, ToolCalls
from interlock.entry.mcp_tools import RESULT_TOOL, offered_tool, result_tool, shaped
from interlock.entry.problem import RequestError, error_response
from interlock.errors import StorageError
from interlock.orchestrator.offered import LOCAL_CLIENT, Offer
from interlock.orchestrator.start import DEFAULT_TENANT

__all__ = ["IDEMPOTENCY_META", "WAIT_META", "McpGateway"]

IDEMPOTENCY_META: Final = "interlock/idempotencyKey"
WAIT_META: Final = "interlock/waitSeconds"
_LONGEST_WAIT_SECONDS: Final = 60.0
_LONGEST_KEY: Final = 255
_SESSION_HEADER: Final = "mcp-session-id"
_MAX_SESSIONS: Final = 1000
_LAST_ANSWERS_SECONDS: Final = 5.0
_INSTRUCTIONS: Final = (
    "These tools are governed: some calls are refused by policy and some need a person's approval "
    "first. A call that waits says so and names its run; ask interlock_result for what became of "
    "it, and do not make the call again."
)

Context = ServerRequestContext[Any, Any]


class McpGateway:
    """Serves the offers of one application to whoever they are made to.

    `wait_seconds` is how long a call is waited for unless the caller says otherwise. `local` is who
    calls where the transport names nobody: with an identity, everybody is that; `session` names the
    only session of such a transport.
    """

    def __init__(
        self,
        name: str,
        offers: Mapping[str, Offer],
        host: CallHost,
        *,
        wait_seconds: float = 20.0,
        local: Identity | None = None,
        session: str = "",
    ) -> None:
        self._offers = offers
        self._host = host
        self._calls = ToolCalls(host)
        self._wait_seconds = wait_seconds
        self._local = local
        self._session = session
        self._closed = False
        self._posts = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.server: Server[Any] = Server(
            name,
            version=version("interlock"),
            instructions=_INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )
        # The library's own traces would carry what our spans must not.
        self.server.middleware.clear()
        self._manager = StreamableHTTPSessionManager(
            self.server, max_request_body_size=MAX_REQUEST_BYTES, max_sessions=_MAX_SESSIONS
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Serve HTTP until the block ends; possible once.

        At its end the answers that are on their way get a moment; streams are cut, since clients of
        sessions hold them open for ever.
        """
        async with self._manager.run():
            yield
            self._closed = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_ANSWERS_SECONDS):
                    await self._idle.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request, which the door has let through."""
        identity: Identity | None = scope.get(IDENTITY)
        try:
            self._check(identity)
        except RequestError as error:
            await error_response(error)(scope, receive, send)
            return
        if identity is not None:
            # Whose session it is: the library answers another caller as if there were none.
            scope["user"] = AuthenticatedUser(_principal(identity))
        with self._answering() if scope["method"] == "POST" else contextlib.nullcontext():
            await self._manager.handle_request(scope, receive, send)

    def _check(self, identity: Identity | None) -> None:
        if self._closed:
            raise RequestError("draining", "The server is stopping. Try again when it is back.")
        if identity is not None and not identity.may("call"):
            raise RequestError("forbidden", f"{identity.name} lacks the role 'call'.")

    @contextmanager
    def _answering(self) -> Generator[None]:
        self._posts += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._posts -= 1
            if not self._posts:
                self._idle.set()

    # What the protocol asks.

    async def _list(
        self, ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        offer = self._offer(ctx)
        if offer is None:
            return types.ListToolsResult(tools=[])
        tools = [offered_tool(tool) for tool in offer.tools.values()]
        return types.ListToolsResult(tools=[*tools, result_tool()])

    async def _call(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        offer, who = self._offer(ctx), self._caller(ctx)
        arguments = params.arguments or {}
        try:
            if offer is not None and params.name == RESULT_TOOL:
                run, wait = self._looked_for(arguments, ctx)
                return self._result(offer, await self._calls.look(offer, who, run, wait))
            tool = None if offer is None else offer.tools.get(params.name)
            if offer is None or tool is None:
                known = ", ".join(offer.tools) if offer is not None else "none"
                raise _wrong(f"there is no tool {params.name!r}; you are offered: {known}.")
            asked = Asked(
                tool=params.name,
                arguments=arguments,
                key=_key(ctx),
                request=self._request(ctx),
                wait_seconds=_wait(ctx, self._wait_seconds),
            )
            return self._result(offer, await self._calls.call(offer, tool, who, asked))
        except StorageError as error:
            self._host.stop_if_failed()
            raise MCPError(types.INTERNAL_ERROR, f"[{error.code}] {error.message}") from error

    def _looked_for(self, arguments: Mapping[str, Any], ctx: Context) -> tuple[str, float]:
        run = arguments.get("run")
        if not isinstance(run, str) or arguments.keys() - {"run"}:
            raise _wrong(f"{RESULT_TOOL}: give `run`, a text, and nothing else.")
        return run, _wait(ctx, self._wait_seconds)

    def _result(self, offer: Offer, answer: CallAnswer) -> types.CallToolResult:
        meta: dict[str, Any] = {f"interlock/{name}": value for name, value in answer.fields.items()}
        meta["interlock/state"] = answer.state
        if answer.code:
            meta["interlock/code"] = answer.code
        if answer.state != "completed":
            text = types.TextContent(text=_with_code(answer))
            return types.CallToolResult(content=[text], is_error=True, _meta=meta)
        tool = offer.tools.get(answer.tool)
        trusted = tool is not None and tool.standing.trusted
        meta["ifc"] = {"integrity": "trusted" if trusted else "untrusted"}
        content, structured = shaped(tool, answer.value)
        return types.CallToolResult(content=content, structured_content=structured, _meta=meta)

    # Who asks, and by what they repeat it.

    def _identity(self, ctx: Context) -> Identity | None:
        found: Identity | None = None if ctx.request is None else ctx.request.scope.get(IDENTITY)
        return found or self._local

    def _offer(self, ctx: Context) -> Offer | None:
        identity = self._identity(ctx)
        return self._offers.get(LOCAL_CLIENT if identity is None else identity.client)

    def _caller(self, ctx: Context) -> ToolCaller:
        identity = self._identity(ctx)
        if identity is None:
            return ToolCaller(name="", tenant=DEFAULT_TENANT)
        return ToolCaller(name=identity.name, tenant=identity.tenant or DEFAULT_TENANT)

    def _request(self, ctx: Context) -> tuple[str, ...]:
        """The request within its session. Single requests have none: their ids begin anew."""
        session = self._session
        if ctx.request is not None and ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
            session = ctx.request.headers.get(_SESSION_HEADER, "")
        if not session or ctx.request_id is None:
            return ()
        return (session, json.dumps(ctx.request_id))


def _principal(identity: Identity) -> AccessToken:
    return AccessToken(
        token="-",  # noqa: S106 - the library wants one, and it is nobody's business
        client_id=identity.client,
        scopes=[],
        subject=identity.name,
        claims={"iss": identity.credential},
    )


def _wrong(message: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, message)


def _with_code(answer: CallAnswer) -> str:
    return answer.text if answer.state == "pending" else f"[{answer.code}] {answer.text}"


def _meta(ctx: Context) -> Mapping[str, Any]:
    return ctx.meta or {}


def _key(ctx: Context) -> str:
    key = _meta(ctx).get(IDEMPOTENCY_META, "")
    if not isinstance(key, str) or len(key) > _LONGEST_KEY:
        raise _wrong(f"_meta[{IDEMPOTENCY_META!r}]: give a text of 1 to {_LONGEST_KEY} characters.")
    return key


def _wait(ctx: Context, usual: float) -> float:
    wanted = _meta(ctx).get(WAIT_META, usual)
    fits = isinstance(wanted, (int, float)) and not isinstance(wanted, bool)
    if not fits or not 0 <= wanted <= _LONGEST_WAIT_SECONDS:
        raise _wrong(f"_meta[{WAIT_META!r}]: give 0 to {_LONGEST_WAIT_SECONDS:g} seconds.")
    return float(wanted)
