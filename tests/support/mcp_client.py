"""The official client of MCP against a server of ours, in a few words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal, cast

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

__all__ = ["MODES", "call", "client_of", "said"]

Mode = Literal["legacy", "2026-07-28"]
MODES: tuple[Mode, ...] = ("legacy", "2026-07-28")


@asynccontextmanager
async def client_of(
    url: str, key: str = "", mode: Mode = "2026-07-28", **headers: str
) -> AsyncGenerator[Client]:
    """A connected client; `legacy` is a session of revision 2025-11-25."""
    given = {**headers, **({"authorization": f"Bearer {key}"} if key else {})}
    timeout = httpx2.Timeout(60.0)
    async with (
        httpx2.AsyncClient(headers=given, timeout=timeout, trust_env=False) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def call(
    client: Client, tool: str, /, *, key: str = "", wait: float | None = None, **arguments: Any
) -> CallToolResult:
    """Call a tool, with an idempotency key, waiting for at most `wait` seconds."""
    meta: dict[str, Any] = {}
    if key:
        meta["interlock/idempotencyKey"] = key
    if wait is not None:
        meta["interlock/waitSeconds"] = wait
    return await client.call_tool(tool, arguments, meta=cast("Any", meta or None))


def said(result: CallToolResult) -> str:
    """The text of a result."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text
