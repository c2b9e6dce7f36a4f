"""The way to the services of a home, wherever they listen at the moment.

One that was restarted has another address. Each use asks for the present one, so that a
process that works with them outlives their restarts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Generic, Protocol, Self, TypeVar

from .helpdesk import (
    HelpDesk,
    OutcomeUnknownError,
    UnreachableError,
    address_of,
    read_account,
)
from .refunds import RefundService, read_token

__all__ = ["DeskConnection", "RefundConnection", "patiently"]

T = TypeVar("T")
# A desk may be away for half a minute.
_PAUSES_SECONDS: Final = (0.25, 0.5, 1, *[2] * 14)


class Used(Protocol):
    """A client that is to be closed."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        ...


C = TypeVar("C", bound=Used)


class _Connection(Generic[C]):
    """A client of the service in `home`, made by `make` for the address that it has at present.

    An asynchronous context manager. Calling it answers the client to use now, and raises
    `UnreachableError` while there is no service. It belongs to one event loop.
    """

    def __init__(self, home: Path, make: Callable[[str], C]) -> None:
        self._home = home
        self._make = make
        self._clients: dict[str, C] = {}

    def __call__(self) -> C:
        url = address_of(self._home)
        if url is None:
            raise UnreachableError(f"nothing is served from {self._home}; start it")
        if url not in self._clients:
            self._clients[url] = self._make(url)
        return self._clients[url]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Those of earlier addresses too, which requests may have been using until now.
        for client in self._clients.values():
            await client.__aexit__(kind, error, trace)
        self._clients.clear()


class DeskConnection(_Connection[HelpDesk]):
    """Signed in at the help desk in `home` as `account`."""

    def __init__(self, home: Path, account: str) -> None:
        """Raises `TrackerError` when there is no such account."""
        signed_in = read_account(home, account)
        super().__init__(home, lambda url: HelpDesk(url, signed_in))


class RefundConnection(_Connection[RefundService]):
    """The refund service in `home`, with its token."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, lambda url: RefundService(url, read_token(home)))


async def patiently(request: Callable[[], Awaitable[T]]) -> T:
    """Make a request that may be repeated, again while the desk does not answer.

    For what happens outside of a run; in one, the tool's own declaration says this. Raises what the
    last attempt raised after half a minute, and a refusal at once.
    """
    for seconds in _PAUSES_SECONDS:
        try:
            return await request()
        except (UnreachableError, OutcomeUnknownError):
            await asyncio.sleep(seconds)
    return await request()
