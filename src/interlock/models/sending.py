"""One request to a model as it leaves the process: on the host, outside of the run's code.

The provider's library makes no retries of its own: each attempt is the run's, recorded, with its
own hold. What comes back is written as JSON once, and the run reads that, live and on replay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from pydantic_ai.durable_exec import DurableOperation, ModelRequestParams
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_core import to_json

from interlock.contract import Contract
from interlock.limits.prices import Price, Usage, cost_micro_usd
from interlock.models.failure import send_failure
from interlock.models.operations import Answer
from interlock.models.registry import Candidate

__all__ = ["can_stream", "sender", "with_bounds"]


def with_bounds(
    settings: ModelSettings | None, contract: Contract, *, limited: bool
) -> ModelSettings:
    """A request's settings with the contract's, its time limit, and no hidden retries.

    An answer's length is bounded where the contract says so, or where a budget has to hold it.
    """
    terms = contract.model
    given: dict[str, Any] = {**(settings or {}), **terms.settings}
    given["max_retries"] = 0
    given.setdefault("timeout", terms.timeout_seconds)
    if "max_output_tokens" in terms.model_fields_set or (limited and "max_tokens" not in given):
        given["max_tokens"] = terms.max_output_tokens
    return cast("ModelSettings", given)


def sender(
    operation: DurableOperation[Any, Any, Any],
    streaming: DurableOperation[Any, Any, Any] | None,
    params: ModelRequestParams,
    candidate: Candidate,
    price: Price | None,
    followed: Callable[[], bool],
) -> Callable[[], Awaitable[Answer]]:
    """The function that asks the candidate, once. `params` names it as Pydantic AI knows it."""

    async def send() -> Answer:
        stream = streaming is not None and followed() and can_stream(candidate.model)
        handler = streaming.handler if streaming is not None and stream else operation.handler
        try:
            response = cast("ModelResponse", await handler(params))
        except Exception as error:
            raise send_failure(error) from error
        return _answer(operation, response, price)

    return send


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
    return Answer(
        response=to_json(operation.result_codec.dump(response)),
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cost_micro_usd=None if price is None else cost_micro_usd(price, usage),
        measured=bool(used.input_tokens or used.output_tokens),
    )


def can_stream(model: Model) -> bool:
    """Whether a model's answer can be shown while it comes in."""
    while isinstance(model, WrapperModel):
        model = model.wrapped
    if isinstance(model, FunctionModel):
        return model.stream_function is not None
    return type(model).request_stream is not Model.request_stream
