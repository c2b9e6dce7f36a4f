"""Whether a conversation is one that the protocol allows.

The real API refuses a history in which a tool call has no answer or an answer has no call (400,
`invalid_request_error`), so an agent that builds such a history must fail here too.
"""

from __future__ import annotations

from collections.abc import Sequence

from interlock.errors import InvalidInputError
from interlock.testing.simulated_model.message import Message

__all__ = ["check_conversation"]


def check_conversation(messages: Sequence[Message]) -> None:
    """Raise `InvalidInputError` for the first message that may not stand where it stands."""
    if not messages:
        raise InvalidInputError("'messages' is empty: a conversation has at least one message.")
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                raise _wrong(index, f"it answers {message.tool_call_id!r}, and no open call has it")
            open_calls.remove(message.tool_call_id)
            continue
        _require_answered(index, open_calls)
        open_calls = _opened(index, message)
    _require_answered(len(messages), open_calls)


def _require_answered(index: int, open_calls: set[str]) -> None:
    if open_calls:
        missing = ", ".join(sorted(open_calls))
        raise _wrong(index, f"the tool calls {missing} before it have no answer yet")


def _opened(index: int, message: Message) -> set[str]:
    ids = [call.id for call in message.calls]
    if ids and message.role != "assistant":
        raise _wrong(index, f"a message of role {message.role!r} calls no tools")
    if len(set(ids)) < len(ids):
        raise _wrong(index, "two of its tool calls have the same id")
    return set(ids)


def _wrong(index: int, why: str) -> InvalidInputError:
    return InvalidInputError(f"messages[{index}]: {why}.", index=index)
