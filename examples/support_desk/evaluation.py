"""Measures a decider on labelled messages: how often it is right, and when it knows."""

from collections.abc import Sequence
from dataclasses import dataclass

from .decider import NearestExamples
from .labelled import Labelled

__all__ = ["Coverage", "Evaluation", "evaluate"]

_SHARES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The `messages` a decider is surest of, a `share` of all, and how many are right.

    `floor` is the lowest confidence among them.
    """

    share: float
    messages: int
    accuracy: float
    floor: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was decided about labelled messages, from the surest to the least sure."""

    outcomes: tuple[tuple[float, bool], ...]

    @property
    def accuracy(self) -> float:
        """The share of all messages that were decided rightly."""
        return self.at(1.0).accuracy

    def at(self, share: float) -> Coverage:
        """The surest `share` of the messages, above 0 and at most 1; at least one message."""
        count = max(1, round(share * len(self.outcomes)))
        surest = self.outcomes[:count]
        right = sum(correct for _, correct in surest)
        return Coverage(share=share, messages=count, accuracy=right / count, floor=surest[-1][0])

    def table(self) -> list[Coverage]:
        """Coverage against accuracy, from the surest 30 % to all."""
        return [self.at(share) for share in _SHARES]


def evaluate(decider: NearestExamples, messages: Sequence[Labelled]) -> Evaluation:
    """Decide every message and compare with its label. Needs at least one message."""
    outcomes = [_outcome(decider, message) for message in messages]
    return Evaluation(outcomes=tuple(sorted(outcomes, key=lambda outcome: -outcome[0])))


def _outcome(decider: NearestExamples, message: Labelled) -> tuple[float, bool]:
    decision = decider.decide(message.text)
    return decision.confidence, decision.category == message.category
