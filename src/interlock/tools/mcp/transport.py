"""The way to a server: a program's standard input and output, or HTTP.

Over HTTP every request is watched, so that what became of a call is known and not guessed: whether
it left at all, and with which status it was answered. A request that fails is answered here with a
JSON-RPC error, so that it does not take the other calls of its connection with it. Nothing is sent
a second time but what was refused for want of a token.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, cast

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED

from interlock.tools.mcp.reference import Secrets
from interlock.tools.mcp.terms import OAuthTerms, ServerTerms

if TYPE_CHECKING:
    from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

__all__ = ["SENDING", "Sending", "open_transport"]

_SESSION: Final = "mcp-session-id"
_UNAVAILABLE: Final = frozenset({429, 500, 502, 503, 504})
_NEVER_SENT: Final = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


@dataclass
class Sending:
    """What is known of the last request of a call on its way; one more is only made after a 401.

    `not_sent` says why it never left, `trouble` why it has no answer, `status` that of its answer,
    `retry_after` what that asked for. `unauthorized` says why there is no token, and `elsewhere`
    that the server which gives them could not be asked.
    """

    not_sent: str = ""
    trouble: str = ""
    status: int | None = None
    retry_after: str | None = None
    session_ended: bool = False
    unauthorized: str = ""
    elsewhere: bool = False


SENDING: ContextVar[Sending | None] = ContextVar("interlock_mcp_sending", default=None)


class TooLargeError(httpx2.StreamError):
    """An answer is longer than it may be. The library answers its request with a parse error."""


class BrokenAnswerError(httpx2.StreamError):
    """An answer broke off."""


class _Bounded(httpx2.AsyncByteStream):
    """An answer that ends in an error the library answers the one request with."""

    def __init__(self, stream: httpx2.AsyncByteStream, most: int | None) -> None:
        self._stream = stream
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._stream:
                size += len(chunk)
                if self._most is not None and size > self._most:
                    raise TooLargeError(f"the answer is over {self._most:,} bytes")
                yield chunk
        except httpx2.TransportError as error:
            raise BrokenAnswerError(f"the answer broke off: {type(error).__name__}") from error

    async def aclose(self) -> None:
        await self._stream.aclose()


class WatchedTransport(httpx2.AsyncBaseTransport):
    """HTTP, with what became of each request noted in its `Sending`."""

    def __init__(self, url: str, most_bytes: int) -> None:
        self._inner = httpx2.AsyncHTTPTransport(retries=0)
        self._url = httpx2.URL(url)
        self._most_bytes = most_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it once. Answers with a JSON-RPC error what the library would break on."""
        sending = SENDING.get() or Sending()
        counts = self._is_request(request)
        if counts:
            sending.not_sent = sending.trouble = ""
            sending.status, sending.session_ended = None, False
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            why = _named(error)
            if not counts:
                sending.elsewhere = sending.elsewhere or request.url != self._url
            elif isinstance(error, _NEVER_SENT):
                sending.not_sent = why
            else:
                sending.trouble = why
            return _failed(request, why)
        if counts:
            sending.status = response.status_code
            sending.retry_after = response.headers.get("Retry-After")
            sending.session_ended = response.status_code == 404 and _SESSION in request.headers
        elif response.status_code in _UNAVAILABLE and request.url != self._url:
            sending.elsewhere = True
        return self._bounded(response)

    def _is_request(self, request: httpx2.Request) -> bool:
        """Whether it is a request of the protocol, not a word about one that is under way.

        A call that is given up is told to the server, and a stream that broke off is asked for
        again: what becomes of those says nothing of the call.
        """
        if request.url != self._url or request.method != "POST":
            return False
        message: Any = json.loads(request.content)
        return isinstance(message, dict) and {"id", "method"} <= cast("Any", message).keys()

    def _bounded(self, response: httpx2.Response) -> httpx2.Response:
        # The library bounds each event of a stream by itself.
        streams = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        stream = response.stream
        if isinstance(stream, httpx2.AsyncByteStream):
            response.stream = _Bounded(stream, None if streams else self._most_bytes)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


def _failed(request: httpx2.Request, why: str) -> httpx2.Response:
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": CONNECTION_CLOSED, "message": why}}
    return httpx2.Response(502, json=body, request=request)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class _Tokens:
    """Tokens live as long as the connection, and nowhere but in memory."""

    def __init__(self) -> None:
        self._tokens: OAuthToken | None = None
        self._client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._client = client_info


class _Authorized(httpx2.Auth):
    """The library's client credentials, with a failure noted instead of thrown at everybody."""

    requires_response_body = True

    def __init__(self, provider: OAuthClientProvider) -> None:
        self._provider = provider

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        flow = self._provider.async_auth_flow(request)
        try:
            outgoing = await flow.__anext__()
            while True:
                outgoing = await flow.asend((yield outgoing))
        except StopAsyncIteration:
            return
        except Exception as error:  # noqa: BLE001 - the call says it: no token, so not made
            (SENDING.get() or Sending()).unauthorized = _named(error)
        finally:
            await flow.aclose()


def _auth(url: str, terms: OAuthTerms, secrets: Secrets) -> httpx2.Auth:
    if terms.private_key is not None:
        signed = SignedJWTParameters(
            issuer=terms.client_id,
            subject=terms.client_id,
            signing_key=secrets.read("private_key", terms.private_key),
            signing_algorithm=terms.algorithm,
        )
        by_key = PrivateKeyJWTOAuthProvider(
            server_url=url,
            storage=_Tokens(),
            client_id=terms.client_id,
            assertion_provider=signed.create_assertion_provider(),
            scope=terms.scope,
            issuer=terms.issuer,
        )
        return _Authorized(by_key)
    by_secret = ClientCredentialsOAuthProvider(
        server_url=url,
        storage=_Tokens(),
        client_id=terms.client_id,
        client_secret=secrets.read("client_secret", terms.client_secret or ""),
        token_endpoint_auth_method=terms.method,
        scope=terms.scope,
        issuer=terms.issuer,
    )
    return _Authorized(by_secret)


@asynccontextmanager
async def open_transport(
    terms: ServerTerms, secrets: Secrets, folder: Path, ended: Callable[[], None]
) -> AsyncGenerator[tuple[Any, Any]]:
    """The two streams of a connection. `ended` is called when the server's side ends."""
    async with AsyncExitStack() as stack:
        if terms.url is None:
            streams = await stack.enter_async_context(_program(terms, secrets, folder, stack))
        else:
            streams = await stack.enter_async_context(_http(terms.url, terms, secrets))
        read, write = streams
        yield _Watched(read, ended), write


def _program(terms: ServerTerms, secrets: Secrets, folder: Path, stack: AsyncExitStack) -> Any:
    parameters = StdioServerParameters(
        command=terms.command or "",
        args=list(terms.args),
        env={name: secrets.read(f"env.{name}", value) for name, value in terms.env.items()},
        cwd=folder / terms.cwd,
    )
    log = Path(os.devnull) if terms.log is None else folder / terms.log
    return stdio_client(parameters, errlog=stack.enter_context(log.open("a", encoding="utf-8")))


def _http(url: str, terms: ServerTerms, secrets: Secrets) -> Any:
    headers = {
        name: secrets.read(f"headers.{name}", value) for name, value in terms.headers.items()
    }
    if terms.token is not None:
        headers["Authorization"] = f"Bearer {secrets.read('token', terms.token)}"
    client = httpx2.AsyncClient(
        transport=WatchedTransport(url, terms.max_answer_bytes),
        headers=headers,
        auth=None if terms.oauth is None else _auth(url, terms.oauth, secrets),
        timeout=httpx2.Timeout(terms.connect_seconds, read=None),
    )
    return _with_client(url, client, terms)


@asynccontextmanager
async def _with_client(
    url: str, client: httpx2.AsyncClient, terms: ServerTerms
) -> AsyncGenerator[tuple[Any, Any]]:
    most = terms.max_answer_bytes
    async with (
        client,
        streamable_http_client(url, http_client=client, max_sse_event_size=most) as streams,
    ):
        yield streams


@dataclass
class _Watched:
    """A stream of what the server says, whose end is told."""

    inner: Any
    ended: Callable[[], None] = field(repr=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.inner.__anext__()
        except BaseException:
            self.ended()
            raise

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self.inner.__aexit__(*error)
