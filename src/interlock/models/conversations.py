"""Conversations that outlive an ask: what was said under a name, as far as the rules keep it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter

from interlock.base.codec import MAX_PAYLOAD_BYTES
from interlock.contract import Contract
from interlock.models.history import (
    HistoryRules,
    needs_summary,
    summary_request,
    trim,
    with_summary,
)
from interlock.models.operations import Operations, Summary

__all__ = ["Earlier", "earlier", "history_rules_of", "remember"]

Summarise = Callable[[str], Awaitable[str]]


def history_rules_of(contract: Contract) -> HistoryRules:
    """How much of a conversation the contract lets a model see."""
    terms = contract.conversation
    return HistoryRules(
        keep_messages=terms.keep_messages,
        keep_tokens=terms.keep_tokens,
        summarise=terms.summarise,
    )


class Earlier(NamedTuple):
    """What a model is told of a conversation, and a summary that was made for it just now."""

    messages: Sequence[ModelMessage]
    summary: Summary | None = None


async def earlier(
    operations: Operations, conversation: str, rules: HistoryRules, summarise: Summarise
) -> Earlier:
    """What was said in a conversation, trimmed by the rules; a model sums up what is left out.

    It reads a summary that was made before and what was left out since, not all of it again: what
    a conversation costs grows with its length, and not with its square.
    """
    read = await operations.read_conversation(conversation)
    said: list[ModelMessage] = []
    for body in read.said:
        said += ModelMessagesTypeAdapter.validate_json(body)
    if not said:
        return Earlier(())
    kept, dropped = trimmed = trim(said, rules)
    if not needs_summary(trimmed, rules):
        return Earlier(kept)
    known = read.summary or Summary("", 0)
    if len(dropped) <= known.covers:
        return Earlier(with_summary(kept, known.text))
    text = await summarise(summary_request(dropped[known.covers :], known.text))
    return Earlier(with_summary(kept, text), Summary(text, len(dropped)))


async def remember(
    operations: Operations,
    conversation: str,
    messages: Sequence[ModelMessage],
    summary: Summary | None = None,
) -> None:
    """Add what an ask has said to its conversation, and what it had summed up for it."""
    await operations.extend_conversation(conversation, _in_bodies(messages), summary)


def _in_bodies(messages: Sequence[ModelMessage]) -> Sequence[bytes]:
    """The messages as JSON arrays, each of a size that can be recorded."""
    bodies: list[bytes] = []
    for message in messages:
        written = ModelMessagesTypeAdapter.dump_json([message])
        if bodies and len(bodies[-1]) + len(written) <= MAX_PAYLOAD_BYTES:
            bodies[-1] = b"%b,%b" % (bodies[-1][:-1], written[1:])
        else:
            bodies.append(written)
    return bodies
