"""Messages with handles in place of personal values, and back.

Only what comes from outside is sealed: instructions and prompts. What the model wrote has handles
already, and what tools answered got them before it was recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    SystemPromptPart,
    UserPromptPart,
)

from interlock.tools.masking.vault import RunVault

__all__ = ["revealed_messages", "sealed_message"]


def sealed_message(message: ModelMessage, vault: RunVault) -> ModelMessage:
    """The message as a model sees it."""
    if not isinstance(message, ModelRequest):
        return message
    parts = [_sealed_part(part, vault) for part in message.parts]
    instructions = message.instructions and vault.seal(message.instructions)
    return replace(message, parts=parts, instructions=instructions)


def _sealed_part(part: Any, vault: RunVault) -> Any:
    if isinstance(part, (SystemPromptPart, UserPromptPart)):
        return replace(part, content=_sealed_content(part.content, vault))
    return part


def _sealed_content(content: Any, vault: RunVault) -> Any:
    if isinstance(content, str):
        return vault.seal(content)
    # Files stay as they are: what is in them is not text.
    return [vault.seal(item) if isinstance(item, str) else item for item in content]


def revealed_messages(messages: Sequence[ModelMessage], vault: RunVault) -> Sequence[ModelMessage]:
    """The messages with their values, to be said again in a run that has other handles."""
    plain = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")
    return ModelMessagesTypeAdapter.validate_python(vault.reveal_value(plain))
