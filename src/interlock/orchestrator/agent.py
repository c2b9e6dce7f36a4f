"""Agents: async functions over a `Run`, declared with typed input, output and state."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import rfc8785
from pydantic import BaseModel, ValidationError

from interlock.base.codec import Codec, codec_for, describe, hints
from interlock.contract.contract import Contract
from interlock.contract.grounding import GroundingTerms
from interlock.contract.masking import MaskingTerms
from interlock.errors import DeclarationError, InvalidInputError

__all__ = ["Agent", "TermsOf", "declare_agent", "same_input"]


_NO_MASKING: Final = MaskingTerms()
_NO_GROUNDING: Final = GroundingTerms()


TermsOf = Callable[[Contract], tuple[MaskingTerms, GroundingTerms]]


def _terms_of(contract: Contract) -> tuple[MaskingTerms, GroundingTerms]:
    return contract.masking, contract.grounding


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A declared agent.

    `concurrency`: how many of its runs may execute at once, or None for no limit of its own.
    `takes_input`: whether the function has a second parameter. `terms_of`: what a contract means
    for this agent, where that is not just what it says.
    """

    name: str
    function: Callable[..., Awaitable[Any]]
    version: str
    takes_input: bool
    input: Codec[Any] = field(repr=False)
    output: Codec[Any] = field(repr=False)
    state: type[BaseModel] | None
    concurrency: int | None
    masking: MaskingTerms = _NO_MASKING
    grounding: GroundingTerms = _NO_GROUNDING
    terms_of: TermsOf = field(default=_terms_of, repr=False)

    def under(self, contract: Contract | None) -> Agent:
        """The agent under the contract of one of its runs."""
        if contract is None:
            return self
        masking, grounding = self.terms_of(contract)
        if (masking, grounding) == (self.masking, self.grounding):
            return self
        return replace(self, masking=masking, grounding=grounding)

    def sensitive_in(self, part: str) -> dict[str, list[str]]:
        """The header field that has views hide what is sensitive in its `input` or `result`."""
        paths = [
            p[len(part) :].lstrip(".") for p in self.masking.sensitive if p.split(".")[0] == part
        ]
        return {"sensitive": paths} if paths else {}


def declare_agent(
    function: Callable[..., Awaitable[Any]],
    *,
    name: str,
    version: str = "1",
    state: type[BaseModel] | None = None,
    concurrency: int | None = None,
    masking: MaskingTerms = _NO_MASKING,
    grounding: GroundingTerms = _NO_GROUNDING,
    terms_of: TermsOf = _terms_of,
) -> Agent:
    """Check an agent's declaration and build it.

    Raises `DeclarationError` that says what is wrong and what is allowed.
    """
    if not inspect.iscoroutinefunction(function):
        raise DeclarationError(f"agent {name!r}: declare it with `async def`.")
    if not name or "/" in name or len(name) > 200:
        raise DeclarationError(f"agent {name!r}: a name has 1 to 200 characters and no '/'.")
    if concurrency is not None and concurrency < 1:
        raise DeclarationError(f"agent {name!r}: concurrency={concurrency}; at least 1 is needed.")
    parameters = list(inspect.signature(function).parameters.values())
    if not 1 <= len(parameters) <= 2:
        raise DeclarationError(
            f"agent {name!r} takes {len(parameters)} parameters; an agent is "
            "`async def name(run: Run, input: SomeType) -> SomeResult`, the input being optional."
        )
    if state is not None:
        _check_state(name, state)
    types = hints(function)
    takes_input = len(parameters) == 2
    given = types.get(parameters[1].name, Any) if takes_input else None
    return Agent(
        name=name,
        function=function,
        version=version,
        takes_input=takes_input,
        input=codec_for(given),
        output=codec_for(types.get("return", Any)),
        state=state,
        concurrency=concurrency,
        masking=masking,
        grounding=grounding,
        terms_of=terms_of,
    )


def same_input(agent: Agent, one: bytes, other: bytes) -> bool:
    """Whether two recorded inputs are the same.

    As canonical JSON, since to Python true equals 1; or, where the agent declares a type, as values
    of it, since a set is written in another order by every process.
    """
    if rfc8785.dumps(json.loads(one)) == rfc8785.dumps(json.loads(other)):
        return True
    label = f"the input of agent {agent.name!r}"
    try:
        return agent.input.kind is not Any and (
            agent.input.decode(one, label) == agent.input.decode(other, label)
        )
    except InvalidInputError:  # Recorded under another type: it is not the same.
        return False


def _check_state(name: str, state: type[BaseModel]) -> None:
    try:
        state()
    except ValidationError as error:
        raise DeclarationError(
            f"agent {name!r}: its state begins as {state.__name__}(), which needs values: "
            f"{describe(error)}. Give each field a default."
        ) from error
