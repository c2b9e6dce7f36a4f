"""A session's view of its run's mailbox: what was read and is not yet taken.

A message stays unread until an operation takes it in the commit that uses it. A signal that was
recorded for a wait which the code had cancelled meanwhile is offered again to the next wait for its
name: it is in the run already and needs no second taking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interlock.journal.rows import Mail

__all__ = ["Mailbox"]


class Mailbox:
    """Unread messages, oldest first. `position` is that of the last message read."""

    def __init__(self, mail: Sequence[Mail]) -> None:
        self.position = max((m.position for m in mail), default=0)
        self._unread = list(mail)
        self._offered_again: dict[str, Mail] = {}

    def put(self, mail: Mail) -> bool:
        """Add a message that has come. False when it was read before."""
        if mail.position <= self.position:
            return False
        self.position = mail.position
        self._unread.append(mail)
        return True

    def offer_again(self, mail: Mail) -> None:
        """Add a message that a cancelled wait had taken."""
        self._offered_again[mail.message_id] = mail

    def applied(self, message_id: str) -> None:
        """A message was delivered: it is not offered any more. Repeatable."""
        self._offered_again.pop(message_id, None)

    def take(self, wanted: Callable[[Mail], bool]) -> Mail | None:
        """Remove and answer the first message that is wanted."""
        for message_id, mail in self._offered_again.items():
            if wanted(mail):
                return self._offered_again.pop(message_id)
        for index, mail in enumerate(self._unread):
            if wanted(mail):
                return self._unread.pop(index)
        return None
