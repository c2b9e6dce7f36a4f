"""A Pydantic AI agent as an agent of the application: the function that asks it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.errors import PydanticUserError

from interlock.errors import BudgetExhaustedError, DeclarationError
from interlock.tools.tool import Tool

if TYPE_CHECKING:
    from pydantic_ai import Agent as PydanticAgent

    from interlock.orchestrator.run import Run

__all__ = ["AskInput", "deployed_function"]


class AskInput(BaseModel):
    """What a run of a deployed agent is given, where a text alone is not enough."""

    model_config = ConfigDict(extra="forbid")

    prompt: str
    conversation: str | None = None


def deployed_function(
    agent: PydanticAgent[Any, Any],
    name: str,
    tools: Sequence[Tool[..., Any]],
    deps: Callable[[Run], Any] | None,
) -> Callable[..., Awaitable[Any]]:
    """An agent's function that asks `agent` what its input says.

    When its budget is exhausted and a person says to finish, an agent that answers a text answers
    the last one that it has said, with outcome `unfinished`; any other fails.
    """
    given, answers = _input_type(agent, deps), _output_type(agent)

    async def ask(run: Any, input: Any) -> Any:
        asked = given(prompt=input) if isinstance(input, str) else input
        try:
            return await run.ask(
                agent,
                asked.prompt,
                tools=tools,
                deps=deps(run) if deps is not None else getattr(asked, "deps", None),
                conversation=asked.conversation,
                name=name,
            )
        except BudgetExhaustedError as error:
            # A person said to finish with what there is, which is what the agent has said so far.
            if answers is not str or not error.so_far:
                raise
            run.outcome("unfinished")
            return error.so_far

    ask.__name__ = name
    # Dependencies cannot come with a text alone.
    taken = str | given if given is AskInput else given
    ask.__annotations__ = {"run": Any, "input": taken, "return": answers}
    return ask


def _input_type(
    agent: PydanticAgent[Any, Any], deps: Callable[[Run], Any] | None
) -> type[AskInput]:
    wanted: Any = agent.deps_type
    if deps is not None or wanted in (object, type(None)):
        return AskInput
    try:
        return create_model("AskInputWithDeps", __base__=AskInput, deps=(wanted, ...))
    except PydanticUserError as error:
        raise DeclarationError(
            f"dependencies of type {wanted!r} cannot come with a run's input, which is JSON. Make "
            "them for each run: app.deploy(…, deps=lambda run: …)."
        ) from error


def _output_type(agent: PydanticAgent[Any, Any]) -> Any:
    """The agent's declared type where it is one; a choice or a function may answer anything."""
    declared: Any = agent.output_type
    return declared if isinstance(declared, type) else Any
