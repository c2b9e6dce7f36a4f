"""One message of a conversation, as the chat-completions protocol writes it.

Unknown fields are ignored: a client may know more of the protocol than a test needs.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["CalledFunction", "Message", "MessageCall", "Part"]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CalledFunction(_Wire):
    """The tool of a call and its arguments, which are a JSON text and may be malformed."""

    name: str
    arguments: str


class MessageCall(_Wire):
    """A tool call that an assistant message holds."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Part(_Wire):
    """A piece of a message's content; only pieces of type `text` have a text."""

    type: str
    text: str = ""


class Message(_Wire):
    """A message: who speaks, what, which tools it calls, or which call it answers."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[Part, ...] | None = None
    tool_calls: tuple[MessageCall, ...] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The message's text; several pieces are joined by line breaks, images are left out."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(part.text for part in self.content if part.type == "text")

    @property
    def calls(self) -> tuple[MessageCall, ...]:
        """The tool calls, none for most messages."""
        return self.tool_calls or ()
