"""Roundup's REST interface: one method a verb, and errors that say what happened.

Each call sends one request and never repeats it, since only the caller knows
whether a repetition is safe. Writes carry the two headers that Roundup asks of
programs (`X-Requested-With`, and `Origin`, which must be its own address).
"""

from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpx

from .errors import ChangedError, OutcomeUnknownError, RefusedError, UnreachableError
from .tracker import Account

__all__ = ["Rest"]

# Roundup's words for an exception of its own behind a 400; it can come after
# the commit, so it does not say that nothing was made.
_UNEXPECTED = "An error occurred"
_CHANGED = 412


class Rest:
    """A connection to one Roundup, signed in as one account.

    `timeout` bounds the wait for a connection and for each part of the answer.
    """

    def __init__(self, url: str, account: Account, *, timeout: timedelta) -> None:
        self._client = httpx.AsyncClient(
            base_url=f"{url}/rest/data/",
            auth=httpx.BasicAuth(account.name, account.password),
            headers={
                "X-Requested-With": "support-desk",
                "Origin": url,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            timeout=timeout.total_seconds(),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """The `data` of an item or a collection. Repeating it is safe."""
        return await self._send("GET", path, params=query)

    async def list(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        """The items of a collection that fit `query`. Repeating it is safe."""
        found = await self._send("GET", path, params=query)
        return found["collection"]

    async def post(self, path: str, fields: dict[str, Any]) -> str:
        """Create an item and return its id. Repeating it creates another."""
        made = await self._send("POST", path, json=fields)
        return str(made["id"])

    async def patch(self, path: str, fields: dict[str, Any], *, etag: str) -> None:
        """Replace fields of the item in the state that `etag` names.

        `ChangedError` when the item has changed since.
        """
        await self._send("PATCH", path, json=fields, headers={"If-Match": etag})

    async def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        request = f"{method} {path}"
        try:
            answer = await self._client.request(method, path, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as failed:
            address = self._client.base_url
            raise UnreachableError(
                f"{request} was not sent: no connection to {address}"
            ) from failed
        except httpx.TransportError as failed:
            raise OutcomeUnknownError(
                f"{request} was sent and not answered: {failed!r}"
            ) from failed
        return _read(request, answer)


def _read(request: str, answer: httpx.Response) -> dict[str, Any]:
    if answer.is_success:
        return answer.json()["data"]
    reason = _reason(answer)
    if answer.status_code >= 500 or _UNEXPECTED in reason:
        raise OutcomeUnknownError(f"{request} was answered with {answer.status_code}: {reason}")
    if answer.status_code == _CHANGED:
        raise ChangedError(f"{request} came too late: {reason}")
    raise RefusedError(request, answer.status_code, reason)


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["msg"])
    except (ValueError, KeyError, TypeError):
        # A refused sign-in is answered in plain text.
        return answer.text[:200]
