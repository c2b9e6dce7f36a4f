"""What is allowed in a contract and is probably a mistake: warnings, not errors."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from interlock.contract.contract import Contract
from interlock.contract.finding import Finding, field_name
from interlock.contract.located import Located
from interlock.contract.terms import FieldPath

__all__ = ["doubts"]


class _Doubt(NamedTuple):
    code: str
    path: FieldPath
    problem: str
    allowed: str


def doubts(contract: Contract, located: Located) -> Iterator[Finding]:
    """Warnings about a contract that is valid."""
    for rule in (_call_above_budget, _budgets_out_of_order, _unpriced, _unknown_providers):
        for doubt in rule(contract):
            yield Finding(
                severity="warning",
                code=doubt.code,
                file=located.file,
                place=located.place(doubt.path),
                field=field_name(doubt.path),
                problem=doubt.problem,
                found=located.found(doubt.path),
                allowed=doubt.allowed,
            )


def _call_above_budget(contract: Contract) -> Iterator[_Doubt]:
    """A budget into which not one call fits, as far as the contract itself tells what it costs."""
    run, model = contract.budgets.run, contract.model
    if run.tokens is not None and run.tokens <= model.max_output_tokens:
        problem = f"one answer of {model.max_output_tokens:,} tokens is reserved, and does not fit"
        yield _below("run", "tokens", problem, "more than model.max_output_tokens")
    if run.seconds is not None and run.seconds < model.timeout_seconds:
        problem = f"one request may take {model.timeout_seconds:,g} seconds"
        yield _below("run", "seconds", problem, "at least model.timeout_seconds")
    dearest = _dearest_answer(contract)
    for scope, usd in _usd_budgets(contract):
        if dearest is not None and usd is not None and usd < dearest[1]:
            name, cost = dearest
            problem = f"an answer of {name!r} may cost ${cost:,f}, and does not fit"
            yield _below(scope, "usd", problem, "more, or a lower model.max_output_tokens")


def _below(scope: str, field: str, problem: str, allowed: str) -> _Doubt:
    return _Doubt("budget_below_call", ("budgets", scope, field), problem, allowed)


def _usd_budgets(contract: Contract) -> tuple[tuple[str, Decimal | None], ...]:
    budgets = contract.budgets
    return (
        ("run", budgets.run.usd),
        ("agent_day", budgets.agent_day.usd),
        ("tenant_day", budgets.tenant_day.usd),
    )


def _dearest_answer(contract: Contract) -> tuple[str, Decimal] | None:
    """The model whose longest answer costs most, of those the contract has a price for."""
    longest = contract.model.max_output_tokens
    costs = [
        (name, contract.prices[name].of(input_tokens=0, output_tokens=longest))
        for name in contract.model.names()
        if name in contract.prices
    ]
    return max(costs, key=lambda each: each[1], default=None)


def _budgets_out_of_order(contract: Contract) -> Iterator[_Doubt]:
    """A narrow budget above a wider one, which then is the one that counts."""
    given = [(scope, usd) for scope, usd in _usd_budgets(contract) if usd is not None]
    for (narrow, usd), (wide, limit) in itertools.pairwise(given):
        if usd > limit:
            problem = f"it is above budgets.{wide}.usd, {limit:,f}"
            allowed = f"up to {limit:,f}"
            yield _Doubt("budget_order", ("budgets", narrow, "usd"), problem, allowed)


def _unpriced(contract: Contract) -> Iterator[_Doubt]:
    """A model of the application's own without a price, under a budget in money."""
    if all(usd is None for _, usd in _usd_budgets(contract)):
        return
    for number, name in enumerate(contract.model.names()):
        if ":" not in name and name not in contract.prices:
            path: FieldPath = ("model", "fallbacks", number - 1) if number else ("model", "name")
            problem = "no price list knows this model, and there is a budget in US dollars"
            yield _Doubt("unpriced_model", path, problem, f"a price under prices.{name}")


def _unknown_providers(contract: Contract) -> Iterator[_Doubt]:
    """A provider that no model has, and whose name is nearly that of one."""
    asked = {name.partition(":")[0] for name in contract.model.names() if ":" in name}
    for provider in contract.providers:
        close = difflib.get_close_matches(provider, asked, n=1, cutoff=0.75)
        if close and provider not in asked:
            problem = f"no model of the contract is of this provider; did you mean {close[0]!r}?"
            path = ("providers", provider)
            yield _Doubt("unknown_provider", path, problem, ", ".join(sorted(asked)))
