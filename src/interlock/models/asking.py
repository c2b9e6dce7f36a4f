"""One ask under way: everything that Pydantic AI's loop wants done outside passes through here.

It is the code of a run: it computes, and leaves what is outside to the run's operations. A request
to a model is tried on each model that the contract names, each attempt an operation with a hold of
its own; a function tool becomes an effect or a read by the contract's rule; loops are watched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

from pydantic_ai.durable_exec import DurableOperation, ModelRequestParams, ToolsetCallToolParams
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import Model
from pydantic_ai.native_tools import MCPServerTool
from pydantic_ai.tools import RunContext
from pydantic_ai.toolsets import ToolsetTool
from pydantic_core import to_json, to_jsonable_python

from interlock.base.codec import check_size
from interlock.contract import Contract
from interlock.errors import (
    DeclarationError,
    EffectFailedError,
    InvalidInputError,
    LoopFoundError,
    ModelFailedError,
    StepFailedError,
)
from interlock.limits.budget import Spent, WorstCase
from interlock.models.loops import Loop, LoopWatch
from interlock.models.operations import Attempt, Called, Held, Operations, Outcome
from interlock.models.registry import Candidate, ModelRegistry
from interlock.models.rules import ToolRule, loop_limits_of, rule_for, tool_for
from interlock.models.sealing import sealed_message
from interlock.models.sending import Show, sender, with_bounds
from interlock.models.spending import Spending
from interlock.models.transcript import Said, Transcript
from interlock.tools.autonomy import lowered
from interlock.tools.masking.sealed import sealed_arguments, sealed_tool
from interlock.tools.masking.vault import RunVault
from interlock.tools.tool import Tool

__all__ = ["Asking"]

_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=1)
# Attempts that a process has not survived, beside those that the contract allows.
_MOST_INTERRUPTED = 5
_MOST_SAID_BYTES = 900_000
# How Pydantic AI records what became of a call (`CallToolResult`).
_FORMS = frozenset(
    {
        "approval_required",
        "call_deferred",
        "model_retry",
        "run_cancelled",
        "tool_content_result",
        "tool_failed",
        "tool_return",
        "validation_error",
    }
)
# Searches what the agent itself offers.
_HARMLESS = frozenset({"tool_search"})


class Asking:
    """One ask: which models it may ask, what it may spend, what it has said and called so far."""

    def __init__(
        self,
        operations: Operations,
        contract: Contract,
        registry: ModelRegistry,
        candidates: Sequence[Candidate],
        *,
        agent: object,
        name: str,
        history: Sequence[ModelMessage] = (),
    ) -> None:
        self.operations = operations
        self.contract = contract
        self.spending = Spending(operations, contract)
        self._registry = registry
        self._candidates = candidates
        self._agent = agent
        self._name = name
        self._history = history
        self._loops = LoopWatch(loop_limits_of(contract))
        self._transcripts: dict[str, Transcript] = {}
        self._id = operations.new_id()
        self._runs = 0
        self._turn = 0
        self.vault = operations.vault()
        self._sealings: dict[int, tuple[ModelMessage, ModelMessage]] = {}
        # The writes of this ask that are made: another try may make them again.
        self.made: list[str] = []

    def next_run_id(self) -> str:
        """An id for a run of Pydantic AI's loop, the same at every replay."""
        self._runs += 1
        return f"{self._id}:{self._runs}"

    def model_named(self, name: str) -> Model | None:
        """A model that may answer, by its name here."""
        found = (one.model for one in self._candidates if one.name == name)
        return next(found, None)

    def _show(self) -> Show | None:
        """What shows one answer while it comes in, or None when nobody follows the run."""
        if not self.operations.followed():
            return None
        stream, piece = self.operations.new_stream(), 0

        def show(event: ModelResponseStreamEvent | None) -> None:
            nonlocal piece
            text = _text_of(event)
            if text or event is None:
                about = {"kind": "model_text", "ask": self._name, "stream": stream, "piece": piece}
                self.operations.publish({**about, "text": text, "last": event is None})
                piece += 1

        return show

    # Asking models.

    async def request(
        self, operation: DurableOperation[Any, Any, Any], params: ModelRequestParams
    ) -> ModelResponse:
        """Ask the models in order until one answers. Raises `ModelFailedError` when none does."""
        self._refuse_native_tools(params)
        if self.vault is not None:
            params = replace(params, messages=self._sealed(params.messages))
        transcript = self._transcript(params.run_context)
        said = transcript.advance(params.messages)
        # Before it is paid for: what was said is recorded together with the answer to it.
        check_size(said.new, f"what {self._name!r} tells the model", _MOST_SAID_BYTES)
        self._turn += 1
        reasons: list[str] = []
        types: tuple[str, ...] = ()
        for candidate in self._asked_by(params):
            outcome = await self._ask_one(operation, params, said, candidate)
            if outcome.kind == "answered":
                payload = json.loads(outcome.response)
                response = cast("ModelResponse", operation.result_codec.load(payload))
                transcript.answered(response)
                return response
            reasons.append(f"{candidate.name}: {outcome.reason}")
            types = outcome.error_types
        raise ModelFailedError(
            f"no model answered {self._name!r}: {'; '.join(reasons)}", error_types=types
        )

    def _sealed(self, messages: Sequence[ModelMessage]) -> list[ModelMessage]:
        """The messages as the model sees them; each is sealed once."""
        vault = cast("RunVault", self.vault)
        for message in messages:
            if id(message) not in self._sealings:
                # The message is kept with it, so that its id is not given to another.
                self._sealings[id(message)] = (message, sealed_message(message, vault))
        return [self._sealings[id(message)][1] for message in messages]

    def _transcript(self, context: RunContext[Any]) -> Transcript:
        found = self._transcripts.get(context.run_id or "")
        if found is None:
            # What a conversation said before is recorded there; a delegate's is another.
            history = self._history if context.agent is self._agent else ()
            found = self._transcripts[context.run_id or ""] = Transcript(history)
        return found

    def _refuse_native_tools(self, params: ModelRequestParams) -> None:
        """What the provider does by itself passes no gateway: only what the contract lets read."""
        for tool in params.model_request_parameters.native_tools:
            if isinstance(tool, MCPServerTool):
                raise DeclarationError(
                    f"the agent has MCP server {tool.id!r} as a native tool: its provider would "
                    "call it by itself, past every policy, ledger and approval. Connect the server "
                    "here."
                )
            terms = self.contract.tools.get(tool.kind)
            if tool.kind not in _HARMLESS and (terms is None or terms.effect != "read"):
                raise DeclarationError(
                    f"the agent has native tool {tool.kind!r}: its provider uses it by itself, and "
                    "neither the gateway nor a budget sees it. Take it away, or say in the "
                    f"contract that it may: tools: {{{tool.kind}: {{effect: read}}}}."
                )

    def _asked_by(self, params: ModelRequestParams) -> Sequence[Candidate]:
        """The models that may answer: a delegate has its own, and no fallbacks."""
        context = params.run_context
        model: Any = context.model
        if context.agent is self._agent or not isinstance(model, Model):
            return self._candidates
        return (self._registry.of(cast("Model[Any]", model)),)

    async def _ask_one(
        self,
        operation: DurableOperation[Any, Any, Any],
        params: ModelRequestParams,
        said: Said,
        candidate: Candidate,
    ) -> Outcome:
        number, interrupted = 1, 0
        while True:
            attempt = self._attempt(operation, params, said, candidate, number)
            outcome = await self.operations.request(attempt)
            if outcome.kind == "exhausted":
                await self.spending.exhausted(outcome.account, outcome.detail, outcome.needed)
                continue
            interrupted += outcome.interrupted
            # A process that ended says nothing about the model; one that always ends here does.
            tries = number - min(interrupted, _MOST_INTERRUPTED)
            over = tries >= self.contract.model.attempts
            if outcome.kind != "failed" or not outcome.transient or over:
                return outcome
            if not outcome.interrupted:
                await self.operations.sleep(_pause(tries, outcome))
            number += 1

    def _attempt(
        self,
        operation: DurableOperation[Any, Any, Any],
        params: ModelRequestParams,
        said: Said,
        candidate: Candidate,
        number: int,
    ) -> Attempt:
        accounts = self.spending.for_request()
        settings = with_bounds(params.model_settings, self.contract, limited=bool(accounts))
        asked = replace(params, model_settings=settings)
        price = self._registry.price(self.contract, candidate)
        worst = WorstCase(tokens=said.size_bytes, model_calls=1)
        if accounts:
            most = int(settings.get("max_tokens") or self.contract.model.max_output_tokens)
            worst = self.spending.worst_request(candidate, price, params, said.size_bytes, most)
        return Attempt(
            name=f"{self._name}.model",
            model=candidate.name,
            provider=candidate.provider,
            number=number,
            digest=_digest(said, params),
            prefix=said.prefix,
            said=said.new,
            send=sender(operation, asked, candidate, price, self._show),
            timeout=timedelta(seconds=self.contract.model.timeout_seconds),
            gate=candidate.gate,
            accounts=accounts,
            worst=worst,
            price=price.as_header() if price is not None and accounts else None,
        )

    # Calling tools.

    def rule(self, name: str, tool: object | None) -> ToolRule:
        """How a function of the agent's own is called."""
        metadata: Mapping[str, Any] | None = None
        if isinstance(tool, ToolsetTool):
            metadata = cast("ToolsetTool[Any]", tool).tool_def.metadata
        return rule_for(self.contract, name, metadata)

    async def call_function(
        self, operation: DurableOperation[Any, Any, Any], params: ToolsetCallToolParams
    ) -> Any:
        """Call a function of the agent's own through the gateway."""

        vault = self.vault

        async def function(**_arguments: Any) -> Any:
            if vault is None:
                return operation.result_codec.dump(await operation.handler(params))
            given = replace(params, tool_args=vault.reveal_value(params.tool_args))
            answer = to_jsonable_python(operation.result_codec.dump(await operation.handler(given)))
            return vault.seal_value(answer)

        rule = self.rule(params.name, params.tool)
        tool = lowered(tool_for(params.name, rule, function), self.contract)
        arguments = cast("dict[str, Any]", to_jsonable_python(params.tool_args))
        called = await self._watched(tool, arguments, lambda: self._call(tool, arguments))
        payload = _as_returned(called.result)
        if called.first and "result" in payload:
            payload = payload | {"result": _again(payload["result"])}
        return operation.result_codec.load(payload)

    async def call_declared(self, tool: Tool[..., Any], arguments: dict[str, Any]) -> Any:
        """Call a declared tool; wrong arguments are told to the model, which may mend them."""
        tool = lowered(tool, self.contract)
        try:
            values = (
                tool.bind((), arguments) if self.vault is None else self._bound(tool, arguments)
            )
        except InvalidInputError as error:
            raise ModelRetry(error.message) from error
        sealed = tool if self.vault is None else sealed_tool(tool, self.vault)
        called = await self._watched(tool, arguments, lambda: self._call(sealed, values))
        return _again(called.result) if called.first else called.result

    def _bound(self, tool: Tool[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
        return sealed_arguments(tool, arguments, cast("RunVault", self.vault))

    async def _watched(
        self,
        tool: Tool[..., Any],
        arguments: dict[str, Any],
        call: Callable[[], Awaitable[Called]],
    ) -> Called:
        self._refuse(self._loops.before_call(tool.name, arguments, turn=self._turn))
        try:
            called = await call()
        except (StepFailedError, EffectFailedError) as error:
            self._refuse(self._loops.after_call(tool.name, arguments, None, error.message))
            raise ToolFailed(error.message) from error
        if tool.effect != "read" and not called.first:
            self.made.append(tool.name)
        digest = hashlib.sha256(to_json(called.result)).hexdigest()
        self._refuse(self._loops.after_call(tool.name, arguments, digest))
        return called

    def _refuse(self, loop: Loop | None) -> None:
        if loop is not None:
            raise LoopFoundError(loop.sentence, loop=loop.as_details())

    async def _call(self, tool: Tool[..., Any], values: dict[str, Any]) -> Called:
        accounts = self.spending.for_call()
        if not accounts:
            return await self.operations.call(tool, values, self._id)
        longest = int(tool.timeout.total_seconds() * 1000) * tool.attempts
        worst = WorstCase(tool_calls=1, milliseconds=longest)
        held = await self._held(worst)
        began_us = self.operations.now_us()
        try:
            return await self.operations.call(tool, values, self._id)
        finally:
            # A call may have waited for a person, whose time is not the call's.
            lasted = max(0, self.operations.now_us() - began_us) // 1000
            taken = Spent(tool_calls=1, milliseconds=min(lasted, longest))
            await self.operations.settle(held, taken)

    async def _held(self, worst: WorstCase) -> Held:
        while True:
            held = await self.operations.hold(self.spending.for_call(), worst)
            if not held.account:
                return held
            await self.spending.exhausted(held.account, held.detail, held.needed)

    # Everything else that is outside.

    async def work(self, operation: DurableOperation[Any, Any, Any], params: Any) -> Any:
        """List a server's tools, check arguments, and what else Pydantic AI does outside."""

        async def perform() -> Any:
            return to_jsonable_python(operation.result_codec.dump(await operation.handler(params)))

        name = _work_name(operation)
        payload = await self.operations.work(name, [], perform)
        return operation.result_codec.load(payload)


def _again(result: Any) -> dict[str, Any]:
    """What a model is told of a write that it had asked for before."""
    return {
        "result": to_jsonable_python(result),
        "note": "This very call was made before, and was not made again: its result is above.",
    }


def _as_returned(payload: Any) -> Any:
    """A function's recorded answer; what a person says that it answered is the answer itself."""
    fields = cast("dict[str, Any]", payload) if isinstance(payload, dict) else {}
    if fields.get("kind") in _FORMS:
        return fields
    return {"kind": "tool_return", "result": cast("Any", payload)}


def _work_name(operation: DurableOperation[Any, Any, Any]) -> str:
    found = operation.operation_id
    words = type(found).__name__.removesuffix("Id")
    return f"{words}:{getattr(found, 'toolset_id', getattr(found, 'capability_id', ''))}"


def _digest(said: Said, params: ModelRequestParams) -> str:
    offered = params.model_request_parameters
    names = [tool.name for tool in (*offered.function_tools, *offered.output_tools)]
    material = f"{said.digest}:{json.dumps(names)}:{offered.output_mode}"
    return hashlib.sha256(material.encode()).hexdigest()[:32]


def _pause(number: int, outcome: Outcome) -> timedelta:
    """Before the next attempt: what the provider asked for, or twice as long as the last time."""
    if outcome.retry_after_us:
        return timedelta(microseconds=outcome.retry_after_us)
    return min(_FIRST_PAUSE * 2 ** (number - 1), _LONGEST_PAUSE)


def _text_of(event: ModelResponseStreamEvent | None) -> str:
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return event.delta.content_delta
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return event.part.content
    return ""
