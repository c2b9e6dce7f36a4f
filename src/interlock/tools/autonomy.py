"""How far a tool goes by itself: what its declaration allows, and what a contract makes of it.

A contract only takes away. `suggest` makes each call a proposal that a person approves, `draft`
calls another tool in its place, which prepares in the system what a person sends.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from interlock.contract.contract import Contract
from interlock.tools.effects import Autonomy
from interlock.tools.tool import Tool

__all__ = ["autonomy_problems", "lowered"]

_RANK: Final[Mapping[Autonomy, int]] = {"suggest": 0, "draft": 1, "act": 2}


def lowered(tool: Tool[..., Any], contract: Contract | None) -> Tool[..., Any]:
    """The tool that is called where a contract was asked for this one.

    Where a draft is wanted and the tool has none (its code has changed since), a person is asked.
    """
    wanted = None if contract is None else contract.autonomy.get(tool.name)
    if wanted is None or _RANK[wanted] >= _RANK[tool.standing.autonomy]:
        return tool
    if wanted == "draft" and tool.standing.draft is not None:
        return tool.standing.draft
    return replace(tool, standing=replace(tool.standing, autonomy="suggest"))


def autonomy_problems(contract: Contract, tools: Mapping[str, Tool[..., Any]]) -> Iterator[str]:
    """A sentence for each thing that a contract says of a tool's autonomy and cannot be."""
    for name, wanted in contract.autonomy.items():
        where = f"autonomy.{name} in the contract of agent {contract.agent!r}"
        problem = _problem(name, wanted, contract, tools)
        if problem:
            yield f"{where}: {problem}"


def _problem(
    name: str, wanted: Autonomy, contract: Contract, tools: Mapping[str, Tool[..., Any]]
) -> str:
    tool, own = tools.get(name), contract.tools.get(name)
    if tool is None and own is None:
        close = difflib.get_close_matches(name, [*tools, *contract.tools], n=1)
        meant = f"did you mean {close[0]!r}?" if close else "declare it with @app.tool."
        return (
            f"there is no such tool: {meant} A function of the agent's own has to be in `tools` of "
            "the contract."
        )
    if tool is None:
        reads, declared, has_draft = own is not None and own.effect != "write", "act", False
    else:
        reads, declared = not tool.writes, tool.standing.autonomy
        has_draft = tool.standing.draft is not None
    if reads:
        return "it changes nothing, so there is nothing to ask a person about; take the line away."
    if _RANK[wanted] > _RANK[declared]:
        return (
            f"{wanted!r} is more than the tool's own {declared!r}. A contract only takes away: "
            "change the declaration."
        )
    if wanted == "draft" and declared == "act" and not has_draft:
        return "it has no draft. Declare draft=<another tool> with it, or say 'suggest'."
    return ""
