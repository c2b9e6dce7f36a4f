"""What the desk does at the refund service. Its errors are those of the help desk's client."""

from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpx

from examples.support_desk.helpdesk.errors import (
    OutcomeUnknownError,
    RefusedError,
    UnreachableError,
)

from .ledger import Refund

__all__ = ["RefundService"]


class RefundService:
    """The refund service at `url`, used with its `token`; an asynchronous context manager.

    Each call sends one request and never repeats it. Raises `UnreachableError` when nothing was
    sent, `RefusedError` when it said no, and `OutcomeUnknownError` when nobody knows.
    """

    def __init__(self, url: str, token: str, *, timeout: timedelta = timedelta(seconds=30)) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout.total_seconds(),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def pay(self, ticket: str, *, account: str, cents: int, reference: str) -> str:
        """Pay `cents` back to an account and answer the refund's id; recovery `lookup`.

        Each call pays: repeat it only when `find` has found none with the reference.
        """
        wanted = {"reference": reference, "ticket": ticket, "account": account, "cents": cents}
        return str((await self._send("POST", json=wanted))["id"])

    async def find(self, *, reference: str = "", ticket: str = "") -> list[Refund]:
        """Refunds with a reference or for a ticket, in order; all without either. Repeatable."""
        query = {"reference": reference, "ticket": ticket}
        found = await self._send("GET", params={n: v for n, v in query.items() if v})
        return [Refund(**refund) for refund in found["refunds"]]

    async def _send(self, method: str, **options: Any) -> dict[str, Any]:
        request = f"{method} /refunds"
        try:
            answer = await self._client.request(method, "/refunds", **options)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as failed:
            raise UnreachableError(f"{request} was not sent: no connection") from failed
        except httpx.TransportError as failed:
            raise OutcomeUnknownError(f"{request} was not answered: {failed!r}") from failed
        if answer.status_code >= 500:
            raise OutcomeUnknownError(f"{request} was answered with {answer.status_code}")
        if not answer.is_success:
            raise RefusedError(request, answer.status_code, answer.text)
        return answer.json()
