"""Chooses the reply to a request, and keeps the only state that a scenario has: its counters."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, cast

from interlock.errors import InvalidInputError, NotFoundError
from interlock.testing.simulated_model.reply import Reply
from interlock.testing.simulated_model.request import Request
from interlock.testing.simulated_model.scenario import Rule, Scenario

__all__ = ["Choice", "Chooser"]


class Choice(NamedTuple):
    """A reply and the rule or turn that it comes from (`rule 0`, a rule's name, `turn 2`)."""

    source: str
    reply: Reply


class Chooser:
    """Applies a scenario. Not thread-safe: it belongs to the server's loop."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._served: Counter[tuple[int, str]] = Counter()

    def choose(self, request: Request) -> Choice:
        """The reply to a request.

        Raises `NotFoundError` for a model that does not exist, and `InvalidInputError` when the
        scenario has no reply or its function fails.
        """
        models = self._scenario.models
        if models and request.model not in models:
            raise NotFoundError(
                f"the model {request.model!r} does not exist; there are {', '.join(models)}.",
                model=request.model,
            )
        for index, rule in enumerate(self._scenario.rules):
            if rule.when.holds(request) and self._serves(index, rule, request):
                source = rule.name or f"rule {index}"
                return Choice(source, _answer(rule, source, request))
        if request.turn < len(self._scenario.turns):
            return Choice(f"turn {request.turn}", self._scenario.turns[request.turn])
        raise InvalidInputError(
            f"the scenario has no reply: no rule holds for model {request.model!r}, turn "
            f"{request.turn}, last user message {request.user_text[:80]!r}, and it has "
            f"{len(self._scenario.turns)} turns. Add a rule without conditions to answer the rest.",
            turn=request.turn,
        )

    def _serves(self, index: int, rule: Rule, request: Request) -> bool:
        if rule.times is None:
            return True
        counter = (index, request.digest if rule.counted == "each_request" else "")
        self._served[counter] += 1
        return self._served[counter] <= rule.times


def _answer(rule: Rule, source: str, request: Request) -> Reply:
    try:
        reply = cast("object", rule.answer(request))
    except Exception as error:
        raise InvalidInputError(
            f"the function of {source} failed: {type(error).__name__}: {error}."
        ) from error
    if not isinstance(reply, Reply):
        raise InvalidInputError(
            f"the function of {source} answered {type(reply).__name__}, and a Reply is needed."
        )
    return reply
