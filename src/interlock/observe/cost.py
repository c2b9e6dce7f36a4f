"""What a run has cost so far, read from its own events.

A request that was sent and got no answer may have been paid; what budgets counted for it is told
apart, since nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from interlock.journal.event import Entry, Event
from interlock.limits.amount import amount_text, unit_of

__all__ = ["CostView", "cost_in_words", "cost_view"]


class CostView(BaseModel):
    """What models have cost a run, its children not included. Money is exact, as text, in USD."""

    model_config = ConfigDict(frozen=True)

    model_calls: int = Field(description="requests that a model answered")
    failed_calls: int = Field(description="requests that were sent, and got no answer")
    input_tokens: int
    output_tokens: int
    usd: str = Field(description="what the answers cost whose price is known")
    unpriced_calls: int = Field(description="answers whose price nobody knows; not in usd")
    uncertain_usd: str = Field(
        description="what budgets counted for requests whose cost nobody knows; not in usd"
    )


@dataclass
class _Sum:
    answered: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unpriced: int = 0
    generation: int = 1
    # By generation and operation: what the answer cost, and what was counted as spent.
    paid: dict[tuple[int, str], int] = field(default_factory=dict[tuple[int, str], int])
    counted: dict[tuple[int, str], int] = field(default_factory=dict[tuple[int, str], int])

    def add(self, event: Event) -> None:
        """Count one event."""
        header = event.header
        match event.kind:
            case "model_answered":
                self._answer(event)
            case "model_attempt_failed":
                self.failed += int(bool(header.get("sent")))
            case "budget_settled" if unit_of(str(header.get("account"))) == "usd":
                # The accounts of one call in USD are all charged the same.
                at = (self.generation, event.key)
                self.counted[at] = max(int(header.get("amount") or 0), self.counted.get(at, 0))
            case "run_continued":
                self.generation += 1
            case _:
                pass

    def _answer(self, event: Event) -> None:
        self.answered += 1
        self.input_tokens += int(event.header.get("input_tokens") or 0)
        self.output_tokens += int(event.header.get("output_tokens") or 0)
        cost = event.header.get("cost_micro_usd")
        self.unpriced += int(cost is None)
        self.paid[self.generation, event.key] = int(cost or 0)

    def uncertain_micro_usd(self) -> int:
        """What was counted beyond what answers are known to have cost."""
        return sum(max(0, amount - self.paid.get(at, 0)) for at, amount in self.counted.items())


def cost_view(entries: Iterable[Entry]) -> CostView:
    """What a run's events say of its cost."""
    total = _Sum()
    for entry in entries:
        total.add(entry.event)
    return CostView(
        model_calls=total.answered,
        failed_calls=total.failed,
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
        usd=amount_text(sum(total.paid.values()), "usd"),
        unpriced_calls=total.unpriced,
        uncertain_usd=amount_text(total.uncertain_micro_usd(), "usd"),
    )


def cost_in_words(cost: CostView) -> str:
    """The cost as a sentence for a person; empty where no model was asked."""
    if not cost.model_calls and not cost.failed_calls:
        return ""
    tokens = f"{cost.input_tokens:,} tokens in and {cost.output_tokens:,} out"
    told = [_counted(cost.model_calls, "model call"), tokens]
    if cost.unpriced_calls and cost.unpriced_calls == cost.model_calls:
        told.append("at a price nobody knows")
    else:
        told.append(f"${cost.usd}")
        if cost.unpriced_calls:
            told.append(f"{_counted(cost.unpriced_calls, 'call')} at a price nobody knows")
    if cost.failed_calls:
        told.append(f"{_counted(cost.failed_calls, 'request')} sent without an answer")
    if cost.uncertain_usd != "0":
        told.append(f"${cost.uncertain_usd} counted for what nobody knows the cost of")
    return f"It cost {', '.join(told)}."


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
