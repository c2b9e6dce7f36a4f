"""What the client reads out of Roundup: tickets and their messages."""

from dataclasses import dataclass
from typing import Any

__all__ = [
    "Message",
    "Purchase",
    "Ticket",
    "read_message",
    "read_purchase",
    "read_ticket",
]


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """An issue in Roundup at one moment.

    `text` is what the ticket was opened with. `queue` and `customer` are user
    names. `etag` names this state of the issue; it is empty in lists, which
    Roundup gives without one.
    """

    id: str
    reference: str
    title: str
    text: str
    status: str
    tags: tuple[str, ...]
    queue: str | None
    customer: str | None
    follow_up_of: str | None
    etag: str = ""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message in Roundup. `effect_key` is None on what a customer wrote."""

    id: str
    ticket: str | None
    author: str
    text: str
    draft: bool
    effect_key: str | None


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """What a customer paid, in cents, and the account that it was paid from."""

    number: str
    customer: str
    account: str
    cents: int


def read_ticket(id: str, fields: dict[str, Any], etag: str = "") -> Ticket:
    """A ticket from the fields Roundup gives at `@verbose=2`."""
    return Ticket(
        id=id,
        reference=fields["reference"],
        title=fields["title"] or "",
        text=fields["opening"] or "",
        status=fields["status"]["name"],
        tags=tuple(tag["name"] for tag in fields["keyword"]),
        queue=_label(fields["assignedto"], "username"),
        customer=_label(fields["customer"], "username"),
        follow_up_of=_label(fields["follow_up_of"], "id"),
        etag=etag,
    )


def read_message(id: str, fields: dict[str, Any]) -> Message:
    """A message from the fields Roundup gives at `@verbose=3`."""
    return Message(
        id=id,
        ticket=_label(fields["issue"], "id"),
        author=fields["author"]["username"],
        text=fields.get("content") or "",
        draft=bool(fields["draft"]),
        effect_key=fields["effect_key"],
    )


def read_purchase(fields: dict[str, Any]) -> Purchase:
    """A purchase from the fields Roundup gives at `@verbose=2`."""
    return Purchase(
        number=fields["number"],
        customer=fields["customer"]["username"],
        account=fields["account"],
        cents=int(fields["cents"]),
    )


def _label(link: dict[str, str] | None, name: str) -> str | None:
    return None if link is None else link[name]
