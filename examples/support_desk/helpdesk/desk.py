"""What an agent does at the help desk, and how each write recovers.

Every write is one request to Roundup, made at most once by a call; the table
says what may be done when its outcome is unknown, in Interlock's words.

| write         | recovery     | because                                             |
|---------------|--------------|-----------------------------------------------------|
| `open_ticket` | `key`        | Roundup refuses a second issue with one reference   |
| `route`       | `repeatable` | it sets fields to given values                      |
| `reply`       | `lookup`     | `find_messages` searches for the effect key         |
| `save_draft`  | `lookup`     | the same                                            |
| `send_draft`  | `repeatable` | it clears a mark                                    |

Roundup's own answer to doubled posts, *post once exactly* tokens, is not used:
a token is spent, and the spending is on disk, before the item is created. A
second post with it is refused whether the first created the item, failed, or
died in between, and a token that ran out is refused in the same words. It
prevents the double, and cannot say whether the thing was done once or not at
all, which is what recovery has to know.

A search that arrives after a write is answered after it, because the desk's
server takes one request at a time in order. So `find_messages` returning
nothing means *not happened* as soon as the write can no longer be on its way.
"""

from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

from .errors import ChangedError, ReferenceTakenError, RefusedError
from .records import (
    Message,
    Purchase,
    Ticket,
    read_message,
    read_purchase,
    read_ticket,
)
from .rest import Rest
from .tracker import Account

__all__ = ["HelpDesk"]

_TICKET_FIELDS: Final = "reference,title,opening,status,keyword,assignedto,customer,follow_up_of"
_MESSAGE_FIELDS: Final = "issue,author,draft,effect_key"
_PURCHASE_FIELDS: Final = "number,customer,account,cents"
_CONFLICT = 409
_SET_ATTEMPTS = 5


class HelpDesk:
    """The help desk at `url`, used as `account`; an asynchronous context manager.

    Reads and writes raise `UnreachableError`, `RefusedError` or
    `OutcomeUnknownError`, as `errors` describes; reads may always be repeated.
    """

    def __init__(
        self, url: str, account: Account, *, timeout: timedelta = timedelta(seconds=30)
    ) -> None:
        self._rest = Rest(url, account, timeout=timeout)

    async def __aenter__(self) -> Self:
        await self._rest.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._rest.__aexit__(kind, error, trace)

    async def ticket(self, ticket: str) -> Ticket:
        """The ticket with the id `ticket`; `RefusedError` with status 404 if there is none."""
        query = {"@fields": _TICKET_FIELDS, "@verbose": "2"}
        found = await self._rest.get(f"issue/{ticket}", **query)
        return read_ticket(found["id"], found["attributes"], found["@etag"])

    async def tickets(self, **filters: str) -> list[Ticket]:
        """Tickets whose fields have the given values, by id; all without filters.

        A filter is a field of Roundup's issue (`status="new"`, `follow_up_of="7"`).
        """
        found = await self._issues(filters)
        return [read_ticket(item["id"], item) for item in found]

    async def find_ticket(self, reference: str) -> Ticket | None:
        """The ticket with exactly this reference, or None."""
        found = await self._issues({"reference:": reference})
        return read_ticket(found[0]["id"], found[0]) if found else None

    async def messages(self, ticket: str) -> list[Message]:
        """All messages of a ticket with their text, drafts among them, oldest first."""
        return await self._messages({"issue": ticket}, text=True)

    async def messages_by(self, author: str) -> list[Message]:
        """Every message a user wrote, on any ticket, without its text."""
        return await self._messages({"author": author}, text=False)

    async def find_messages(self, effect_key: str) -> list[Message]:
        """The messages that carry exactly this effect key.

        None: the reply or draft was not made. One: it was. More: it was made
        more than once, which only happens round the effect protocol.
        """
        return await self._messages({"effect_key:": effect_key}, text=True)

    async def open_ticket(
        self,
        *,
        reference: str,
        title: str,
        text: str,
        customer: str | None = None,
        follow_up_of: str | None = None,
    ) -> str:
        """Open a ticket and return its id; recovery `key`.

        `reference` is the idempotency key: when a ticket has it already, that
        ticket's id is returned and nothing is made, provided it says the same;
        otherwise `ReferenceTakenError`. `customer` is a user's name.
        """
        fields = {"reference": reference, "title": title, "opening": text}
        links = {"customer": customer, "follow_up_of": follow_up_of}
        wanted = fields | {name: value for name, value in links.items() if value is not None}
        try:
            return await self._rest.post("issue", wanted)
        except RefusedError as refused:
            if refused.status != _CONFLICT:
                raise
            return await self._opened_before(wanted, refused)

    async def route(self, ticket: str, *, tag: str, queue: str, status: str) -> None:
        """Set the ticket's only tag, its queue and its status; recovery `repeatable`.

        The three change together. A change by somebody else between reading
        and writing is met by reading again, up to five times.
        """
        fields = {"keyword": [tag], "assignedto": queue, "status": status}
        await self._set(f"issue/{ticket}", fields)

    async def set_status(self, ticket: str, status: str) -> None:
        """Set the ticket's status and nothing else; recovery `repeatable`."""
        await self._set(f"issue/{ticket}", {"status": status})

    async def reply(self, ticket: str, text: str, *, effect_key: str) -> str:
        """Put a reply on the ticket and return its id; recovery `lookup`.

        Each call makes another message: repeat it only when `find_messages`
        has found none with the effect key.
        """
        return await self._write(ticket, text, effect_key, draft=False)

    async def save_draft(self, ticket: str, text: str, *, effect_key: str) -> str:
        """Keep a reply for a person to send and return its id; recovery `lookup`.

        A draft belongs to the ticket but is not shown on it until `send_draft`.
        """
        return await self._write(ticket, text, effect_key, draft=True)

    async def send_draft(self, message: str) -> None:
        """Put a draft on its ticket as a message; recovery `repeatable`."""
        await self._set(f"msg/{message}", {"draft": "no"})

    async def last_purchase(self, customer: str) -> Purchase | None:
        """What a customer bought last, or None."""
        query = {"@fields": _PURCHASE_FIELDS, "@verbose": "2", "@sort": "-id"}
        found = await self._rest.list("purchase", query | {"customer": customer})
        return read_purchase(found[0]) if found else None

    async def ensure_purchases(self, purchases: Iterable[Purchase]) -> None:
        """Record the purchases that are missing; needs the `admin` account; repeatable."""
        wanted = [
            {"number": p.number, "customer": p.customer, "account": p.account, "cents": p.cents}
            for p in purchases
        ]
        await self._ensure("purchase", "number", wanted)

    async def ensure_tags(self, names: Iterable[str]) -> None:
        """Create the tags that are missing; needs the `admin` account; repeatable."""
        await self._ensure("keyword", "name", [{"name": name} for name in names])

    async def ensure_users(self, names: Iterable[str], *, role: str) -> None:
        """Create the users that are missing, with `role` and without a password.

        `role` is `Queue` or `Customer`; neither can sign in. Needs the `admin`
        account; repeatable.
        """
        wanted = [
            {"username": name, "roles": role, "address": f"{name}@desk.example"} for name in names
        ]
        await self._ensure("user", "username", wanted)

    async def _issues(self, filters: dict[str, str]) -> list[dict[str, Any]]:
        query = {"@fields": _TICKET_FIELDS, "@verbose": "2", "@sort": "id"}
        return await self._rest.list("issue", query | filters)

    async def _messages(self, filters: dict[str, str], *, text: bool) -> list[Message]:
        fields = f"{_MESSAGE_FIELDS},content" if text else _MESSAGE_FIELDS
        query = {"@fields": fields, "@verbose": "3", "@sort": "id"}
        found = await self._rest.list("msg", query | filters)
        return [read_message(item["id"], item) for item in found]

    async def _write(self, ticket: str, text: str, effect_key: str, *, draft: bool) -> str:
        if not text.strip() or not effect_key:
            raise ValueError(f"a message on issue{ticket} needs a text and an effect key")
        fields = {"issue": ticket, "content": text, "effect_key": effect_key}
        return await self._rest.post("msg", fields | {"draft": "yes" if draft else "no"})

    async def _opened_before(self, wanted: dict[str, str], refused: RefusedError) -> str:
        there = await self.find_ticket(wanted["reference"])
        if there is None:
            raise refused
        same_text = there.text.split() == wanted["opening"].split()
        if not same_text or there.follow_up_of != wanted.get("follow_up_of"):
            raise ReferenceTakenError(there.reference, there.id) from refused
        return there.id

    async def _set(self, path: str, fields: dict[str, Any]) -> None:
        for attempt in range(1, _SET_ATTEMPTS + 1):
            etag = (await self._rest.get(path, **{"@fields": "id"}))["@etag"]
            try:
                await self._rest.patch(path, fields, etag=etag)
            except ChangedError:
                if attempt == _SET_ATTEMPTS:
                    raise
            else:
                return

    async def _ensure(self, path: str, key: str, wanted: list[dict[str, Any]]) -> None:
        there = {item[key] for item in await self._rest.list(path, {"@fields": key})}
        for item in wanted:
            # Roundup would read a name of digits alone as an id.
            if item[key].isdigit():
                raise ValueError(f"{item[key]!r} cannot name a {path}: it needs more than digits")
            if item[key] not in there:
                await self._rest.post(path, item)
