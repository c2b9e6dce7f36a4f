"""What to do about what Cedar finds wrong with a policy: it says what is not there, not what is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from interlock.tools.policy.schema import GROUPS, ActionSchema, context_attributes

__all__ = ["with_remedies"]

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
