"""What is allowed and probably a mistake is a warning with a place, and what is fine is not."""

from __future__ import annotations

import pytest

from interlock.contract import examine

PRICED = "prices: {m: {input_usd_per_million: 1, output_usd_per_million: 10}}"
MODEL = "model: {name: m, max_output_tokens: 100000}"


@pytest.mark.parametrize(
    ("text", "line", "column", "field", "code"),
    [
        (f"{MODEL}\nbudgets: {{run: {{tokens: 100000}}}}", 3, 25, "budgets.run.tokens",
         "budget_below_call"),
        ("budgets: {run: {seconds: 59.9}}", 2, 26, "budgets.run.seconds", "budget_below_call"),
        (f"{MODEL}\n{PRICED}\nbudgets: {{run: {{usd: 0.99}}}}", 4, 22, "budgets.run.usd",
         "budget_below_call"),
        (f"{MODEL}\n{PRICED}\nbudgets: {{tenant_day: {{usd: 0}}}}", 4, 29,
         "budgets.tenant_day.usd", "budget_below_call"),
        ("budgets: {run: {usd: 5}, agent_day: {usd: 4}}", 2, 22, "budgets.run.usd",
         "budget_order"),
        ("budgets: {run: {usd: 5}, tenant_day: {usd: 4}}", 2, 22, "budgets.run.usd",
         "budget_order"),
        ("model: {name: mine}\nbudgets: {run: {usd: 5}}", 2, 15, "model.name", "unpriced_model"),
        ("model: {name: 'a:b', fallbacks: [c:d, mine]}\nbudgets: {agent_day: {usd: 5}}", 2, 39,
         "model.fallbacks[1]", "unpriced_model"),
        ("model: {name: openai:x}\nproviders: {opnai: {}}", 3, 20, "providers.opnai",
         "unknown_provider"),
    ],
)  # fmt: skip
def test_a_doubt_is_a_warning(text: str, line: int, column: int, field: str, code: str) -> None:
    examined = examine(f"agent: a\n{text}\n")
    assert examined.contract is not None
    (finding,) = examined.findings
    assert (finding.severity, finding.code, finding.field) == ("warning", code, field)
    assert finding.place == (line, column)
    assert finding.allowed


@pytest.mark.parametrize(
    "text",
    [
        f"{MODEL}\n{PRICED}\nbudgets: {{run: {{usd: 1, tokens: 100001}}}}",
        "budgets: {run: {usd: 5, seconds: 60}, agent_day: {usd: 5}, tenant_day: {usd: 5}}",
        "model: {name: mine}",
        "model: {name: openai:x}\nproviders: {anthropic: {}, openai: {}}",
    ],
)
def test_what_is_fine_has_no_warning(text: str) -> None:
    assert examine(f"agent: a\n{text}\n").findings == ()
