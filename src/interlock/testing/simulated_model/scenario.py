"""The script of a simulated model: rules, turns, and what holds for all of it.

Which reply a request gets depends on the request alone, so that a repetition, or a caller that was
restarted, gets the same answer. Only a rule with `times` counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from interlock.testing.simulated_model.condition import When
from interlock.testing.simulated_model.reply import Reply
from interlock.testing.simulated_model.request import Request

__all__ = ["Respond", "Rule", "Scenario"]

Respond = Callable[[Request], Reply]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Frozen):
    """A condition and what the model does then; exactly one of `reply`, `loop` and `respond`.

    `loop` gives its replies in turn, for ever: by the number of the turn, so one reply is the same
    call again and again, and two are A-B-A-B. `respond` is a function, for tests of one process; it
    runs on the server's loop and must not block. What it raises is answered with status 400.

    With `times` the rule serves so many requests and is then passed over. `counted` says which:
    all that match, or each distinct request by itself ("the first attempt of each fails"). The
    counters live in the server and begin again with it.
    """

    name: str | None = None
    when: When = When()
    reply: Reply | None = None
    loop: tuple[Reply, ...] = ()
    respond: Respond | None = None
    times: int | None = Field(default=None, ge=1)
    counted: Literal["all", "each_request"] = "all"

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        given = [self.reply is not None, bool(self.loop), self.respond is not None]
        if sum(given) != 1:
            raise ValueError("a rule has exactly one of reply, loop and respond")
        if self.counted != "all" and self.times is None:
            raise ValueError("counted needs times")
        return self

    def answer(self, request: Request) -> Reply:
        """The reply of this rule to a request."""
        if self.respond is not None:
            return self.respond(request)
        if self.reply is not None:
            return self.reply
        return self.loop[request.turn % len(self.loop)]


class Scenario(_Frozen):
    """What a simulated model does: the first rule that holds, else the reply of the turn.

    `turns[n]` answers a request whose conversation has `n` assistant messages. A request for which
    there is neither is answered with status 400, which callers do not repeat, and says why.
    `models` are the models that exist; a request for another one is answered with 404. Empty, any
    name is answered. `obeying` makes every reply obey (see `Misbehaviour.obeying`).
    """

    rules: tuple[Rule, ...] = ()
    turns: tuple[Reply, ...] = ()
    models: tuple[str, ...] = ()
    obeying: bool = False

    @model_validator(mode="after")
    def _answers_something(self) -> Self:
        if not self.rules and not self.turns:
            raise ValueError("a scenario has rules or turns")
        return self

    @classmethod
    def of(cls, respond: Respond) -> Scenario:
        """A scenario that is one function."""
        return cls(rules=(Rule(name="function", respond=respond),))
