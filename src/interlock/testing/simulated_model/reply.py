"""What the model is to say: text, tool calls or a structured output, and how it misbehaves."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from interlock.testing.simulated_model.misbehaviour import Misbehaviour

__all__ = ["Reply", "ToolCall", "Usage"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolCall(_Frozen):
    """A tool to call. Nothing checks that it is offered; the caller has to."""

    name: str = Field(min_length=1)
    arguments: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class Usage(_Frozen):
    """Tokens to report and to bill. Cached tokens are among the prompt's, reasoning tokens among
    the completion's.
    """

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    cached_tokens: int = Field(default=0, ge=0)
    reasoning_tokens: int = Field(default=0, ge=0)

    @property
    def total_tokens(self) -> int:
        """Prompt and completion."""
        return self.prompt_tokens + self.completion_tokens


class Reply(_Frozen):
    """One answer.

    `output` is structured: it is given in the way that the request asks for, as the text of a
    `response_format`, as a call of `output_tool`, of the offered tool whose name begins with
    `final_result` (Pydantic AI's name), or else as text. `usage` is computed from sizes when it is
    not given. Text may stand beside tool calls and beside an output that is a tool call.
    """

    text: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    output: JsonValue = None
    output_tool: str | None = None
    usage: Usage | None = None
    misbehaviour: Misbehaviour = Misbehaviour()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        says = self.text is not None or self.tool_calls or self.output is not None
        calls = self.misbehaviour.invented_tool is not None
        if not says and not calls and self.misbehaviour.gives_content:
            raise ValueError(
                "a reply needs a text, tool_calls or an output, or a misbehaviour that has none "
                "(status, empty, hangs, closed_before_answer)"
            )
        if self.output_tool is not None and self.output is None:
            raise ValueError("output_tool needs an output")
        return self
