"""Opens a ticket for each customer's message, once, whatever comes between."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from .connection import patiently
from .helpdesk import Purchase
from .labelled import Labelled
from .tools import DeskSource

__all__ = ["CUSTOMERS", "PURCHASES", "Opened", "open_tickets", "reference_of"]

CUSTOMERS: Final = ("Ana", "Bela", "Chidi", "Dora", "Emil", "Farah", "Goran", "Hanna")
# What each of them bought last. The accounts are the banks' published examples of IBANs.
PURCHASES: Final = tuple(
    Purchase(number=f"P-{number:04}", customer=customer, account=account, cents=cents)
    for number, (customer, account, cents) in enumerate(
        zip(
            CUSTOMERS,
            (
                "DE89370400440532013000",
                "FR1420041010050500013M02606",
                "GB29NWBK60161331926819",
                "ES9121000418450200051332",
                "NL91ABNA0417164300",
                "IT60X0542811101000000123456",
                "BE68539007547034",
                "AT611904300234573201",
            ),
            (1990, 12950, 4500, 8900, 2495, 23900, 3200, 5990),
            strict=True,
        ),
        start=1,
    )
)
_AT_ONCE: Final = 4
_TITLE_CHARACTERS: Final = 60


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A message that has its ticket. `number` counts the messages from 0."""

    number: int
    reference: str
    ticket: str


def reference_of(number: int) -> str:
    """The reference of message `number`, counted from 0: `T-0001` is the first."""
    return f"T-{number + 1:04}"


async def open_tickets(desk: DeskSource, messages: Sequence[Labelled]) -> AsyncGenerator[Opened]:
    """Open a ticket for each message and yield each as it is there, in no particular order.

    Repeating it is safe and cheap: a ticket that is there already is found by its reference.
    Raises the `HelpDeskError` of a ticket that cannot be opened.
    """
    there = {ticket.reference: ticket.id for ticket in await patiently(lambda: desk().tickets())}
    places = asyncio.Semaphore(_AT_ONCE)

    async def open_one(number: int) -> Opened:
        reference = reference_of(number)
        async with places:
            ticket = there.get(reference) or await _open(desk, number, messages[number].text)
        return Opened(number=number, reference=reference, ticket=ticket)

    opening = [asyncio.create_task(open_one(number)) for number in range(len(messages))]
    try:
        for opened in asyncio.as_completed(opening):
            yield await opened
    finally:
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)


async def _open(desk: DeskSource, number: int, text: str) -> str:
    # The reference makes a repetition harmless, so an unknown outcome is no different from none.
    return await patiently(
        lambda: desk().open_ticket(
            reference=reference_of(number),
            title=_title(text),
            text=text,
            customer=CUSTOMERS[number % len(CUSTOMERS)],
        )
    )


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TITLE_CHARACTERS else f"{line[: _TITLE_CHARACTERS - 1]}…"
