"""Counts in Roundup what was done to each ticket, to find what was done twice.

It asks Roundup, and is told what the refund service has paid; it knows nothing of any journal, so
it can be held against one. Messages count by their author, not by their effect key: a reply
that bypassed the keys counts too.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from .desk import HelpDesk
from .records import Message, Ticket

__all__ = ["Tally", "TicketCount", "count_actions"]


@dataclass(frozen=True, kw_only=True)
class TicketCount:
    """How often each action was done to one ticket.

    `replies` and `drafts` exclude each other: a ticket gets one of them, once.
    """

    ticket: str
    reference: str
    replies: int
    drafts: int
    tags: int
    follow_ups: int
    refunds: int

    @property
    def doubled(self) -> int:
        """Actions beyond the first of their kind."""
        actions = (self.replies + self.drafts, self.tags, self.follow_ups, self.refunds)
        return sum(max(0, times - 1) for times in actions)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The count of every ticket a customer opened; follow-ups are counted on those."""

    tickets: tuple[TicketCount, ...]

    @property
    def replies(self) -> int:
        """Replies on all tickets."""
        return sum(count.replies for count in self.tickets)

    @property
    def drafts(self) -> int:
        """Drafts on all tickets."""
        return sum(count.drafts for count in self.tickets)

    @property
    def follow_ups(self) -> int:
        """Follow-up tickets opened for all tickets."""
        return sum(count.follow_ups for count in self.tickets)

    @property
    def refunds(self) -> int:
        """Refunds paid for all tickets."""
        return sum(count.refunds for count in self.tickets)

    @property
    def doubled(self) -> int:
        """Actions beyond the first of their kind, over all tickets."""
        return sum(count.doubled for count in self.tickets)


async def count_actions(desk: HelpDesk, *, author: str, refunded: Iterable[str] = ()) -> Tally:
    """Count what the user `author` did, over all tickets. Repeating it is safe.

    `refunded` has a ticket's id for each refund, as the refund service tells.
    """
    tickets = await desk.tickets()
    messages = await desk.messages_by(author)
    return _tally(tickets, messages, refunded)


def _tally(
    tickets: Iterable[Ticket], messages: Iterable[Message], refunded: Iterable[str]
) -> Tally:
    opened = [ticket for ticket in tickets if ticket.follow_up_of is None]
    follow_ups = Counter(ticket.follow_up_of for ticket in tickets)
    paid_back = Counter(refunded)
    written = Counter((message.ticket, message.draft) for message in messages)
    return Tally(
        tickets=tuple(
            TicketCount(
                ticket=ticket.id,
                reference=ticket.reference,
                replies=written[ticket.id, False],
                drafts=written[ticket.id, True],
                tags=len(ticket.tags),
                follow_ups=follow_ups[ticket.id],
                refunds=paid_back[ticket.id],
            )
            for ticket in opened
        )
    )
