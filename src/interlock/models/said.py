"""What has been said in an ask so far, over all its tries.

A person who lets an agent try again does not make it begin anew: it has its messages, and what it
has called is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    UserContent,
    UserPromptPart,
)
from pydantic_core import to_json

if TYPE_CHECKING:
    from interlock.models.ask import Asked

__all__ = ["Said", "last_text"]

_TRY_AGAIN: Final = "Try again."


@dataclass(kw_only=True)
class Said:
    """One ask: what its conversation said before (`history`), and what was said in it.

    `prompt` is what the agent is told next: None when it goes on with its last request as it was.
    """

    prompt: str | Sequence[UserContent] | None
    history: Sequence[ModelMessage] = ()
    _question: str | Sequence[UserContent] | None = None
    _said: list[ModelMessage] = field(default_factory=list[ModelMessage])

    def __post_init__(self) -> None:
        if self._question is None:
            self._question = self.prompt

    def messages(self) -> Sequence[ModelMessage]:
        """All that was said before what comes next."""
        return [*self.history, *self._said]

    def new(self) -> Sequence[ModelMessage]:
        """What was said in this ask."""
        return list(self._said)

    def take(self, messages: Sequence[ModelMessage]) -> None:
        """Keep what a try has said; `messages` begin with the history that it was given."""
        self._said = list(messages[len(self.history) :])

    def tried_again(self, note: str) -> Said:
        """The next try, with what a person has to say."""
        said = _closed(self._said)
        if not said:  # Nothing was asked yet: the person's word comes with the question.
            return replace(self, prompt=_joined(self._question, note), _said=[])
        resumable = isinstance(said[-1], ModelRequest)
        prompt = note or (None if resumable else _TRY_AGAIN)
        return replace(self, prompt=prompt, _said=said)

    def answered(self, by_a_person: Asked, at_us: int) -> Sequence[ModelMessage]:
        """The question and a person's answer to it, as a conversation remembers them.

        What the agent has tried in vain is left out.
        """
        at = datetime.fromtimestamp(at_us / 1e6, UTC)
        output = by_a_person.output
        text = output if isinstance(output, str) else to_json(output).decode()
        question = UserPromptPart(self._question or "", timestamp=at)
        return [
            ModelRequest(parts=[question], timestamp=at),
            ModelResponse(parts=[TextPart(text)], timestamp=at),
        ]


def last_text(messages: Sequence[ModelMessage]) -> str:
    """The last text that the model has said; empty where it has said none."""
    answers = (message for message in reversed(messages) if isinstance(message, ModelResponse))
    texts = (answer.text for answer in answers if answer.text)
    return next(texts, "")


def _closed(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """The messages as another prompt may follow them.

    An empty answer says nothing, and some providers refuse to read one. Calls of a last answer that
    nothing came back for are marked as given up: Pydantic AI tells the model so.
    """
    said = list(messages)
    while said and isinstance(said[-1], ModelResponse) and not said[-1].parts:
        said.pop()
    last = said[-1] if said else None
    if isinstance(last, ModelResponse) and last.tool_calls:
        said[-1] = replace(last, state="interrupted")
    return said


def _joined(
    question: str | Sequence[UserContent] | None, note: str
) -> str | Sequence[UserContent] | None:
    if not note or question is None:
        return question
    if isinstance(question, str):
        return f"{question}\n\n{note}"
    return [*question, note]
