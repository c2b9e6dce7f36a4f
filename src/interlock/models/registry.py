"""The models that an application may ask, by name, and what stands between them and a call.

A model is built once per process from its name, or registered by the application as an object. One
gate per provider is shared by all runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel

from interlock.clock import Clock
from interlock.contract import Contract
from interlock.errors import DeclarationError, UnknownPriceError
from interlock.limits.prices import Price, PriceBook
from interlock.limits.provider import Gates, ProviderGate, ProviderLimits
from interlock.models.rules import custom_prices_of, provider_limits_of

__all__ = ["Candidate", "ModelRegistry"]


class Candidate(NamedTuple):
    """A model that may answer: its name here, the model, and its provider's gate."""

    name: str
    model: Model
    provider: str
    gate: ProviderGate


class ModelRegistry:
    """Models by name, for one executor. `registered` are the application's own."""

    def __init__(
        self, clock: Clock, contracts: Sequence[Contract], registered: Mapping[str, Model]
    ) -> None:
        limits: dict[str, ProviderLimits] = {}
        for contract in contracts:
            _merge(limits, contract)
        self._gates = Gates(limits)
        self._limited = frozenset(limits)
        self._models: dict[str, Model] = dict(registered)
        self._clock = clock
        # By the hash of the contract that may give prices of its own.
        self._books: dict[str, PriceBook] = {}
        self._unpriced: set[tuple[str, str]] = set()

    def named(self, name: str) -> Candidate:
        """The model of a name: registered, or a Pydantic AI name such as `openai:gpt-5.2`.

        Raises `DeclarationError` for a name that nobody knows, or whose provider cannot be set up
        (no key, package not installed).
        """
        model = self._models.get(name)
        if model is None:
            model = self._models[name] = _infer(name)
        return self._candidate(name, model)

    def of(self, model: Model) -> Candidate:
        """A model that code has made, under the name that it gives itself."""
        known = (name for name, one in self._models.items() if one is model)
        return self._candidate(next(known, model.model_id), model)

    def asked(self, *candidates: Candidate) -> list[Candidate]:
        """Those that are asked one after the other: a `FallbackModel` is what it is made of.

        It would ask several models in what looks like one request, with one hold.
        """
        found: dict[str, Candidate] = {}
        for candidate in candidates:
            for model in _members(candidate.model):
                one = candidate if model is candidate.model else self.of(model)
                name, number = one.name, 1
                while name in found:
                    number += 1
                    name = f"{one.name}#{number}"
                found[name] = one._replace(name=name)
        return list(found.values())

    def _candidate(self, name: str, model: Model) -> Candidate:
        # As the contracts call it: `openai-chat` is the prefix of a name, `openai` the provider's.
        prefix, colon, _ = name.partition(":")
        provider = prefix if colon and prefix in self._limited else _provider(model)
        return Candidate(name, model, provider, self._gates.gate(provider))

    def price(self, contract: Contract, candidate: Candidate) -> Price | None:
        """What a model costs now, or None where neither contract nor catalogue knows it."""
        if (contract.hash, candidate.name) in self._unpriced:
            return None
        book = self._books.get(contract.hash)
        if book is None:
            book = PriceBook(self._clock, custom_prices_of(contract))
            self._books[contract.hash] = book
        for name, provider in (
            (candidate.name, None),
            (candidate.model.model_name, candidate.provider),
        ):
            try:
                return book.price(name, provider)
            except UnknownPriceError:
                continue
        self._unpriced.add((contract.hash, candidate.name))
        return None


def _merge(limits: dict[str, ProviderLimits], contract: Contract) -> None:
    for provider, wanted in provider_limits_of(contract).items():
        known = limits.setdefault(provider, wanted)
        if known != wanted:
            raise DeclarationError(
                f"the contract of agent {contract.agent!r} limits provider {provider!r} otherwise "
                "than another contract does. A provider is shared by all agents of the process: "
                "say the same in both."
            )


def _infer(name: str) -> Model:
    try:
        return infer_model(name)
    except Exception as error:
        raise DeclarationError(
            f"model {name!r} cannot be used: {error}. Give the name of a Pydantic AI model with "
            "its key in the environment, or register the model with App(models={name: model})."
        ) from error


def _members(model: Model) -> Iterator[Model]:
    if isinstance(model, FallbackModel):
        for member in model.models:
            yield from _members(member)
    else:
        yield model


def _provider(model: Model) -> str:
    while isinstance(model, WrapperModel):
        model = model.wrapped
    return model.system
