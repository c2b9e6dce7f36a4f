"""Conversations as streams: read up to a recorded place, and extended in the run's own transaction.

A conversation belongs to a tenant. What a run has read of it is named by the seq of its last event,
so a replay reads the same although others have gone on since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from interlock.base.codec import canonical
from interlock.errors import BodyErasedError
from interlock.journal.event import Draft, Header
from interlock.journal.guard import Append
from interlock.journal.store import Store
from interlock.models.operations import Conversation, Summary
from interlock.orchestrator.operation import Operation, OperationHost

__all__ = ["ExtendConversationOperation", "ReadConversationOperation", "conversation_stream"]


def conversation_stream(tenant: str, name: str) -> str:
    """The stream of a tenant's conversation."""
    escaped = (part.replace("%", "%25").replace("/", "%2F") for part in (tenant, name))
    return "/".join(("conversation", *escaped))


class ReadConversationOperation(Operation):
    """Reads what was said so far; the result is a `Conversation`."""

    kinds: ClassVar[frozenset[str]] = frozenset({"conversation_read"})
    ends = kinds
    wait_kind = "conversation"
    __slots__ = ("store", "stream")

    def __init__(self, session: OperationHost, store: Store, stream: str) -> None:
        super().__init__(session, "conversation")
        self.store = store
        self.stream = stream

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """Read up to the recorded place. Raises `BodyErasedError` for what was erased."""
        said, summary = list[bytes](), None
        limit = header["seq"]
        for entry in self.store.read(self.stream, limit=limit) if limit else ():
            if entry.erased:
                raise BodyErasedError(
                    f"conversation {self.stream!r}: a part that the run needs was erased. Cancel "
                    "the run, or start a new conversation."
                )
            if entry.event.kind == "conversation_summarised":
                summary = _longer(summary, Summary(**json.loads(entry.body or b"{}")))
            else:
                said.append(entry.body or b"[]")
        self.resolve(Conversation(said, summary))

    def start(self) -> None:
        """Record how far it is read."""
        head = self.store.head(self.stream)
        header = {"conversation": self.stream, "seq": 0 if head is None else head.seq}
        self.session.record(self, Draft("conversation_read", self.key, header))


def _longer(one: Summary | None, other: Summary) -> Summary:
    """Two runs may have summed up at once; the one that covers more says more."""
    return other if one is None or other.covers >= one.covers else one


class ExtendConversationOperation(Operation):
    """Adds what an ask has said."""

    kinds: ClassVar[frozenset[str]] = frozenset({"conversation_extended"})
    ends = kinds
    wait_kind = "conversation"
    __slots__ = ("said", "stream", "summary")

    def __init__(
        self,
        session: OperationHost,
        stream: str,
        said: Sequence[bytes],
        summary: Summary | None,
    ) -> None:
        super().__init__(session, "remember")
        self.stream = stream
        self.said = said
        self.summary = summary

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """It is added."""
        self.resolve(None)

    def start(self) -> None:
        """Add it, in one transaction with the run's own event."""
        by = {"run": self.session.run_id}
        said = [Draft("messages_said", "", by, body) for body in self.said]
        if self.summary is not None:
            body = canonical(self.summary._asdict(), "a summary")
            said.append(Draft("conversation_summarised", "", by, body))
        draft = Draft("conversation_extended", self.key, {"conversation": self.stream})
        self.session.record(self, draft, appends=(Append(self.stream, said),))
