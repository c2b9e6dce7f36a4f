"""A contract in plain words says what its fields say."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from interlock.contract import Contract, parse_contract
from interlock.contract.summary import duration, money, summary
from tests.support.contracts import contracts


def said(contract: Contract) -> str:
    """The whole summary as one text."""
    return "\n".join(line for chapter in summary(contract) for line in chapter.sentences)


def test_it_tells_a_business_owner_what_is_allowed() -> None:
    text = said(
        parse_contract("""
agent: faq
purpose: Answers questions.
model: {name: openai:gpt-5.2, fallbacks: [a:b, c:d], attempts: 1}
providers: {openai: {requests_per_minute: 1, tokens_per_minute: 200000}}
budgets: {run: {usd: 0.5, tokens: 50000, model_calls: 1, tool_calls: null, seconds: 300},
          agent_day: {usd: 20}}
tools:
  look: {effect: read, timeout_seconds: 90}
  mail: {effect: write, recovery: never}
  save: {effect: write, recovery: repeatable}
  ask_expert: {effect: delegate}
output: {escalate_to: support}
conversation: {summarise: true}
""")
    )
    for sentence in (
        "Answers questions.",
        "It asks openai:gpt-5.2.",
        "When that fails after 1 attempt, it asks a:b, then c:d.",
        "One request takes 1 minute and answers 4,096 tokens at most.",
        "openai is sent at most 1 request and 200,000 tokens a minute; more waits its turn.",
        "One run: at most $0.50, 50,000 tokens, 1 model call and 5 minutes of calls.",
        "All runs of this agent: at most $20 in a day (UTC).",
        "All runs of a tenant, whichever agent: no limit in a day (UTC).",
        "A call that does not fit into every budget is not made: the run pauses",
        "look reads and changes nothing. It takes at most 90 seconds.",
        "mail changes something outside. When nobody knows whether it happened, it is not repeated",
        "save changes something outside. When nobody knows whether it happened, it is done again",
        "ask_expert asks another agent",
        "Then support is asked, through the inbox.",
        "what is older is summed up by a model",
    ):
        assert sentence in text


def test_it_says_what_is_not_limited() -> None:
    text = said(parse_contract("agent: a\nbudgets: {run: {model_calls: null, tool_calls: null}}"))
    assert "One run: no limit." in text
    assert "No amount of money is set for a run." in text
    assert "the model that its code names" in text
    assert "Then a person is asked, through the inbox" in text


@given(contract=contracts())
def test_every_contract_can_be_told(contract: Contract) -> None:
    text = said(contract)
    assert all(name in text for name in contract.tools)


@pytest.mark.parametrize(
    ("usd", "words"),
    [("0.5", "$0.50"), ("20", "$20"), ("1000.25", "$1,000.25"), ("0.000125", "$0.000125")],
)
def test_money_in_words(usd: str, words: str) -> None:
    assert money(Decimal(usd)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "0.5 seconds"),
        (1, "1 second"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (7200, "2 hours"),
        (86_400, "1 day"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
