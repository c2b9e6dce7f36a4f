"""What every request passes before the API sees it, and what every answer gets on its way out.

In this order: a known host, no foreign page, a caller that is known (where credentials are looked
up), JSON only, a body of bounded size that arrives in time and is JSON. The access log has method,
path, status, duration and the caller's name: never a query, a header or a body.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interlock.clock import Clock
from interlock.entry.auth import Authenticator, is_open
from interlock.entry.auth_identity import Identity
from interlock.entry.hosts import host_name, is_own_origin
from interlock.entry.problem import RequestError, error_response
from interlock.entry.strict_json import strict_json

__all__ = ["IDENTITY", "MAX_REQUEST_BYTES", "Door"]

# Where the ASGI scope has the caller's `Identity`; absent where nobody is asked who they are.
IDENTITY: Final = "interlock.identity"

MAX_REQUEST_BYTES: Final = 1_048_576
_MAX_DROPPED_BYTES: Final = 16 * MAX_REQUEST_BYTES
_BODY_SECONDS: Final = 30.0
# DELETE, which ends an MCP session, has no body; a page cannot send one without a preflight.
_WRITING: Final = frozenset({"POST", "PUT", "PATCH"})
_FRIENDLY_SITES: Final = frozenset({"same-origin", "none"})
_ANSWER_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_access = logging.getLogger("interlock.access")
_log = logging.getLogger("interlock.http")


class Door:
    """ASGI middleware in front of the whole API.

    `hosts`: the names that a request's `Host` may have (see `hosts.allowed_hosts`). Without an
    `authenticator` nobody is asked who they are.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        clock: Clock,
        authenticator: Authenticator | None = None,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._hosts = frozenset(hosts)
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer with a problem."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        exit_door = _ExitDoor(send)
        began = self._clock.boot_seconds()
        try:
            await self._checked(scope, receive, exit_door)
        except Exception:  # noqa: BLE001 - the API has answered with a problem; this is for the log
            _log.exception("a request failed")
        finally:
            milliseconds = (self._clock.boot_seconds() - began) * 1000
            path = _raw_path(scope)
            who: Identity | None = scope.get(IDENTITY)
            _access.info(
                "%s %s %s %.1fms%s",
                scope["method"],
                path,
                exit_door.status,
                milliseconds,
                f" {who.name}" if who is not None else "",
            )

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = Headers(scope=scope)
            self._check_caller(headers)
            if self._authenticator is not None and not is_open(scope["path"]):
                scheme = scope.get("scheme", "http")
                scope[IDENTITY] = await self._authenticator.identify(headers, scheme)
            if scope["method"] in _WRITING:
                receive = await _received(headers, receive)
        except RequestError as error:
            await error_response(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_caller(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self._hosts:
            raise RequestError(
                "misdirected_request",
                "The request names a host that is not served here. Call the server by its own "
                "address, or allow the name with `interlock serve --allow-host`.",
            )
        origins = headers.getlist("origin")
        foreign = any(not is_own_origin(origin, hosts[0]) for origin in origins)
        if foreign or headers.get("sec-fetch-site", "none") not in _FRIENDLY_SITES:
            raise RequestError(
                "forbidden_origin", "A page of another site may not call this server."
            )


async def _received(headers: Headers, receive: Receive) -> Receive:
    """Read the body, and answer how the API receives it again."""
    _check_media_type(headers)
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await _read(headers, receive)
    except TimeoutError as error:
        raise RequestError(
            "request_timeout", f"The body did not arrive within {_BODY_SECONDS:g} seconds."
        ) from error
    _check_json(body)
    return _Replayed(body, receive)


def _check_media_type(headers: Headers) -> None:
    media_type, _, parameters = headers.get("content-type", "").lower().partition(";")
    media_type = media_type.strip()
    is_json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    charset = parameters.partition("charset=")[2].partition(";")[0].strip().strip('"')
    encoding = headers.get("content-encoding", "identity").lower()
    if not is_json or charset not in ("", "utf-8") or encoding != "identity":
        raise RequestError(
            "unsupported_media_type",
            "Send JSON in UTF-8, not compressed, with `Content-Type: application/json`; the header "
            "is needed even where the body may be left out.",
        )


async def _read(headers: Headers, receive: Receive) -> bytes:
    announced = headers.get("content-length", "0")
    too_large = announced.isdigit() and int(announced[:20]) > MAX_REQUEST_BYTES
    if too_large and "expect" in headers:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RequestError("malformed_request", "The body ended before it was complete.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if not (too_large := too_large or size > MAX_REQUEST_BYTES):
            parts.append(part)
        # A caller reads no answer while it still writes: what is too large is read and dropped, so
        # that the caller learns why, unless it never ends.
        over = not message.get("more_body", False)
        if too_large and (over or size > _MAX_DROPPED_BYTES):
            raise _too_large()
        if over:
            return b"".join(parts)


def _too_large() -> RequestError:
    return RequestError(
        "payload_too_large",
        f"The body is over the limit of {MAX_REQUEST_BYTES:,} bytes. Store the data elsewhere and "
        "send a reference to it.",
        headers={"Connection": "close"},
        limit_bytes=MAX_REQUEST_BYTES,
    )


def _check_json(body: bytes) -> None:
    if not body:
        return
    try:
        strict_json(body)
    except ValueError as error:
        # The message of a decoding error would quote the body.
        said = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise RequestError("malformed_request", f"The body is not JSON: {said}.") from error


class _Replayed:
    """The body that was read already, then whatever else the client says (that it has gone)."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _ExitDoor:
    """Adds the headers that every answer has, and notes the status for the log."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            there = {name.lower() for name, _ in message.get("headers", ())}
            added = [header for header in _ANSWER_HEADERS if header[0] not in there]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await self._send(message)


def _raw_path(scope: Scope) -> str:
    """The path as it was sent, percent-encoded: nothing in it can forge a line of the log."""
    raw: bytes = scope.get("raw_path") or b""
    text = raw.partition(b"?")[0].decode("ascii", "backslashreplace")
    return "".join(character if character.isprintable() else "?" for character in text)[:2000]
