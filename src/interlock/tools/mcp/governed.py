"""A tool of a server as a tool of ours: the server's schema, and our word on everything else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Protocol

from interlock.base.codec import codec_for
from interlock.errors import DeclarationError
from interlock.tools.mcp.failure import (
    InputRequiredError,
    QuarantinedError,
    RejectedError,
    ToolReportedError,
    UnauthorizedError,
)
from interlock.tools.mcp.pins import Pin
from interlock.tools.mcp.terms import ServerTerms, ToolTerms, tool_name
from interlock.tools.provenance import Labelled, integrity_of
from interlock.tools.schema_arguments import SchemaArguments
from interlock.tools.terms import Standing
from interlock.tools.tool import Tool, check_declaration

__all__ = ["governed_tool"]

_ANSWERS: Final[dict[str, type[Exception]]] = {
    "is_error": ToolReportedError,
    "rejected": RejectedError,
    "input_required": InputRequiredError,
}
# Our own limits end first, and say more than the tool's timeout would.
_SLACK_SECONDS: Final = 5
_QUARANTINED: Final = "Not available: it waits for a person to accept it."


class Caller(Protocol):
    """What the calls go through."""

    async def call(
        self, server: str, tool: str, arguments: dict[str, Any], seconds: float
    ) -> tuple[Any, Any]:
        """Call a tool of a server: its answer, and the `_meta` of that."""
        ...


def governed_tool(
    caller: Caller, server: str, tool: str, terms: ServerTerms, said: ToolTerms, pin: Pin | None
) -> Tool[..., Any]:
    """The tool. Without a pin it takes anything and refuses every call.

    Raises `DeclarationError` for what does not fit the pinned schema.
    """
    name = tool_name(server, tool, said)
    seconds = said.timeout_seconds or terms.timeout_seconds

    async def call(**arguments: Any) -> Any:
        answer, meta = await caller.call(server, tool, arguments, seconds)
        if not said.trusted:
            return answer
        return Labelled(answer, integrity_of(meta, trusted=True))

    hidden = () if said.key_argument is None else (said.key_argument,)
    governed: Tool[..., Any] = Tool(
        name=name,
        function=call,
        effect=said.effect,
        recovery=said.recovery,
        version=said.version,
        timeout=timedelta(seconds=terms.connect_seconds + seconds + _SLACK_SECONDS),
        settle=timedelta(seconds=said.settle_seconds),
        not_made=(),
        refused=_refused(said),
        attempts=said.attempts,
        pause=timedelta(seconds=said.pause_seconds),
        lookup=None,
        key_parameter=said.key_argument,
        arguments=SchemaArguments(name, _schema(name, said, pin), hidden=hidden),
        result=codec_for(Any),
        description=_QUARANTINED if pin is None else pin.description,
        sensitive=said.sensitive,
        standing=Standing(
            owner=said.owner,
            autonomy=said.autonomy,
            destinations=said.destinations,
            resource=said.resource,
            amount=said.amount,
            trusted=said.trusted,
        ),
    )
    check_declaration(governed)
    return governed


def _refused(said: ToolTerms) -> tuple[type[Exception], ...]:
    """What is not worth another attempt; for a write, only what means that it was not made."""
    answers = _ANSWERS if said.effect == "read" else said.not_made
    return (QuarantinedError, UnauthorizedError, *(_ANSWERS[each] for each in answers))


def _schema(name: str, said: ToolTerms, pin: Pin | None) -> dict[str, Any]:
    if pin is None:
        meant = {*said.destinations, *said.resource, *_arguments(said.sensitive)}
        properties: dict[str, Any] = {each: {} for each in sorted(meant)}
        if said.amount is not None:
            properties[said.amount] = {"type": "integer"}
        return {"type": "object", "properties": properties, "additionalProperties": True}
    schema = dict(pin.input_schema)
    if said.key_argument is not None and said.key_argument not in schema.get("properties", {}):
        known = ", ".join(schema.get("properties", {})) or "none"
        raise DeclarationError(
            f"tool {name!r}: key_argument={said.key_argument!r} is no argument of it; there are: "
            f"{known}."
        )
    return schema


def _arguments(sensitive: tuple[str, ...]) -> list[str]:
    paths = [path.split(".") for path in sensitive]
    return [parts[1] for parts in paths if parts[0] == "args" and len(parts) > 1]
