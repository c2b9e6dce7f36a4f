"""What an operation's key says: `/1/reply#2` is the second `reply` of task 1."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_time_limit", "operation_name"]

_KEY: Final = re.compile(r"^(?:/\d+)*/(?P<name>.*)#\d+$", re.DOTALL)


def operation_name(key: str) -> str:
    """The operation's name within its key; the key itself where it has another form."""
    match = _KEY.match(key)
    return match["name"] if match else key


def is_time_limit(key: str) -> bool:
    """Whether the operation is a time limit (`run.timeout`) and not something to wait for."""
    return operation_name(key) == "timer"
