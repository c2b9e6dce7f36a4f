"""Tools: typed functions through which an agent touches other systems.

A tool that writes says how it recovers when the outcome of a call is unknown; without that it does
not register. Its parameters of type `EffectKey` are filled in by the gateway and are not part of
what a caller passes.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, ParamSpec, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, create_model

from interlock.base.codec import Codec, codec_for, hints
from interlock.errors import DeclarationError, InvalidInputError
from interlock.tools.arguments import Arguments, TypedArguments
from interlock.tools.effects import EffectClass, EffectKey, NotMadeError, Recovery
from interlock.tools.terms import Standing, check_standing

__all__ = ["Tool", "check_declaration", "declare_tool", "key_parameter_of"]

P = ParamSpec("P")
T = TypeVar("T")

_NO_TIME = timedelta(0)
_EFFECTS = get_args(EffectClass)
_RECOVERIES = get_args(Recovery)


@dataclass(frozen=True, kw_only=True)
class Tool(Generic[P, T]):
    """A declared tool. `description` is what a model is told of it.

    `timeout` bounds one call. `settle` is how long after an unknown outcome the called system may
    still act on it. `not_made` are exceptions that mean that the effect was certainly not made.
    `refused` are those that also mean that another attempt would end the same (of a read: that it
    is not worth one). `attempts` bounds how often a call that was certainly not made, and not
    refused, or a read that failed, is made in all, with pauses that double from `pause` up to a
    minute. `sensitive` are dotted paths into arguments (`args.iban`) and result (`result.email`)
    that no view shows. `standing` is what rights and people need to know of it.
    """

    name: str
    function: Callable[P, Awaitable[T]] | Callable[P, T]
    effect: EffectClass
    recovery: Recovery | None
    version: str
    timeout: timedelta
    settle: timedelta
    not_made: tuple[type[Exception], ...]
    refused: tuple[type[Exception], ...]
    attempts: int
    pause: timedelta
    lookup: Callable[..., Any] | None
    key_parameter: str | None
    arguments: Arguments
    result: Codec[T] = field(repr=False)
    description: str = ""
    sensitive: tuple[str, ...] = ()
    standing: Standing = field(default_factory=Standing)

    @property
    def writes(self) -> bool:
        """Whether a call changes something outside."""
        return self.effect != "read"

    def bind(self, positional: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
        """A call's arguments as plain validated values by name, without the hidden ones.

        Raises `InvalidInputError` that names every wrong argument.
        """
        return self.arguments.checked(self.name, self._by_name(positional, named))

    def _by_name(self, positional: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
        names = self.arguments.names
        if len(positional) > len(names):
            raise InvalidInputError(
                f"tool {self.name!r} takes {len(names)} arguments; {len(positional)} were given.",
                tool=self.name,
            )
        values = dict(zip(names, positional, strict=False))
        doubled = values.keys() & named.keys()
        if doubled:
            raise InvalidInputError(
                f"tool {self.name!r}: {', '.join(sorted(doubled))} given twice.", tool=self.name
            )
        return values | dict(named)

    def hidden(self, key: EffectKey) -> dict[str, Any]:
        """The arguments that the gateway fills in."""
        return {self.key_parameter: key} if self.key_parameter else {}

    def sensitive_in(self, part: str, below: str = "") -> dict[str, list[str]]:
        """The header field that has views hide what is sensitive in a body with this part.

        `part` is `args` or `result`; `below` is where the body has it.
        """
        under = [path[len(part) :].lstrip(".") for path in self.sensitive if _is_in(path, part)]
        paths = [".".join(filter(None, (below, path))) for path in under]
        return {"sensitive": paths} if paths else {}

    def says_not_made(self, error: Exception) -> bool:
        """Whether this exception means that the effect was certainly not made."""
        return isinstance(error, (NotMadeError, *self.not_made, *self.refused))

    def says_refused(self, error: Exception) -> bool:
        """Whether it also means that another attempt would end the same."""
        if isinstance(error, NotMadeError) and not error.retry:
            return True
        return isinstance(error, self.refused)


def _is_in(path: str, part: str) -> bool:
    return path == part or path.startswith(f"{part}.")


def declare_tool(
    function: Callable[P, Awaitable[T]] | Callable[P, T],
    *,
    name: str | None = None,
    effect: EffectClass,
    recovery: Recovery | None = None,
    lookup: Callable[..., Any] | None = None,
    version: str = "1",
    timeout: timedelta = timedelta(seconds=30),
    settle: timedelta = timedelta(0),
    not_made: tuple[type[Exception], ...] = (),
    refused: tuple[type[Exception], ...] = (),
    attempts: int = 3,
    pause: timedelta = timedelta(seconds=1),
    sensitive: tuple[str, ...] = (),
    standing: Standing | None = None,
) -> Tool[P, T]:
    """Check a tool's declaration and build it.

    Raises `DeclarationError` that says what is wrong and what is allowed.
    """
    label = name or getattr(function, "__name__", "")
    parameters, key_parameter = _parameters(function, label)
    tool = Tool(
        name=label,
        function=function,
        effect=effect,
        recovery=recovery,
        version=version,
        timeout=timeout,
        settle=settle,
        not_made=not_made,
        refused=refused,
        attempts=attempts,
        pause=pause,
        lookup=lookup,
        key_parameter=key_parameter,
        arguments=TypedArguments(_arguments_model(label, parameters)),
        result=codec_for(hints(function).get("return", Any)),
        description=inspect.getdoc(function) or "",
        sensitive=sensitive,
        standing=standing or Standing(),
    )
    check_declaration(tool)
    return tool


def check_declaration(tool: Tool[..., Any]) -> None:
    """Raise `DeclarationError` for a tool that cannot work, with what is wrong and allowed."""
    name, names = tool.name, list(tool.arguments.names)
    _check(name, tool.effect, tool.recovery, tool.lookup, tool.key_parameter)
    if tool.lookup is not None:
        _check_lookup(name, tool.lookup, names)
    _check_sensitive(name, names, tool.sensitive)
    check_standing(name, tool.standing, tool.arguments, writes=tool.writes)
    if tool.attempts < 1:
        raise DeclarationError(f"tool {name!r}: attempts={tool.attempts}; at least 1 is needed.")
    if tool.timeout <= _NO_TIME or min(tool.settle, tool.pause) < _NO_TIME:
        raise DeclarationError(
            f"tool {name!r}: timeout={tool.timeout}, settle={tool.settle}, pause={tool.pause}; a "
            "call needs time, and the other two cannot be negative."
        )


def _check(
    name: str,
    effect: str,
    recovery: str | None,
    lookup: Callable[..., Any] | None,
    key_parameter: str | None,
) -> None:
    if effect not in _EFFECTS:
        raise DeclarationError(f"tool {name!r}: effect={effect!r}; allowed: {', '.join(_EFFECTS)}.")
    if effect == "read":
        if recovery is not None:
            raise DeclarationError(
                f"tool {name!r} only reads: a read may always be repeated and has no recovery."
            )
        return
    if recovery not in _RECOVERIES:
        raise DeclarationError(
            f"tool {name!r} writes and declares recovery={recovery!r}. Say what to do when the "
            "outcome of a call is unknown: 'key' (the system honours an idempotency key), 'lookup' "
            "(ask the system), 'repeatable' (calling again changes nothing), 'never' (a person "
            "decides)."
        )
    if (recovery == "lookup") != (lookup is not None):
        raise DeclarationError(
            f"tool {name!r}: recovery='lookup' and lookup=… go together; one of them is missing."
        )
    if recovery == "key" and key_parameter is None:
        raise DeclarationError(
            f"tool {name!r} declares recovery='key' but takes no parameter of type EffectKey, so "
            "the called system can never see the key. Add `key: EffectKey` and send it along."
        )


def _check_sensitive(name: str, parameters: list[str], sensitive: tuple[str, ...]) -> None:
    has = ", ".join(parameters) or "none"
    for path in sensitive:
        root, _, rest = path.partition(".")
        argument = rest.partition(".")[0]
        if root not in ("args", "result") or (root == "args" and argument not in parameters):
            raise DeclarationError(
                f"tool {name!r}: sensitive {path!r} is no path such as args.NAME (arguments: {has})"
                " or result.FIELD; `result` alone is the whole of it."
            )


def _check_lookup(name: str, lookup: Callable[..., Any], arguments: list[str]) -> None:
    """Found out when an outcome is unknown, it would be too late."""
    parameters = inspect.signature(lookup).parameters.values()
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    given = [*arguments, key_parameter_of(lookup)]
    wrong = [f"does not take {a!r}" for a in arguments if not takes_any and a not in named]
    needed = [p.name for p in named.values() if p.default is p.empty and p.name not in given]
    wrong += [f"needs {n!r}, which the tool does not take" for n in needed]
    if wrong:
        raise DeclarationError(
            f"tool {name!r}: its lookup {' and '.join(wrong)}. A lookup is called by name with "
            "what the tool was called with, and with the effect key where it takes one."
        )


def key_parameter_of(function: Callable[..., Any]) -> str:
    """The parameter of a lookup that takes the effect key; empty when it takes none."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.annotation in (EffectKey, "EffectKey") or parameter.name == "key":
            return parameter.name
    return ""


def _parameters(
    function: Callable[..., Any], name: str
) -> tuple[list[inspect.Parameter], str | None]:
    types = hints(function)
    shown: list[inspect.Parameter] = []
    key_parameter: str | None = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise DeclarationError(
                f"tool {name!r} takes *{parameter.name}: a tool's parameters are named and typed."
            )
        if types.get(parameter.name) is EffectKey:
            key_parameter = parameter.name
        else:
            shown.append(parameter.replace(annotation=types.get(parameter.name, Any)))
    return shown, key_parameter


def _arguments_model(name: str, parameters: list[inspect.Parameter]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in parameters
    }
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
    return create_model(f"{name}_arguments", __config__=config, **fields)
