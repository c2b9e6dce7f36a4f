"""A contract is one frozen value, with one hash, however it came about."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from interlock.base.codec import codec_for
from interlock.contract import Budget, Contract, ModelTerms, Price, ToolTerms
from tests.support.contracts import contracts


def test_a_name_is_enough_and_then_calls_are_bounded_and_money_is_not() -> None:
    contract = Contract(agent="faq")
    run = contract.budgets.run
    assert (run.model_calls, run.tool_calls, run.usd, run.tokens) == (None, None, None, None)
    assert contract.model.names() == ()


def test_it_cannot_be_changed_and_is_a_key() -> None:
    contract = Contract(agent="faq")
    with pytest.raises(ValidationError):
        contract.agent = "other"
    assert {contract: 1}[Contract(agent="faq")] == 1


def test_the_hash_is_of_what_it_says_not_of_how_it_is_written() -> None:
    one = Contract(agent="a", prices={"x": price("1.50", "10")})
    other = Contract(agent="a", prices={"x": price("1.500", "1e1")})
    assert one == other
    assert one.hash == other.hash
    assert one.hash != Contract(agent="a", prices={"x": price("1.51", "10")}).hash
    assert len(one.hash) == 64


def price(given_in: str, given_out: str) -> Price:
    """A price of two decimals."""
    return Price(input_usd_per_million=Decimal(given_in), output_usd_per_million=Decimal(given_out))


def test_money_is_decimal_and_a_text_in_json() -> None:
    budget = Budget.model_validate({"usd": 20})
    assert budget.usd == Decimal(20)
    assert isinstance(budget.usd, Decimal)
    assert budget.model_dump(mode="json")["usd"] == "20"
    assert Budget(usd=Decimal("0.10")).model_dump(mode="json")["usd"] == "0.1"
    for wrong in (0.5, "0.5", True, Decimal("NaN"), Decimal("Infinity"), Decimal(-1), -1):
        with pytest.raises(ValidationError):
            Budget.model_validate({"usd": wrong})


def test_a_price_is_exact() -> None:
    assert price("1.25", "10").of(input_tokens=1000, output_tokens=3) == Decimal("0.00128")


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (ToolTerms, {"effect": "write"}, "recovery"),
        (ToolTerms, {"effect": "delegate", "recovery": "never"}, "a delegate has no recovery"),
        (ModelTerms, {"fallbacks": ("a",)}, "no model to fall back from"),
        (ModelTerms, {"name": "a", "fallbacks": ("a",)}, "'a' was asked before"),
        (ModelTerms, {"settings": {"max_tokens": 5}}, "model.max_output_tokens"),
        (ModelTerms, {"settings": {"x": float("nan")}}, "not finite"),
        (ModelTerms, {"timeout_seconds": "60"}, "number"),
        (ModelTerms, {"unknown": 1}, "Extra inputs"),
    ],
)
def test_the_rules_hold_in_python_too(kind: Any, values: dict[str, Any], says: str) -> None:
    if says == "recovery":
        says = "what happens when nobody knows"
    with pytest.raises(ValidationError, match=says):
        kind(**values)


@given(contract=contracts())
def test_a_recorded_contract_reads_back_as_the_same(contract: Contract) -> None:
    codec = codec_for(Contract)
    again = codec.decode(codec.encode(contract, "the contract"), "the contract")
    assert again == contract
    assert again.hash == contract.hash
    written = json.dumps(contract.as_json()).encode()
    assert codec.decode(written, "the contract") == contract
