"""What was said in one conversation with a model, so that each message is recorded once.

A request to a model repeats the whole history. The journal keeps only what is new since the request
before, and a fingerprint of the whole, which a replay compares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse

from interlock.models.normal_form import normalised

__all__ = ["Said", "Transcript"]

_START = bytes(32)


class Said(NamedTuple):
    """The part of a request that is new.

    `prefix` messages were there already; `new` is a JSON array of the others; `digest` covers all
    of them, in hexadecimal; `size_bytes` is the length of all of them in their normal form.
    """

    prefix: int
    new: bytes
    digest: str
    size_bytes: int


class _Known(NamedTuple):
    message: ModelMessage
    form: bytes
    # Of this message and all before it.
    chain: bytes
    size_bytes: int


class Transcript:
    """The messages of one conversation as they were last sent, and the answer to them.

    `history`: messages that are recorded elsewhere already.
    """

    def __init__(self, history: Sequence[ModelMessage] = ()) -> None:
        self._known: list[_Known] = []
        for message in history:
            self._add(message)

    def advance(self, messages: Sequence[ModelMessage]) -> Said:
        """Take the messages of the next request, and answer what is new in it."""
        prefix = self._common(messages)
        del self._known[prefix:]
        for message in messages[prefix:]:
            self._add(message)
        new = list(messages[prefix:])
        last = self._known[-1] if self._known else None
        return Said(
            prefix,
            ModelMessagesTypeAdapter.dump_json(new),
            last.chain.hex()[:32] if last else "",
            last.size_bytes if last else 0,
        )

    def answered(self, response: ModelResponse) -> None:
        """The model's answer, which is recorded as such and is not new in the next request."""
        self._add(response)

    def _add(self, message: ModelMessage) -> None:
        last = self._known[-1] if self._known else None
        form = normalised(message, last.message if last else None)
        before, size = (last.chain, last.size_bytes) if last else (_START, 0)
        chain = hashlib.sha256(before + hashlib.sha256(form).digest()).digest()
        self._known.append(_Known(message, form, chain, size + len(form)))

    def _common(self, messages: Sequence[ModelMessage]) -> int:
        before: ModelMessage | None = None
        for index, (known, message) in enumerate(zip(self._known, messages, strict=False)):
            if known.message is not message and known.form != normalised(message, before):
                return index
            before = message
        return min(len(self._known), len(messages))
