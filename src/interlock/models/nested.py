"""Agents that a function of another agent asks by itself.

Such a function runs on the host as one call of a tool: what it asks there is neither recorded nor
drawn from a budget, and a crash has it paid again. It belongs into the run's own code (`delegate`).

Found is what can be read from the function: the agents among its globals, in its closure and in its
bound object, and the same of functions of its own module that it names. An agent that comes
from elsewhere (a registry, dependencies) is not seen.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any, cast

from pydantic_ai import Agent
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset

from interlock.contract import Contract
from interlock.errors import DeclarationError
from interlock.models.rules import rule_for

__all__ = ["refuse_nested"]


def refuse_nested(agent: Agent[Any, Any], contract: Contract) -> None:
    """Raise `DeclarationError` where a function that is no delegate asks an agent by itself."""
    for name, metadata, function in _functions(agent):
        if rule_for(contract, name, metadata).effect == "delegate":
            continue
        nested = next(_agents_in(function), None)
        if nested is not None:
            other = repr(nested.name) if nested.name else "another"
            raise DeclarationError(
                f"tool {name!r} of agent {agent.name!r} asks agent {other} by itself: its requests "
                "would be neither recorded nor drawn from a budget, and paid again after a crash. "
                f"Say in the contract of {contract.agent!r} that it delegates "
                f"(tools: {{{name}: {{effect: delegate}}}}), and give agent {other} "
                "capabilities=[Durability()]."
            )


def _functions(agent: Agent[Any, Any]) -> Iterator[tuple[str, Any, Callable[..., Any]]]:
    leaves: list[AbstractToolset[Any]] = []
    for toolset in agent.toolsets:
        toolset.apply(leaves.append)
    for leaf in leaves:
        if isinstance(leaf, FunctionToolset):
            for name, tool in leaf.tools.items():
                yield name, tool.metadata, tool.function


def _agents_in(function: Any) -> Iterator[AbstractAgent[Any, Any]]:
    seen: set[int] = set()
    waiting: list[Any] = [function]
    while waiting:
        value: Any = waiting.pop()
        if isinstance(value, MethodType):
            bound = cast("Any", value.__self__)
            waiting += [value.__func__, *_own_values(bound)]
            continue
        if isinstance(value, AbstractAgent):
            yield cast("AbstractAgent[Any, Any]", value)
            continue
        value = inspect.unwrap(value) if callable(value) else value
        if isinstance(value, FunctionType) and id(value) not in seen:
            seen.add(id(value))
            named = _named_by(value)
            # Functions of other modules are libraries, which ask what they are given.
            waiting += [v for v in named if not _is_foreign(v, value.__module__)]


def _own_values(bound: Any) -> list[Any]:
    held = cast("dict[str, Any]", getattr(bound, "__dict__", {}))
    return [value for value in held.values() if isinstance(value, AbstractAgent)]


def _named_by(function: FunctionType) -> list[Any]:
    names = set(_names(function.__code__))
    known = [function.__globals__[name] for name in names if name in function.__globals__]
    cells = [_content(cell) for cell in function.__closure__ or ()]
    return [*known, *cells]


def _names(code: CodeType) -> Iterator[str]:
    # Not `co_names`, which has the names of attributes too.
    yield from (i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # A function within, or a comprehension.
            yield from _names(constant)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # Empty as yet: its function is not complete.
        return None


def _is_foreign(value: Any, module: str) -> bool:
    return isinstance(value, FunctionType) and value.__module__ != module
