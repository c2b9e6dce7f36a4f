"""The way to the help desk of a home, wherever it listens at the moment.

A help desk that was restarted has another address. Each use asks for the present one, so that a
process that works at the desk outlives the desk's restarts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from .helpdesk import (
    HelpDesk,
    OutcomeUnknownError,
    UnreachableError,
    address_of,
    read_account,
)

__all__ = ["DeskConnection", "patiently"]

T = TypeVar("T")
# A desk may be away for half a minute.
_PAUSES_SECONDS: Final = (0.25, 0.5, 1, *[2] * 14)


class DeskConnection:
    """Signed in at the help desk in `home` as `account`; an asynchronous context manager.

    Calling it answers the help desk to use now, and raises `UnreachableError` while there is none.
    It belongs to one event loop.
    """

    def __init__(self, home: Path, account: str) -> None:
        """Raises `TrackerError` when there is no such account."""
        self._home = home
        self._account = read_account(home, account)
        self._desks: dict[str, HelpDesk] = {}

    def __call__(self) -> HelpDesk:
        url = address_of(self._home)
        if url is None:
            raise UnreachableError(f"no help desk is served from {self._home}; start it")
        if url not in self._desks:
            self._desks[url] = HelpDesk(url, self._account)
        return self._desks[url]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Those of earlier addresses too, which requests may have been using until now.
        for desk in self._desks.values():
            await desk.__aexit__(kind, error, trace)
        self._desks.clear()


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
