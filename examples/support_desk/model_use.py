"""What a model was used for, read from the journal's record of its answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from interlock.journal.event import Event
from interlock.journal.store import Store

from .decider import OFFLINE, NearestExamples

__all__ = ["ModelUse", "read_model_use"]

_PAGE_EVENTS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class ModelUse:
    """How often a model answered, with how many tokens, and what that cost.

    Answers that did not fit count like others. `cost_usd` is None where nobody knows a price.
    """

    model: str
    answers: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None

    def sentence(self) -> str:
        """Which model decided and, for one that is paid, what it took."""
        if self.model == OFFLINE:
            return f"Decided by {NearestExamples.method}."
        cost = "an unknown price" if self.cost_usd is None else f"${self.cost_usd:,.4f}"
        return (
            f"Decided by the model {self.model}: {self.answers:,} answers, {self.input_tokens:,} "
            f"tokens in, {self.output_tokens:,} out, {cost}."
        )


def read_model_use(store: Store, model: str) -> ModelUse:
    """What `model` was used for by all runs of a store."""
    answers = [e.header for e in _events(store) if _is_answer(e, model)]
    costs = [header["cost_micro_usd"] for header in answers]
    known = [cost for cost in costs if cost is not None]
    return ModelUse(
        model=model,
        answers=len(answers),
        input_tokens=sum(header["input_tokens"] for header in answers),
        output_tokens=sum(header["output_tokens"] for header in answers),
        cost_usd=Decimal(sum(known)) / 1_000_000 if len(known) == len(costs) else None,
    )


def _is_answer(event: Event, model: str) -> bool:
    return event.kind == "model_answered" and event.header["model"] == model


def _events(store: Store) -> Iterator[Event]:
    position = 0
    while page := store.scan(position, _PAGE_EVENTS):
        yield from page
        position = page[-1].position
