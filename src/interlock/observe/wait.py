"""What a run waits for, in words: one entry of a suspension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from interlock.observe.operation_key import called, is_pause, is_time_limit, operation_name

__all__ = ["wait_in_words"]

_ASKED: Final = "a person: did "
_HAPPENED: Final = " happen?"


def wait_in_words(wait: Mapping[str, Any]) -> str:
    """What the wait is for, as it reads after \"waits for\"."""
    what = str(wait["what"])
    if is_time_limit(wait["key"]):
        return "a time limit of its own code"
    if wait.get("kind") == "timer" and is_pause(wait["key"]):
        return "the next attempt to ask a model"
    if what.startswith(_ASKED) and what.endswith(_HAPPENED):
        effect = what.removeprefix(_ASKED).removesuffix(_HAPPENED)
        return f"a person to say whether {effect} happened"
    name = operation_name(wait["key"])
    return what.replace(repr(name), called(name))
