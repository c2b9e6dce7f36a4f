"""A contract in plain words, for whoever answers for the agent and does not read YAML.

Every sentence is made from the contract alone, and so cannot promise anything that it does not say.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from interlock.contract.budgets import Budget
from interlock.contract.contract import Contract
from interlock.contract.tool import ToolTerms

__all__ = ["Chapter", "summary"]

_UNITS: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"))


class Chapter(NamedTuple):
    """A heading and the sentences under it."""

    heading: str
    sentences: tuple[str, ...]


def summary(contract: Contract) -> tuple[Chapter, ...]:
    """The contract in plain words, in the order in which people ask."""
    return (
        Chapter("Purpose", (contract.purpose.strip() or "The contract does not say.",)),
        Chapter("Model", tuple(_model(contract))),
        Chapter("What it may spend", tuple(_spending(contract))),
        Chapter("When a budget is used up", tuple(_exhausted())),
        Chapter("Tools", tuple(_tools(contract))),
        Chapter("When it goes round in circles", tuple(_loops(contract))),
        Chapter("When an answer does not fit", tuple(_output(contract))),
        Chapter("Long conversations", tuple(_conversation(contract))),
    )


def _model(contract: Contract) -> Iterator[str]:
    model = contract.model
    if model.name is None:
        yield "It asks the model that its code names."
    else:
        yield f"It asks {model.name}."
    tries = _count(model.attempts, "attempt")
    if model.fallbacks:
        yield f"When that fails after {tries}, it asks {', then '.join(model.fallbacks)}."
    else:
        yield f"When that fails after {tries}, no other model is asked."
    longest = _count(model.max_output_tokens, "token")
    yield f"One request takes {duration(model.timeout_seconds)} and answers {longest} at most."
    yield from _rates(contract)


def _spending(contract: Contract) -> Iterator[str]:
    budgets = contract.budgets
    scopes = (
        ("One run", budgets.run, ""),
        ("All runs of this agent", budgets.agent_day, " in a day (UTC)"),
        ("All runs of a tenant, whichever agent", budgets.tenant_day, " in a day (UTC)"),
    )
    for who, budget, when in scopes:
        limits = _limits(budget)
        yield f"{who}: {f'at most {_listed(limits)}' if limits else 'no limit'}{when}."
    if budgets.run.usd is None:
        yield "No amount of money is set for a run."


def _limits(budget: Budget) -> list[str]:
    counted = (
        (budget.tokens, "token"),
        (budget.model_calls, "model call"),
        (budget.tool_calls, "tool call"),
    )
    limits = [] if budget.usd is None else [money(budget.usd)]
    limits += [_count(number, what) for number, what in counted if number is not None]
    if budget.seconds is not None:
        limits.append(f"{duration(budget.seconds)} of calls")
    return limits


def _exhausted() -> Iterator[str]:
    yield (
        "Before each call the most that it can cost is set aside; what was not used comes back "
        "after it."
    )
    yield (
        "A call that does not fit into every budget is not made: the run pauses, and a person tops "
        "the budget up, lets the run finish with what there is, or stops it. Nothing is lost."
    )


def _rates(contract: Contract) -> Iterator[str]:
    for provider, terms in contract.providers.items():
        counted = ((terms.requests_per_minute, "request"), (terms.tokens_per_minute, "token"))
        limits = [_count(number, what) for number, what in counted if number is not None]
        if limits:
            yield f"{provider} is sent at most {_listed(limits)} a minute; more waits its turn."


_AUTONOMY: Final = {
    "suggest": "is only proposed: a person approves each call",
    "draft": "only drafts, and a person sends",
    "act": "acts by itself, as far as its declaration and the policies let it",
}


def _tools(contract: Contract) -> Iterator[str]:
    yield from _functions(contract)
    for name, level in contract.autonomy.items():
        yield f"{name} {_AUTONOMY[level]}."


def _functions(contract: Contract) -> Iterator[str]:
    if not contract.tools:
        yield "None but the tools that the application declares in its code."
        return
    for name, terms in contract.tools.items():
        yield f"{name} {_tool(terms)}"
    yield "And the tools that the application declares in its code."


def _tool(terms: ToolTerms) -> str:
    if terms.effect == "delegate":
        return "asks another agent, within this agent's run and budgets."
    took = "" if terms.timeout_seconds is None else f" It takes at most {_took(terms)}."
    if terms.effect == "read":
        return f"reads and changes nothing.{took}"
    unknown = {
        "repeatable": "it is done again, which changes nothing more",
        "never": "it is not repeated, and a person decides",
    }
    ends = unknown[terms.recovery or "never"]
    return f"changes something outside. When nobody knows whether it happened, {ends}.{took}"


def _took(terms: ToolTerms) -> str:
    return duration(terms.timeout_seconds or 0)


def _loops(contract: Contract) -> Iterator[str]:
    loops = contract.loops
    yield (
        f"It is stopped after the same call {loops.same_call} times, the same sequence of calls "
        f"{loops.cycle_repeats} times in a row, the same error {loops.same_error} times in a row, "
        f"or {loops.stale_steps} calls in a row that bring nothing new."
    )
    if loops.requests is not None:
        yield f"One ask makes at most {_count(loops.requests, 'request')} to its model."


def _output(contract: Contract) -> Iterator[str]:
    output = contract.output
    asked = f"The model gets {_count(output.attempts, 'attempt')}."
    who = output.escalate_to or "anybody who may decide"
    yield f"{asked} Then {who} is asked, through the inbox."


def _conversation(contract: Contract) -> Iterator[str]:
    kept = contract.conversation
    rest = "is summed up by a model" if kept.summarise else "is left out"
    yield (
        f"The model sees the last {_count(kept.keep_messages, 'message')}, up to "
        f"{_count(kept.keep_tokens, 'token')}; what is older {rest}. The journal keeps everything."
    )


# Words.


def money(usd: Decimal) -> str:
    """An amount for people: `$0.50`, `$1,000`, `$0.000125`."""
    whole = usd == usd.to_integral_value()
    return f"${usd:,.0f}" if whole else f"${usd:,.2f}" if usd == round(usd, 2) else f"${usd:,f}"


def duration(seconds: float) -> str:
    """A duration for people, in the largest unit that it is a whole number of."""
    for size, name in _UNITS:
        if seconds >= size and seconds % size == 0:
            return _count(int(seconds // size), name)
    return f"{seconds:,g} second{'' if seconds == 1 else 's'}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _listed(parts: list[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
