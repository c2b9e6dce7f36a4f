"""One request to a model as it leaves the process: on the host, outside of the run's code.

The provider's library makes no retries of its own: each attempt is the run's, recorded, with its
own hold. What comes back is written as JSON once, and the run reads that, live and on replay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from pydantic_ai.durable_exec import DurableOperation, ModelRequestParams, durable_unit_scope
from pydantic_ai.messages import ModelResponse, ModelResponseStreamEvent
from pydantic_ai.models import Model
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_core import to_json

from interlock.contract import Contract
from interlock.errors import DeclarationError
from interlock.limits.prices import Price, Usage, cost_micro_usd
from interlock.models.failure import send_failure
from interlock.models.operations import Answer
from interlock.models.registry import Candidate

__all__ = ["Show", "can_stream", "sender", "with_bounds"]

# What providers call the length and the number of answers.
_BOUNDS = frozenset(
    {"best_of", "max_completion_tokens", "max_output_tokens", "max_tokens", "n", "num_predict"}
)
# Called with each piece of one answer, and with None when no more comes.
Show = Callable[[ModelResponseStreamEvent | None], None]


def with_bounds(
    settings: ModelSettings | None, contract: Contract, *, limited: bool
) -> ModelSettings:
    """A request's settings with the contract's, its time limit, and no hidden retries.

    An answer's length is bounded where the contract says so, or where a budget has to hold it.
    Raises `DeclarationError` for settings that would undo that bound.
    """
    terms = contract.model
    given: dict[str, Any] = {**(settings or {}), **terms.settings}
    given["max_retries"] = 0
    given.setdefault("timeout", terms.timeout_seconds)
    bounded = given.get("max_tokens") is not None
    if "max_output_tokens" in terms.model_fields_set or (limited and not bounded):
        given["max_tokens"] = terms.max_output_tokens
    if limited:
        _refuse_unbounded(given.get("extra_body"), contract)
    return cast("ModelSettings", given)


def _refuse_unbounded(extra: object, contract: Contract) -> None:
    """What goes to the provider as it is must not ask for more than is held."""
    if isinstance(extra, dict):
        undone = sorted(_BOUNDS.intersection(cast("dict[str, Any]", extra)))
        if undone:
            raise DeclarationError(
                f"the agent of contract {contract.agent!r} sets {undone} in extra_body, which a "
                "budget cannot see. Say model.max_output_tokens in the contract instead; several "
                "answers to one request are not supported under a budget."
            )


def sender(
    operation: DurableOperation[Any, Any, Any],
    asked: ModelRequestParams,
    candidate: Candidate,
    price: Price | None,
    show: Callable[[], Show | None],
) -> Callable[[], Awaitable[Answer]]:
    """The function that asks the candidate, once.

    `show` is looked at when the request leaves: who follows the run is shown the answer while it
    comes in.
    """

    async def send() -> Answer:
        try:
            response = await _ask(_serving(candidate.model, asked), asked, show())
        except Exception as error:
            raise send_failure(error) from error
        return _answer(operation, response, price)

    return send


def _serving(model: Model, asked: ModelRequestParams) -> Model:
    """The model as the agent's capabilities want it wrapped."""
    capability = asked.run_context.root_capability
    wrapped = None if capability is None else capability.get_wrapper_model(model)
    return wrapped or model


async def _ask(model: Model, asked: ModelRequestParams, show: Show | None) -> ModelResponse:
    what = (asked.messages, asked.model_settings, asked.model_request_parameters)
    with durable_unit_scope():
        if show is None or not can_stream(model):
            return await model.request(*what)
        async with model.request_stream(*what, asked.run_context) as stream:
            try:
                async for event in stream:
                    show(event)
            finally:
                show(None)
        # Read when it is closed, for what closing it filled in.
        return stream.get()


def _answer(
    operation: DurableOperation[Any, Any, Any], response: ModelResponse, price: Price | None
) -> Answer:
    used = response.usage
    usage = Usage(
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cache_read_tokens=used.cache_read_tokens,
        cache_write_tokens=used.cache_write_tokens,
    )
    measured = bool(used.input_tokens or used.output_tokens)
    # Where nothing was counted nobody knows what it cost: that is not 0.
    cost = cost_micro_usd(price, usage) if measured and price is not None else None
    return Answer(
        response=to_json(operation.result_codec.dump(response)),
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cost_micro_usd=cost,
        measured=measured,
    )


def can_stream(model: Model) -> bool:
    """Whether a model's answer can be shown while it comes in."""
    while isinstance(model, WrapperModel):
        model = model.wrapped
    if isinstance(model, FunctionModel):
        return model.stream_function is not None
    return type(model).request_stream is not Model.request_stream
