"""The journal as Pydantic AI's durable engine.

An agent's code runs in the run's own loop; whatever it does outside (asking a model, calling a
tool, listing a server's tools) becomes one operation of the run, through the public surface of
`pydantic_ai.durable_exec`. Function tools are never left unwrapped: each call is an effect with a
key of its own, or a read, or the run's own code where it asks another agent (`delegate`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

# Private, and what the engines that Pydantic AI ships use: a run's code has no threads.
from pydantic_ai._utils import disable_threads
from pydantic_ai.capabilities import WrapRunHandler
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    BoundDurableOperation,
    DurabilityEngineSpec,
    DurableOperation,
    DurableOperationBackend,
    EventStreamHandlerId,
    ModelRequestId,
    ModelRequestParams,
    ToolsetCallToolId,
    ToolsetCallToolParams,
    conversation_id_from_run_id,
)
from pydantic_ai.models import Model, ModelResolutionContext
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import RunContext

if TYPE_CHECKING:
    from pydantic_ai.agent.abstract import AbstractAgent
    from pydantic_ai.capabilities.abstract import AbstractCapability

    from interlock.models.asking import Asking

__all__ = ["CURRENT", "Durability", "Inline", "ToolUse"]

CURRENT: ContextVar[Asking | None] = ContextVar("interlock_asking", default=None)
Inline = Literal[False]


class ToolUse:
    """Marks a tool call that goes through the gateway; its rules are the asking's."""


_THROUGH_THE_GATEWAY = ToolUse()


class Durability(BaseDurabilityCapability[Any]):
    """Attached to each `ask`, or by hand to an agent that another one asks (`delegate`).

    Outside of a run's code it does nothing, so an agent that carries it still works alone.
    """

    engine_spec = DurabilityEngineSpec(
        engine_name="Interlock",
        durable_unit_noun="operation",
        durable_container_noun="run",
        codec=JSON_CODEC,
        # Nothing is entered in a run's loop, where there are no sockets: each operation enters
        # what it needs, on the host.
        toolset_lifecycles={
            "function": "enter-never",
            "mcp": "enter-never",
            "dynamic": "enter-never",
        },
        tool_config_key="interlock",
    )

    def __init__(
        self, *, models: Mapping[str, Model] | None = None, name: str | None = None
    ) -> None:
        super().__init__(models=models, name=name)
        self._backend = _Backend()

    def for_agent(self, agent: AbstractAgent[Any, Any]) -> AbstractCapability[Any]:
        """The capability bound to the agent; bound once, since every ask needs it."""
        return self if self.agent is agent else super().for_agent(agent)

    def _bind_models(self, agent: AbstractAgent[Any, Any]) -> None:
        # An agent without a model of its own is asked with one that the contract names.
        if agent.model is None:
            self._default_model_id = None
            self._models_by_id = dict(self._extra_models)
        else:
            super()._bind_models(agent)

    def _bind_to_agent(self, agent: AbstractAgent[Any, Any]) -> None:
        super()._bind_to_agent(agent)
        # Once, and not again for each request: what is bound depends on no model.
        self._bound_model_operations = self._bind_model_operations(
            self._backend, model_id=None, model_name=""
        )

    @property
    def in_durable_context(self) -> bool:
        """Whether the caller is a run's own code, inside of an ask."""
        asking = CURRENT.get()
        return asking is not None and asking.operations.in_code()

    def get_durable_operation_backend(self) -> DurableOperationBackend[Any]:
        """What performs the operations."""
        return self._backend

    async def resolve_model_id(
        self, ctx: ModelResolutionContext[Any], *, model_id: str
    ) -> Model | None:
        """A model by the name that the asking knows it under."""
        asking = CURRENT.get()
        found = None if asking is None else asking.model_named(model_id)
        return found or await super().resolve_model_id(ctx, model_id=model_id)

    def get_default_run_id(self) -> str | None:
        """The same at every replay."""
        asking = _here()
        return None if asking is None else asking.next_run_id()

    def get_default_conversation_id(self, run_id: str) -> str | None:
        """Derived from the run's id."""
        return None if _here() is None else conversation_id_from_run_id(run_id)

    def get_run_clock(self) -> Callable[[], datetime] | None:
        """The run's recorded time."""
        asking = _here()
        return None if asking is None else lambda: _moment(asking.operations.now_us())

    async def get_run_start_time(self, run_id: str) -> datetime | None:
        """The run's recorded time."""
        asking = _here()
        return None if asking is None else _moment(asking.operations.now_us())

    async def wrap_run(
        self, ctx: RunContext[Any], *, handler: WrapRunHandler
    ) -> AgentRunResult[Any]:
        """Run with synchronous callbacks inline: a run's code has no threads."""
        if not self.in_durable_context:
            return await super().wrap_run(ctx, handler=handler)
        with disable_threads():
            return await super().wrap_run(ctx, handler=handler)


def _here() -> Asking | None:
    asking = CURRENT.get()
    return asking if asking is not None and asking.operations.in_code() else None


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)


class _Backend(DurableOperationBackend[Any]):
    """Hands each operation of Pydantic AI to the asking that is under way."""

    def bind(
        self, operation: DurableOperation[Any, Any, Any]
    ) -> BoundDurableOperation[Any, Any, Any]:
        if isinstance(operation.operation_id, ModelRequestId):
            return _BoundRequest(operation)
        if isinstance(operation.operation_id, ToolsetCallToolId):
            return _BoundCall(operation)
        if isinstance(operation.operation_id, EventStreamHandlerId):
            return _BoundEvent(operation)
        return _BoundWork(operation)

    def config_for_tool(
        self, operation: DurableOperation[Any, Any, Any], *, tool: object | None, tool_name: str
    ) -> Any | Inline:
        asking = CURRENT.get()
        if asking is not None and asking.rule(tool_name, tool).effect == "delegate":
            return False
        return _THROUGH_THE_GATEWAY

    def registrations(self) -> Sequence[Callable[..., object]]:
        return ()


class _Bound(BoundDurableOperation[Any, Any, Any]):
    def __init__(self, operation: DurableOperation[Any, Any, Any]) -> None:
        self._operation = operation

    @property
    def operation(self) -> DurableOperation[Any, Any, Any]:
        return self._operation


class _BoundRequest(_Bound):
    async def __call__(self, params: ModelRequestParams, *, config: object | None = None) -> Any:
        return await _asking().request(self._operation, params)


class _BoundCall(_Bound):
    async def __call__(self, params: ToolsetCallToolParams, *, config: object | None = None) -> Any:
        return await _asking().call_function(self._operation, params)


class _BoundWork(_Bound):
    async def __call__(self, params: Any, *, config: object | None = None) -> Any:
        return await _asking().work(self._operation, params)


class _BoundEvent(_Bound):
    async def __call__(self, params: Any, *, config: object | None = None) -> None:
        """A user's own handler is told on the host; it is no work that a replay repeats."""


def _asking() -> Asking:
    return cast("Asking", CURRENT.get())
