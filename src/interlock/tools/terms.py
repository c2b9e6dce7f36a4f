"""What rights and people need to know of a tool: who owns it, and what its arguments mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from interlock.errors import DeclarationError
from interlock.tools.arguments import Arguments
from interlock.tools.effects import Autonomy

if TYPE_CHECKING:
    from interlock.tools.tool import Tool

__all__ = ["Standing", "check_standing"]

_AUTONOMIES = get_args(Autonomy)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a tool stands towards rights and people.

    `owner` is who answers for it, a role or an address. `autonomy`: under `suggest` every call is a
    proposal that a person approves; `draft` and `act` are carried out, `draft` into something that
    a person sends on. `destinations` are the arguments that say who gets it or where it goes,
    `resource` those that identify what is touched, `amount` the one that holds integer cents.
    `unique_by` are arguments that together name one thing in the business, such as a customer and
    an invoice: of all calls with the same ones, in all runs of a tenant, one is made, and the
    others get its result.
    `dry_run` takes the same arguments, changes nothing, and answers what the call would do, for the
    person who is asked. `draft` is another tool that writes, with the same arguments: it prepares
    in the system what a person then sends, and is called in place of this one where a contract says
    `draft`; what the caller gets is its result. `trusted`: what the tool answers is a source to be
    relied on, a directory of one's own; the output of every other tool is not.
    """

    owner: str = ""
    autonomy: Autonomy = "act"
    destinations: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    unique_by: tuple[str, ...] = ()
    amount: str | None = None
    dry_run: Callable[..., Any] | None = None
    draft: Tool[..., Any] | None = None
    trusted: bool = False

    @property
    def may_ask(self) -> bool:
        """Whether a person may be asked about a call without any policy."""
        return bool(self.destinations) or self.autonomy == "suggest"


def check_standing(name: str, standing: Standing, arguments: Arguments, *, writes: bool) -> None:
    """Raise `DeclarationError` for what names no argument, or makes no sense for a read."""
    if standing.autonomy not in _AUTONOMIES:
        allowed = ", ".join(_AUTONOMIES)
        raise DeclarationError(
            f"tool {name!r}: autonomy={standing.autonomy!r}; allowed: {allowed}."
        )
    _check_names(name, standing, arguments.names)
    if standing.amount is not None and not arguments.is_integer(standing.amount):
        raise DeclarationError(
            f"tool {name!r}: amount={standing.amount!r} may be something else than an int; an "
            "amount is an int, in cents."
        )
    if not writes:
        _check_read(name, standing)
    elif standing.trusted:
        raise DeclarationError(
            f"tool {name!r} writes and says trusted=True: only what a read answers can be a source "
            "to rely on."
        )
    if standing.draft is not None:
        _check_draft(name, standing.draft, list(arguments.names))
    if standing.dry_run is not None:
        _check_dry_run(name, standing.dry_run, list(arguments.names))


def _check_names(name: str, standing: Standing, names: tuple[str, ...]) -> None:
    given = {
        "destinations": standing.destinations,
        "resource": standing.resource,
        "unique_by": standing.unique_by,
        "amount": () if standing.amount is None else (standing.amount,),
    }
    for what, meant in given.items():
        if isinstance(meant, str):
            raise DeclarationError(
                f"tool {name!r}: {what}={meant!r} is a text; give a tuple of names: ({meant!r},)."
            )
        for argument in meant:
            if argument not in names:
                known = ", ".join(names) or "none"
                raise DeclarationError(
                    f"tool {name!r}: {what} names {argument!r}, which is no argument of it; there "
                    f"are: {known}."
                )


def _check_read(name: str, standing: Standing) -> None:
    for what, value, usual in (
        ("autonomy", standing.autonomy, "act"),
        ("destinations", standing.destinations, ()),
        ("unique_by", standing.unique_by, ()),
        ("dry_run", standing.dry_run, None),
        ("draft", standing.draft, None),
    ):
        if value != usual:
            raise DeclarationError(
                f"tool {name!r} only reads and declares {what}: that is for tools that write."
            )


def _check_draft(name: str, draft: Tool[..., Any], arguments: list[str]) -> None:
    taken = list(getattr(getattr(draft, "arguments", None), "names", ()))
    if not getattr(draft, "writes", False):
        raise DeclarationError(
            f"tool {name!r}: draft={draft!r} is no tool that writes. Declare one with @app.tool "
            "and give it here."
        )
    if sorted(taken) != sorted(arguments):
        raise DeclarationError(
            f"tool {name!r}: its draft {draft.name!r} takes {sorted(taken)}; it is called with "
            f"what the tool is called with: {sorted(arguments)}."
        )


def _check_dry_run(name: str, dry_run: Callable[..., Any], arguments: list[str]) -> None:
    parameters = inspect.signature(dry_run).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    taken = {parameter.name for parameter in parameters}
    needed = {p.name for p in parameters if p.default is p.empty}
    if not taken >= set(arguments) or not needed <= set(arguments):
        raise DeclarationError(
            f"tool {name!r}: its dry run takes {sorted(taken)}; it is called by name with what the "
            f"tool is called with: {arguments}."
        )
