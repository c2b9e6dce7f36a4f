"""A tool for a run with a vault: it is called with values, and the journal has handles.

Arguments that a model writes have handles. They are replaced right before the call, after the
intent is on disk, and what the tool answers gets handles before anything of it is recorded.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from interlock.base.codec import canonical, codec_for
from interlock.tools.effects import Happened
from interlock.tools.masking.vault import RunVault
from interlock.tools.provenance import Labelled
from interlock.tools.tool import Tool

__all__ = ["revealed", "sealed_arguments", "sealed_tool"]


def sealed_arguments(
    tool: Tool[..., Any], arguments: Mapping[str, Any], vault: RunVault
) -> dict[str, Any]:
    """A model's arguments as they are recorded: checked with their values, written with handles.

    Raises `InvalidInputError` that names every wrong argument, and `BodyErasedError`.
    """
    values = tool.bind((), vault.reveal_value(dict(arguments)))
    plain: dict[str, Any] = json.loads(canonical(values, f"tool {tool.name!r}"))
    return vault.seal_value(plain)


def sealed_tool(tool: Tool[..., Any], vault: RunVault) -> Tool[..., Any]:
    """The tool as it takes and answers plain JSON with handles."""

    def seal(result: Any) -> Any:
        body = tool.result.encode(result, f"the result of tool {tool.name!r}")
        return vault.seal_value(json.loads(body))

    def seal_plain(result: Any) -> Any:
        return vault.seal_value(json.loads(canonical(result, f"a word of tool {tool.name!r}")))

    whole = _with(tool, vault, seal, seal_plain, sealed_tool)
    return replace(whole, result=codec_for(Any))


def revealed(tool: Tool[..., Any], vault: RunVault) -> Tool[..., Any]:
    """The tool for a run's own code: arguments may have handles, results are as they are."""
    return _with(tool, vault, _as_it_is, _as_it_is, revealed)


def _with(
    tool: Tool[..., Any],
    vault: RunVault,
    seal: Callable[[Any], Any],
    seal_plain: Callable[[Any], Any],
    same: Callable[[Tool[..., Any], RunVault], Tool[..., Any]],
) -> Tool[..., Any]:
    lookup, dry_run = tool.lookup, tool.standing.dry_run
    standing = tool.standing
    if dry_run is not None:
        standing = replace(standing, dry_run=_wrapped(tool, dry_run, vault, seal_plain))
    if standing.draft is not None:
        standing = replace(standing, draft=same(standing.draft, vault))
    return replace(
        tool,
        function=_wrapped(tool, tool.function, vault, seal),
        lookup=None if lookup is None else _wrapped(tool, lookup, vault, seal),
        standing=standing,
    )


def _as_it_is(result: Any) -> Any:
    return result


def _wrapped(
    tool: Tool[..., Any],
    function: Callable[..., Any],
    vault: RunVault,
    seal: Callable[[Any], Any],
) -> Callable[..., Any]:
    def values(arguments: dict[str, Any]) -> dict[str, Any]:
        visible = {n: v for n, v in arguments.items() if tool.arguments.takes(n)}
        hidden = {n: v for n, v in arguments.items() if n not in visible}
        return tool.bind((), vault.reveal_value(visible)) | hidden

    def answered(answer: Any) -> Any:
        if isinstance(answer, Labelled):
            return answer._replace(value=seal(answer.value))
        return _told(answer, seal) if function is tool.lookup else seal(answer)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(**arguments: Any) -> Any:
            try:
                return answered(await function(**values(arguments)))
            except Exception as error:
                _seal_message(error, vault)
                raise

        return call_async

    @functools.wraps(function)
    def call_sync(**arguments: Any) -> Any:
        try:
            return answered(function(**values(arguments)))
        except Exception as error:
            _seal_message(error, vault)
            raise

    return call_sync


def _told(answer: Any, seal: Callable[[Any], Any]) -> Any:
    """What a lookup says, with what it found sealed."""
    if not isinstance(answer, Happened):
        return answer
    return Happened(seal(cast("Happened[Any]", answer).value))


def _seal_message(error: Exception, vault: RunVault) -> None:
    """What a failure says is recorded, and told to a model."""
    error.args = tuple(vault.seal(one) if isinstance(one, str) else one for one in error.args)
