"""Calls of tools from a run's code: reads as steps, writes as effects with a key of their own."""

from __future__ import annotations

from typing import Any, NamedTuple

from interlock.base.codec import canonical
from interlock.base.identifier import derived_id
from interlock.errors import NotAllowedError
from interlock.orchestrator.calls import EffectOperation
from interlock.orchestrator.gateway import Call, plain_arguments
from interlock.orchestrator.repeated import AskedWrites, Claim
from interlock.orchestrator.retry import Retry
from interlock.orchestrator.session import Session
from interlock.orchestrator.steps import StepOperation, StepPlan, is_async
from interlock.tools.autonomy import lowered
from interlock.tools.effects import EffectKey
from interlock.tools.masking.sealed import revealed
from interlock.tools.provenance import Labelled, Sources
from interlock.tools.tool import Tool

__all__ = ["Called", "call_tool"]


class Called(NamedTuple):
    """What a call answered; `first` is the effect that it was the same as, if it was."""

    result: Any
    first: str = ""


async def call_tool(
    session: Session,
    tool: Tool[..., Any],
    values: dict[str, Any],
    name: str = "",
    *,
    asked_in: str = "",
) -> Called:
    """Call a tool with bound values (see `Run.call`). `name`: of the operation, else the tool's.

    `asked_in`: the ask in which a model asked for it; its tool takes care of handles itself, and an
    identical write is not made again.
    """
    tool = lowered(tool, session.contract)
    name = name or tool.name
    vault = None if asked_in else session.run_vault()
    if vault is not None:
        tool = revealed(tool, vault)
    if not tool.writes:
        read = _read(session, name, tool, values)
        result = await session.issue(read)
        if tool.standing.trusted and read.said.get("integrity") != "untrusted":
            session.sources.add(tool.name, result)
        return Called(result)
    operation = EffectOperation(session, tool, values, name)
    tenant = session.row.tenant
    operation.judged_by(session.services.gateway, lambda: session.sources, tenant)
    operation.claim = Claim.of(session.services.journal.store, tenant, tool, values)
    if asked_in:
        operation.asked_writes = session.asked_writes.setdefault(asked_in, AskedWrites())
        operation.asked_writes.add(operation, values)

    def name_effect(key: str) -> None:
        operation.effect_key = EffectKey(
            derived_id("effect", session.run_id, session.generation, key)
        )

    result = await session.issue(operation, name_effect)
    return Called(result, operation.deduplicated)


def _read(
    session: Session, name: str, tool: Tool[Any, Any], values: dict[str, Any]
) -> StepOperation:
    judged: dict[str, Any] = {}
    # Looked at here, on the loop: the call itself may be made in a thread.
    sources = None if session.services.gateway.policies is None else session.sources

    def judge() -> None:
        if sources is not None:
            judged.update(_judged(session, tool, values, sources))

    def plain(answer: Any) -> Any:
        if not isinstance(answer, Labelled):
            return answer
        judged["integrity"] = answer.integrity
        return answer.value

    async def call_async() -> Any:
        judge()
        return plain(await tool.function(**values))

    def call_sync() -> Any:
        judge()
        return plain(tool.function(**values))

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
        judged,
        tool.sensitive,
    )
    return StepOperation(session, name, plan)


def _judged(
    session: Session, tool: Tool[Any, Any], values: dict[str, Any], sources: Sources
) -> dict[str, Any]:
    """What the policies say of a read, as its event carries it. Raises `NotAllowedError`."""
    gateway = session.services.gateway
    call = Call(
        agent=session.agent_name,
        tenant=session.row.tenant,
        tool=tool,
        arguments=plain_arguments(values, f"tool {tool.name!r}"),
    )
    decision = gateway.judge(call, sources, session.clock.now_us())
    if decision.verdict == "allow":
        return gateway.header(decision)
    why = decision.reason
    if decision.verdict == "ask":
        why += ", and a read cannot wait for one: permit it or forbid it"
    raise NotAllowedError(
        f"tool {tool.name!r} is not allowed: {why}.",
        tool=tool.name,
        policies=list(decision.policies),
    )
