"""Contracts for tests: any valid one, and YAML of it."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO
from typing import Any

from hypothesis import strategies as st
from ruamel.yaml import YAML

from interlock.contract import (
    Budget,
    Budgets,
    Contract,
    ConversationTerms,
    LoopTerms,
    ModelTerms,
    OutputTerms,
    Price,
    ProviderTerms,
    ToolTerms,
)

__all__ = ["contracts", "json_values", "yaml_of"]

# Surrogates cannot be written as UTF-8, and YAML cannot hold every control character.
_TEXT = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
_DENSE = st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="/:")
_NAMES = st.text(_DENSE, min_size=1, max_size=20)
_LINES = st.text(_TEXT, max_size=40)


def _whole(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)


def _amounts() -> st.SearchStrategy[Decimal]:
    return st.decimals(0, 1_000_000_000, places=6)


def _seconds(most: float) -> st.SearchStrategy[float]:
    return st.floats(0.1, most)


def json_values() -> st.SearchStrategy[Any]:
    """JSON that canonical JSON can carry."""
    safe = 2**53 - 1
    leaves = st.none() | st.booleans() | st.integers(-safe, safe) | _LINES
    leaves |= st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
        max_leaves=6,
    )


def _optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


_COUNTS = _optional(_whole(0, 10**12))
_BUDGET = st.builds(
    Budget,
    usd=_optional(_amounts()),
    tokens=_COUNTS,
    model_calls=_COUNTS,
    tool_calls=_COUNTS,
    seconds=_optional(_seconds(366 * 86_400)),
)
_BUDGETS = st.builds(Budgets, run=_BUDGET, agent_day=_BUDGET, tenant_day=_BUDGET)
_TOOLS = st.one_of(
    st.builds(ToolTerms, effect=st.just("read"), timeout_seconds=_optional(_seconds(3600))),
    st.builds(ToolTerms, effect=st.just("delegate")),
    st.builds(
        ToolTerms,
        effect=st.just("write"),
        recovery=st.sampled_from(["repeatable", "never"]),
        timeout_seconds=_optional(_seconds(3600)),
    ),
)


@st.composite
def _models(draw: st.DrawFn) -> ModelTerms:
    name, *fallbacks = draw(st.lists(_NAMES, min_size=1, max_size=4, unique=True))
    settings = st.dictionaries(_NAMES, json_values(), max_size=3)
    return ModelTerms(
        name=name,
        fallbacks=tuple(fallbacks),
        timeout_seconds=draw(_seconds(3600)),
        attempts=draw(_whole(1, 10)),
        max_output_tokens=draw(_whole(1, 10_000_000)),
        tokens_per_byte=draw(st.floats(0, 1, exclude_min=True)),
        settings=draw(settings.filter(lambda given: not {"max_tokens", "timeout"} & set(given))),
    )


def contracts() -> st.SearchStrategy[Contract]:
    """Any valid contract."""
    return st.builds(
        Contract,
        agent=_NAMES,
        purpose=_LINES,
        model=st.builds(ModelTerms) | _models(),
        prices=st.dictionaries(
            _NAMES,
            st.builds(Price, input_usd_per_million=_amounts(), output_usd_per_million=_amounts()),
            max_size=3,
        ),
        providers=st.dictionaries(
            _NAMES,
            st.builds(
                ProviderTerms,
                requests_per_minute=_optional(_whole(1, 10_000_000)),
                tokens_per_minute=_optional(_whole(1, 10**12)),
                breaker_failures=_whole(1, 1000),
                breaker_cooldown_seconds=_seconds(3600),
            ),
            max_size=3,
        ),
        budgets=_BUDGETS,
        tools=st.dictionaries(_NAMES, _TOOLS, max_size=3),
        loops=st.builds(
            LoopTerms,
            same_call=_whole(2, 1000),
            cycle_repeats=_whole(2, 1000),
            same_error=_whole(2, 1000),
            stale_steps=_whole(2, 1000),
        ),
        output=st.builds(
            OutputTerms,
            attempts=_whole(1, 10),
            escalate_to=_optional(st.text(_TEXT, min_size=1, max_size=20)),
        ),
        conversation=st.builds(
            ConversationTerms,
            keep_messages=_whole(1, 10_000),
            keep_tokens=_whole(1, 10_000_000),
            summarise=st.booleans(),
        ),
    )


def yaml_of(contract: Contract) -> str:
    """A contract as another program would write it."""
    library: Any = YAML(typ="safe", pure=True)
    library.default_flow_style = False
    library.representer.add_representer(Decimal, _amount)
    library.representer.add_representer(float, lambda dumper, value: _number(dumper, repr(value)))
    stream = StringIO()
    library.dump(contract.model_dump(mode="python"), stream)
    return stream.getvalue()


def _amount(dumper: Any, amount: Decimal) -> Any:
    return _number(dumper, f"{amount:f}")


def _number(dumper: Any, text: str) -> Any:
    kind = "int" if text.isdecimal() else "float"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{kind}", text)
