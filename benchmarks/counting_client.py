"""How an effect is made at the counting server: the tool's side of the four recoveries."""

from __future__ import annotations

import os
from collections.abc import Mapping

import httpx

__all__ = ["CountingClient", "RefusedError"]

TIMEOUT_SECONDS = 1.0


class RefusedError(Exception):
    """The server answered that it did *not* make the effect."""


class CountingClient:
    """Requests to one counting server.

    Each effect first passes the server's permit, which is where the harness freezes this process:
    after the engine wrote the intent down and before the request leaves.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS)

    async def make_with_key(self, run: str, key: str) -> str:
        """An effect whose system honours an idempotency key."""
        await self._permit(run, "key")
        return await self._send("POST", f"/key/{run}", {"idempotency-key": key})

    async def make_with_lookup(self, run: str, key: str) -> str:
        """An effect whose system can be asked by reference, but makes it at every request."""
        await self._permit(run, "lookup")
        return await self._send("POST", f"/lookup/{run}", {"reference": key})

    async def look_up(self, run: str, key: str) -> bool:
        """Whether the effect with that reference has happened."""
        response = await self._client.get(f"/lookup/{run}", params={"reference": key})
        response.raise_for_status()
        return bool(response.json()["happened"])

    async def make_repeatable(self, run: str, key: str) -> str:
        """An effect that may be made again: it puts a value in its place."""
        await self._permit(run, "repeatable")
        return await self._send("PUT", f"/repeatable/{run}", {"reference": key})

    async def make_never(self, run: str, key: str) -> str:
        """An effect that nobody can ask about and that must not be made again."""
        await self._permit(run, "never")
        return await self._send("POST", f"/never/{run}", {"reference": key})

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _permit(self, run: str, recovery: str) -> None:
        # Without a time limit: a permit that is held back is how the harness stops us.
        query = {"run": run, "recovery": recovery, "pid": str(os.getpid())}
        await self._client.post("/permit", params=query, timeout=None)

    async def _send(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        response = await self._client.request(method, path, headers=headers)
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise RefusedError(f"{method} {path} was refused before anything happened")
        response.raise_for_status()
        return response.json()["made"]
