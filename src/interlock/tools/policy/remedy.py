"""What to do about what Cedar finds wrong with a policy: it says what is not there, not what is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, cast

from interlock.tools.policy.schema import GROUPS, ActionSchema, context_attributes

__all__ = ["never_there", "with_remedies"]

_ATTRIBUTE: Final = re.compile(r'attribute `(.+)` in context for Action::"(.+)" not found')
_ACTION: Final = re.compile(r'unrecognized action `Action::"(.+)"`')
# Cedar says it beside every action that it does not know: nothing more is wrong.
_FOLLOWS: Final = "unable to find an applicable action"


def with_remedies(problems: Iterable[str], actions: Mapping[str, ActionSchema]) -> list[str]:
    """Cedar's sentences about one policy, each with what there is instead where we know it."""
    told = list(problems)
    if any(_ACTION.search(each) for each in told):
        told = [each for each in told if not each.startswith(_FOLLOWS)]
    return [each + _remedy(each, actions) for each in told]


def never_there(parsed: Mapping[str, Any], actions: Iterable[ActionSchema]) -> list[str]:
    """What a policy asks with `has` though no call that it is about can have it.

    To Cedar that is merely never true: a forbid that misspells its condition would forbid nothing.
    """
    known = sorted({name for action in actions for name in _names(action)})
    asked = {name for name in _asked_for(parsed.get("conditions", ())) if name not in known}
    return [
        f"`context has {name}` is never true, for no call that the policy is about has it"
        + _instead(name, known)
        for name in sorted(asked)
    ]


def _asked_for(node: Any) -> Iterator[str]:
    """The dotted names below `context` that are asked for with `has`, anywhere in a condition."""
    if isinstance(node, list):
        for each in cast("list[Any]", node):
            yield from _asked_for(each)
    elif isinstance(node, dict):
        for name, below in cast("dict[str, Any]", node).items():
            path = _path(below) if name == "has" else None
            if path is not None:
                yield ".".join(path)
            yield from _asked_for(below)


def _path(access: Any) -> tuple[str, ...] | None:
    """Where below `context` the attribute of an expression is; None where it is elsewhere."""
    if not isinstance(access, dict) or "attr" not in access:
        return None  # A record of the policy's own may have a member of this name.
    found = cast("dict[str, Any]", access)
    left = found.get("left")
    if left == {"Var": "context"}:
        return (str(found["attr"]),)
    before = _path(cast("dict[str, Any]", left).get(".")) if isinstance(left, dict) else None
    return None if before is None else (*before, str(found["attr"]))


def _remedy(problem: str, actions: Mapping[str, ActionSchema]) -> str:
    if found := _ATTRIBUTE.search(problem):
        action = actions.get(found[2])
        return "" if action is None else _instead(found[1], sorted(_names(action)))
    if found := _ACTION.search(problem):
        return _instead(found[1], [*sorted(actions), *GROUPS])
    return ""


def _instead(wrong: str, known: list[str]) -> str:
    near = get_close_matches(wrong, known, n=1)
    meant = f"; did you mean `{near[0]}`?" if near else "."
    return f"{meant} There are: {', '.join(known)}."


def _names(action: ActionSchema) -> Iterator[str]:
    return _below(context_attributes(action), "")


def _below(attributes: Mapping[str, Any], before: str) -> Iterator[str]:
    for name, kind in attributes.items():
        yield f"{before}{name}"
        if kind["type"] == "Record":
            yield from _below(kind["attributes"], f"{before}{name}.")
