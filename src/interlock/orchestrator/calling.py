"""Calls of tools from a run's code: reads as steps, writes as effects with a key of their own."""

from __future__ import annotations

from typing import Any

from interlock.base.codec import canonical
from interlock.base.identifier import derived_id
from interlock.orchestrator.calls import EffectOperation
from interlock.orchestrator.retry import Retry
from interlock.orchestrator.session import Session
from interlock.orchestrator.steps import StepOperation, StepPlan, is_async
from interlock.tools.effects import EffectKey
from interlock.tools.masking.sealed import revealed
from interlock.tools.tool import Tool

__all__ = ["call_tool"]


async def call_tool(
    session: Session,
    tool: Tool[..., Any],
    values: dict[str, Any],
    name: str = "",
    *,
    by_model: bool = False,
) -> Any:
    """Call a tool with bound values (see `Run.call`). `name`: of the operation, else the tool's.

    `by_model`: a model asked for it, and the tool takes care of handles itself.
    """
    name = name or tool.name
    vault = None if by_model else session.run_vault()
    if vault is not None:
        tool = revealed(tool, vault)
    if tool.effect == "read":
        return await session.issue(_read(session, name, tool, values))
    operation = EffectOperation(session, tool, values, name)

    def name_effect(key: str) -> None:
        operation.effect_key = EffectKey(
            derived_id("effect", session.run_id, session.generation, key)
        )

    return await session.issue(operation, name_effect)


def _read(
    session: Session, name: str, tool: Tool[Any, Any], values: dict[str, Any]
) -> StepOperation:
    async def call_async() -> Any:
        return await tool.function(**values)

    def call_sync() -> Any:
        return tool.function(**values)

    awaited = is_async(tool.function)
    plan = StepPlan(
        "read",
        call_async if awaited else call_sync,
        canonical(values, f"tool {tool.name!r}"),
        tool.result,
        tool.version,
        Retry(attempts=tool.attempts, base=tool.pause, give_up_on=tool.refused),
        tool.timeout,
        None,
        awaited,
        tool.sensitive,
    )
    return StepOperation(session, name, plan)
