"""What can go wrong with an answer, each as a named option; options compose.

Some decide how the connection ends and exclude each other: `status`, `closed_before_answer`,
`cut_after_chunks`, `hangs`, `answers_after_caller_left`.
"""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Misbehaviour"]

_MAX_SECONDS: Final = 3600
_ENDINGS: Final = (
    "status",
    "closed_before_answer",
    "cut_after_chunks",
    "hangs",
    "answers_after_caller_left",
)


class Misbehaviour(BaseModel):
    """How an answer departs from the one that the reply describes. Nothing, by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_seconds: float = Field(
        default=0, ge=0, le=_MAX_SECONDS, description="before the first byte"
    )
    chunk_seconds: float = Field(
        default=0, ge=0, le=_MAX_SECONDS, description="between two chunks of a stream"
    )
    status: int | None = Field(
        default=None, ge=400, le=599, description="an error with this HTTP status, and no answer"
    )
    retry_after_seconds: int | None = Field(
        default=None, ge=0, description="`Retry-After` of that error"
    )
    retry_after_as: Literal["seconds", "date"] = Field(
        default="seconds", description="the form of `Retry-After` (RFC 9110, 10.2.3)"
    )
    closed_before_answer: bool = Field(
        default=False, description="the connection closes without a byte"
    )
    cut_after_chunks: int | None = Field(
        default=None,
        ge=0,
        description="the connection closes after so many chunks of a stream; after 0, only the head"
        " of the response was sent. Without a stream, 1 or more cuts within the body",
    )
    hangs: bool = Field(default=False, description="no answer ever, until the caller leaves")
    answers_after_caller_left: bool = Field(
        default=False, description="waits until the caller has left, and then answers and bills"
    )
    malformed_body: bool = Field(
        default=False, description="the body, or the second half of a stream, is no JSON"
    )
    malformed_arguments: bool = Field(
        default=False, description="the arguments of each tool call are no JSON"
    )
    wrong_types: bool = Field(
        default=False, description="each argument, and each field of an output, has another type"
    )
    invented_tool: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="also calls a tool of this name, made longer until nobody offers it",
    )
    ignores_schema: bool = Field(
        default=False, description="an output is a list of text, whatever its schema says"
    )
    empty: bool = Field(default=False, description="neither text nor tool calls")
    out_of_tokens: bool = Field(
        default=False, description="ends in the middle, with the finish reason `length`"
    )
    usage_missing: bool = Field(
        default=False, description="does not say what it cost; it is billed"
    )
    obeying: bool = Field(
        default=False,
        description="makes the calls that fresh tool results tell it to (`CALL tool {json}`),"
        " offered or not, instead of the reply",
    )
    billed: bool | None = Field(
        default=None,
        description="whether the caller pays; without it, for every answer of which a byte may have"
        " been sent, and for `answers_after_caller_left`",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # `is`, since a cut after 0 chunks is chosen, and 0 equals False.
        given = {name: getattr(self, name) for name in _ENDINGS}
        chosen = [name for name, value in given.items() if value is not None and value is not False]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other: choose one")
        if self.retry_after_seconds is not None and self.status is None:
            raise ValueError("retry_after_seconds needs a status, such as 429")
        return self

    @property
    def is_billed(self) -> bool:
        """Whether the caller pays for the answer."""
        if self.billed is not None:
            return self.billed
        return self.status is None and not self.closed_before_answer and not self.hangs

    @property
    def gives_content(self) -> bool:
        """Whether there is an answer whose content could matter."""
        return self.status is None and not (self.closed_before_answer or self.hangs or self.empty)
