"""Which model an agent asks, what one request may be, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from interlock.contract.terms import (
    Amount,
    CallSeconds,
    Conflict,
    ModelName,
    Ratio,
    Settings,
    Terms,
    as_tuple,
)

__all__ = ["ModelTerms", "Price"]

_MILLION: Final = 1_000_000
# Settings of a provider that the contract says itself, under another name.
_OWN_SETTINGS: Final = (("max_tokens", "max_output_tokens"), ("timeout", "timeout_seconds"))


class ModelTerms(Terms):
    """The model that answers, and the bounds of one request."""

    name: ModelName | None = Field(
        default=None,
        description="The model: a Pydantic AI name such as openai:gpt-5.2, or the key of a model "
        "that the application registers. Without it, the one that the agent's code names.",
    )
    fallbacks: Annotated[tuple[ModelName, ...], BeforeValidator(as_tuple)] = Field(
        default=(),
        max_length=10,
        description="Models that are asked, in this order, when the one before has failed.",
    )
    timeout_seconds: CallSeconds = Field(default=60.0, description="How long one request may take.")
    attempts: int = Field(
        default=3,
        ge=1,
        le=10,
        description="Requests to one model before the next one is taken. Each is held against the "
        "budgets by itself.",
    )
    max_output_tokens: int = Field(
        default=4096,
        ge=1,
        le=10_000_000,
        description="Most tokens of one answer; enforced, and the worst case that is reserved.",
    )
    tokens_per_byte: Ratio = Field(
        default=1.0,
        description="Most tokens that one byte of the input can become: bounds the worst case of "
        "the input that is reserved. 1 is safe for every model.",
    )
    tokens_per_file: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Most tokens that one file of the input (an image, a document, a recording) "
        "counts as. Needed where a budget limits tokens or money and files are sent.",
    )
    settings: Settings = Field(
        default_factory=dict,
        max_length=50,
        description="Passed to the provider as it is, such as temperature. Never secrets.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Fallbacks that repeat a model or stand alone, and settings that the contract says."""
        if self.fallbacks and self.name is None:
            yield Conflict(("fallbacks",), "there is no model to fall back from", "model.name too")
        asked = [self.name]
        for number, fallback in enumerate(self.fallbacks):
            if fallback in asked:
                problem = f"{fallback!r} was asked before and has failed then"
                yield Conflict(("fallbacks", number), problem, "models that are not named before")
            asked.append(fallback)
        for setting, own in _OWN_SETTINGS:
            if setting in self.settings:
                yield Conflict(("settings", setting), "the contract says this", f"model.{own}")

    def names(self) -> tuple[str, ...]:
        """Every model that may be asked, in order; empty where the code names it."""
        return () if self.name is None else (self.name, *self.fallbacks)


class Price(Terms):
    """What a model costs; it wins over the price list that Interlock carries."""

    input_usd_per_million: Amount = Field(description="US dollars for a million input tokens.")
    output_usd_per_million: Amount = Field(description="US dollars for a million output tokens.")

    def of(self, *, input_tokens: int, output_tokens: int) -> Decimal:
        """US dollars for so many tokens, exactly."""
        whole = self.input_usd_per_million * input_tokens
        return (whole + self.output_usd_per_million * output_tokens) / _MILLION
