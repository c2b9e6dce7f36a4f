"""When a rule applies: everything that is stated about the request must hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field, field_validator

from interlock.testing.simulated_model.request import Request

__all__ = ["When"]


class When(BaseModel):
    """A condition on a request; what is not stated is not asked. Texts are compared with case.

    `turn` is the number of assistant messages so far; a caller that drops an empty answer from its
    history, as Pydantic AI does, stays on the same turn. `has_result_of` names tools that all have
    answered somewhere in the conversation, `lacks_result_of` tools of which none has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = None
    turn: int | None = Field(default=None, ge=0)
    user_contains: str | None = Field(default=None, description="in the last user message")
    user_matches: str | None = Field(
        default=None, description="a regular expression, searched in the last user message"
    )
    instructions_contain: str | None = Field(
        default=None, description="in the system or developer messages"
    )
    has_result_of: tuple[str, ...] = ()
    lacks_result_of: tuple[str, ...] = ()
    result_contains: str | None = Field(default=None, description="in any tool's answer")
    offers: str | None = Field(default=None, description="a tool that the request offers")
    headers: dict[str, str] = Field(
        default_factory=dict[str, str], description="exact values of request headers"
    )
    streaming: bool | None = None

    @field_validator("user_matches")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    def holds(self, request: Request) -> bool:
        """Whether everything stated is true of the request."""
        return all(self._answers(request))

    def _answers(self, request: Request) -> Iterator[bool]:
        yield self.model in (None, request.model)
        yield self.turn in (None, request.turn)
        yield self.streaming in (None, request.streaming)
        yield self.offers is None or self.offers in request.tools
        yield self._texts_fit(request)
        yield self._results_fit(request)
        yield all(request.headers.get(n.lower()) == v for n, v in self.headers.items())

    def _texts_fit(self, request: Request) -> bool:
        return (
            (self.user_contains or "") in request.user_text
            and (self.instructions_contain or "") in request.instructions
            and (self.user_matches is None or bool(re.search(self.user_matches, request.user_text)))
        )

    def _results_fit(self, request: Request) -> bool:
        answered = {result.tool for result in request.tool_results}
        said = self.result_contains
        return (
            answered.issuperset(self.has_result_of)
            and answered.isdisjoint(self.lacks_result_of)
            and (said is None or any(said in result.text for result in request.tool_results))
        )
