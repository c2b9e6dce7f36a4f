"""Tools that are declared with `@app.tool`, offered to a model.

A model sees the name, the description and the visible arguments; what the gateway fills in is not
among them. Each call passes through the gateway like one made by code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_ai.tools import RunContext, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_core import SchemaValidator, core_schema

from interlock.errors import ConflictError, DeclarationError
from interlock.models.durability import CURRENT
from interlock.tools.tool import Tool

__all__ = ["GovernedToolset"]

# The gateway checks the arguments itself, so that its error names the tool and every field.
_ANY_OBJECT = SchemaValidator(core_schema.dict_schema(keys_schema=core_schema.str_schema()))


class GovernedToolset(AbstractToolset[Any]):
    """Declared tools as a toolset of Pydantic AI. Usable only inside of a run."""

    def __init__(self, tools: Sequence[Tool[..., Any]], *, id: str = "interlock") -> None:
        self._id = id
        self._tools = {tool.name: tool for tool in tools}
        if len(self._tools) != len(tools):
            names = sorted(tool.name for tool in tools)
            raise DeclarationError(f"a model is offered two tools of one name: {names}.")
        self._offered = {tool.name: self._offer(tool) for tool in tools}

    @property
    def id(self) -> str:
        """The toolset's name."""
        return self._id

    def _offer(self, tool: Tool[..., Any]) -> ToolsetTool[Any]:
        definition = ToolDefinition(
            name=tool.name,
            description=tool.description or None,
            parameters_json_schema=tool.arguments.schema(),
        )
        return ToolsetTool(
            toolset=self, tool_def=definition, max_retries=2, args_validator=_ANY_OBJECT
        )

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """All of them, at every step."""
        return dict(self._offered)

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Call a tool through the gateway of the run."""
        asking = CURRENT.get()
        if asking is None:
            raise ConflictError(
                f"tool {name!r} was called outside of a run. Ask the agent with `run.ask(…)`, or "
                "deploy it: only a run can make an effect once."
            )
        return await asking.call_declared(self._tools[name], tool_args)
