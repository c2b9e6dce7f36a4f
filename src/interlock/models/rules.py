"""What a contract says, in the terms of the blocks that enforce it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict

from interlock.base.codec import codec_for
from interlock.contract import Contract
from interlock.errors import DeclarationError
from interlock.limits.breaker import BreakerOptions
from interlock.limits.budget import Budgets, Limits
from interlock.limits.prices import CustomPrice
from interlock.limits.provider import ProviderLimits
from interlock.limits.rate import RateLimits
from interlock.models.loops import LoopLimits
from interlock.tools.arguments import TypedArguments
from interlock.tools.effects import Recovery
from interlock.tools.tool import Tool

__all__ = [
    "ToolRule",
    "budgets_of",
    "custom_prices_of",
    "loop_limits_of",
    "provider_limits_of",
    "rule_for",
    "tool_for",
]

METADATA_KEY = "interlock"
_CALL_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class ToolRule:
    """How a function of an agent's own is called.

    A function that nobody has declared may do anything, so it is a write that is never made again
    by itself (`never`): when its outcome is unknown a person decides.
    """

    effect: Literal["read", "write", "delegate"] = "write"
    recovery: Recovery | None = "never"
    timeout: timedelta = timedelta(seconds=_CALL_SECONDS)


_UNDECLARED = ToolRule()


def rule_for(contract: Contract, name: str, metadata: Mapping[str, Any] | None) -> ToolRule:
    """The rule of a function: the contract's, else its own metadata's, else the strictest.

    Metadata is `{"interlock": {"effect": "read"}}`, as the contract would say it. Raises
    `DeclarationError` for metadata that cannot be understood.
    """
    terms = contract.tools.get(name)
    if terms is not None:
        seconds = terms.timeout_seconds or _CALL_SECONDS
        return ToolRule(
            effect=terms.effect, recovery=terms.recovery, timeout=timedelta(seconds=seconds)
        )
    given = (metadata or {}).get(METADATA_KEY)
    return _UNDECLARED if given is None else _from_metadata(name, given)


def _from_metadata(name: str, given: Any) -> ToolRule:
    known = {"effect", "recovery", "timeout_seconds"}
    if not isinstance(given, dict) or not known.issuperset(cast("dict[str, Any]", given)):
        raise DeclarationError(
            f"tool {name!r}: metadata {METADATA_KEY!r} is {given!r}; it is an object with "
            "'effect' (read, write, delegate), and for a write 'recovery' and 'timeout_seconds'."
        )
    fields = cast("dict[str, Any]", given)
    effect, recovery = fields.get("effect", "write"), fields.get("recovery")
    if effect not in ("read", "write", "delegate") or recovery not in (
        (None,) if effect != "write" else ("repeatable", "never", None)
    ):
        raise DeclarationError(
            f"tool {name!r}: metadata {METADATA_KEY!r} says effect {effect!r} with recovery "
            f"{recovery!r}; a write has 'repeatable' or 'never', a read or a delegate has none."
        )
    return ToolRule(
        effect=effect,
        recovery=(recovery or "never") if effect == "write" else None,
        timeout=timedelta(seconds=float(fields.get("timeout_seconds", _CALL_SECONDS))),
    )


class _AnyArguments(BaseModel):
    model_config = ConfigDict(extra="allow")


def tool_for(name: str, rule: ToolRule, function: Callable[..., Any]) -> Tool[..., Any]:
    """A function of an agent's own as the gateway takes it; `function` ignores its arguments.

    Pydantic AI has checked the arguments by then, and hands the call its context.
    """
    return Tool(
        name=name,
        function=function,
        effect="read" if rule.effect == "read" else "write",
        recovery=rule.recovery if rule.effect == "write" else None,
        version="",
        timeout=rule.timeout,
        settle=timedelta(0),
        not_made=(),
        refused=(),
        attempts=3 if rule.effect == "read" else 1,
        pause=timedelta(seconds=1),
        lookup=None,
        key_parameter=None,
        arguments=TypedArguments(_AnyArguments),
        result=codec_for(Any),
    )


def budgets_of(contract: Contract) -> Budgets:
    """The contract's budgets."""
    budgets = contract.budgets
    return Budgets(
        run=_limits(budgets.run),
        agent_day=_limits(budgets.agent_day),
        tenant_day=_limits(budgets.tenant_day),
    )


def _limits(terms: BaseModel) -> Limits:
    given = {name: value for name, value in terms if value is not None}
    if "seconds" in given:  # Counted in milliseconds, and a fraction of one is no more to spend.
        given["seconds"] = Decimal(int(Decimal(str(given["seconds"])) * 1000)) / 1000
    return Limits(**given)


def loop_limits_of(contract: Contract) -> LoopLimits:
    """When the agent counts as going round in circles."""
    return LoopLimits(**contract.loops.model_dump(exclude={"requests"}))


def custom_prices_of(contract: Contract) -> dict[str, CustomPrice]:
    """The contract's own prices, by model."""
    return {
        name: CustomPrice(
            input_usd=price.input_usd_per_million, output_usd=price.output_usd_per_million
        )
        for name, price in contract.prices.items()
    }


def provider_limits_of(contract: Contract) -> dict[str, ProviderLimits]:
    """How each provider may be called, by its name."""
    return {
        name: ProviderLimits(
            rate=RateLimits(
                requests_per_minute=terms.requests_per_minute,
                tokens_per_minute=terms.tokens_per_minute,
            ),
            breaker=BreakerOptions(
                failures=terms.breaker_failures,
                cooldown_seconds=terms.breaker_cooldown_seconds,
            ),
        )
        for name, terms in contract.providers.items()
    }
