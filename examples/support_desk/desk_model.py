"""The model that the desk asks: the offline decider, or the one that a name stands for.

Either is a Pydantic AI model, asked by the same agent under the same contract.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, infer_model
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from .answer import TicketAnswer
from .decider import OFFLINE, NearestExamples
from .handbook import Handbook

__all__ = ["DeskModelError", "NearestExamplesModel", "check_model", "model_named"]

_SYSTEM: Final = "support-desk"
# Where a message names an account or an address, a model sees a handle for it.
_HANDLE: Final = re.compile(r"\b(?:iban|email)#[0-9]+")


class DeskModelError(Exception):
    """A model cannot be used; the message says which, why and what to do."""


class NearestExamplesModel(Model):
    """The offline decider as a model: the nearest examples' category, the handbook's reply.

    It reads the ticket's message and nothing else, and calls no tool; its tokens are the words of
    message and reply. The same message always gets the same answer.
    """

    def __init__(self, decider: NearestExamples, handbook: Handbook) -> None:
        super().__init__()
        self._decider = decider
        self._handbook = handbook

    @property
    def model_name(self) -> str:
        """The name that the contract's price goes by."""
        return OFFLINE

    @property
    def system(self) -> str:
        """Who provides it."""
        return _SYSTEM

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Answer the ticket's message. Repeating it is safe."""
        (form,) = model_request_parameters.output_tools
        # In a thread, as a search in many examples would hold up everything else.
        message = _first_prompt(messages)
        answer = await asyncio.to_thread(self._answer, message)
        return ModelResponse(
            parts=[ToolCallPart(form.name, answer.model_dump(mode="json"))],
            usage=RequestUsage(
                input_tokens=len(message.split()), output_tokens=len(answer.reply.split())
            ),
            model_name=OFFLINE,
        )

    def _answer(self, text: str) -> TicketAnswer:
        decision = self._decider.decide(text)
        found = decision.category
        entry = self._handbook.anything_else if found is None else self._handbook.entry(found)
        named = _HANDLE.search(text) if entry.refund else None
        return TicketAnswer(
            category=found,
            queue=entry.queue,
            confidence=decision.confidence,
            reply=entry.reply,
            pay_to=named and named[0],
        )


def check_model(name: str) -> None:
    """Raise `DeskModelError` for a name that nobody knows, or whose key or package is missing."""
    if name != OFFLINE:
        _infer(name)


def model_named(name: str, decider: NearestExamples, handbook: Handbook) -> Model:
    """The model of a name: `nearest-examples`, or Pydantic AI's, such as `openai:gpt-5.2`.

    Raises what `check_model` raises.
    """
    return NearestExamplesModel(decider, handbook) if name == OFFLINE else _infer(name)


def _infer(name: str) -> Model:
    try:
        return infer_model(name)
    except Exception as problem:
        raise DeskModelError(f"the model {name!r} cannot be used: {problem}") from problem


def _first_prompt(messages: Sequence[ModelMessage]) -> str:
    prompts = [
        part.content
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, UserPromptPart) and isinstance(part.content, str)
    ]
    return prompts[0] if prompts else ""
