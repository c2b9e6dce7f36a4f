"""`Contract`: what one agent may do, as a value.

It is the same value whether it was read from a file, built in Python or read back from a journal:
frozen, complete (every default filled in), and equal contracts have the same `hash`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import rfc8785
from pydantic import Field

from interlock.contract.budgets import Budgets
from interlock.contract.conversation import ConversationTerms
from interlock.contract.grounding import GroundingTerms
from interlock.contract.loops import LoopTerms
from interlock.contract.masking import MaskingTerms
from interlock.contract.model import ModelTerms, Price
from interlock.contract.output import OutputTerms
from interlock.contract.provider import ProviderTerms
from interlock.contract.terms import AgentName, ModelName, ProviderName, Terms, ToolName
from interlock.contract.tool import ToolTerms

__all__ = ["Contract"]


class Contract(Terms):
    """What one agent may do: the model it asks, what it may spend, the tools it has.

    Built in Python, a value that does not fit raises pydantic's `ValidationError`; money is an int
    or a `Decimal`. Mappings are to be read only.
    """

    agent: AgentName = Field(description="The agent's name, as in @app.agent.")
    purpose: str = Field(
        default="", max_length=2000, description="What the agent is for, in plain words."
    )
    model: ModelTerms = Field(
        default_factory=ModelTerms, description="The model, its fallbacks, the bounds of a request."
    )
    prices: Mapping[ModelName, Price] = Field(
        default_factory=dict,
        max_length=200,
        description="Prices by model, for models that the price list does not know, or to override "
        "it.",
    )
    providers: Mapping[ProviderName, ProviderTerms] = Field(
        default_factory=dict,
        max_length=50,
        description="Rate limits by provider, the part of a model's name before ':'.",
    )
    budgets: Budgets = Field(default_factory=Budgets, description="What may be spent.")
    tools: Mapping[ToolName, ToolTerms] = Field(
        default_factory=dict,
        max_length=500,
        description="Functions of the agent that are not declared with @app.tool, by name.",
    )
    autonomy: Mapping[ToolName, Literal["suggest", "draft", "act"]] = Field(
        default_factory=dict,
        max_length=500,
        description="How far a tool goes by itself, by name; it can only take away from what the "
        "tool declares. suggest: a person approves each call. draft: the tool's draft is called in "
        "its place, for a person to send. act: it is carried out.",
    )
    loops: LoopTerms = Field(
        default_factory=LoopTerms, description="When the agent counts as going round in circles."
    )
    output: OutputTerms = Field(
        default_factory=OutputTerms, description="What happens when an answer does not fit."
    )
    conversation: ConversationTerms = Field(
        default_factory=ConversationTerms, description="What a model sees of earlier messages."
    )
    masking: MaskingTerms = Field(
        default_factory=MaskingTerms, description="What is personal, and what a model sees of it."
    )

    grounding: GroundingTerms = Field(
        default_factory=GroundingTerms, description="What may name where something goes."
    )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the contract's canonical JSON (RFC 8785), 64 hexadecimal digits."""
        return hashlib.sha256(rfc8785.dumps(self.as_json())).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The whole contract as JSON values, defaults included, money as texts.

        `codec_for(Contract)` reads its JSON back as the same contract.
        """
        return self.model_dump(mode="json")

    def __hash__(self) -> int:
        return hash(self.hash)
