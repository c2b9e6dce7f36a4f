"""Making a failing program smaller while it still fails: what is left shows the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, cast

from interlock.testing.program import Node, Program

__all__ = ["shrink"]

_TRIES: Final = 150


def shrink(program: Program, fails: Callable[[Program], bool], tries: int = _TRIES) -> Program:
    """The smallest program found within `tries` for which `fails` is still true."""
    smallest = program
    left = tries
    improved = True
    while improved and left > 0:
        improved = False
        for candidate in _smaller(smallest):
            left -= 1
            if fails(candidate):
                smallest, improved = candidate, True
                break
            if left <= 0:
                break
    return smallest


def _smaller(program: Program) -> Iterator[Program]:
    for root in _reduced(program.root):
        if root["do"] == "seq":
            yield replace(program, root=root)
    for name in ("cancel_at_ms", "deadline_ms", "start_after_ms"):
        if getattr(program, name) is not None:
            yield replace(program, **{name: None})
    for index in range(len(program.signals)):
        yield replace(program, signals=program.signals[:index] + program.signals[index + 1 :])
    if program.disk_us:
        yield replace(program, disk_us=0)


def _reduced(node: Node) -> Iterator[Node]:
    """The node with one thing less, the largest pieces first."""
    inner: Any = node.get("of")
    if isinstance(inner, list):
        yield from _shorter(node)
    if "next" in node:
        yield {name: value for name, value in node.items() if name != "next"}
    if node["do"] in ("catch", "guarded", "handshake", "within", "cancelled"):
        yield cast("Node", inner)
    for name in ("of", "finally", "next"):
        yield from _with_reduced(node, name)
    if node.get("script"):
        yield {**node, "script": node["script"][:-1]}


def _shorter(node: Node) -> Iterator[Node]:
    parts: list[Node] = node["of"]
    for index in range(len(parts)):
        if len(parts) > 1:
            yield {**node, "of": parts[:index] + parts[index + 1 :]}


def _with_reduced(node: Node, name: str) -> Iterator[Node]:
    inner: Any = node.get(name)
    if isinstance(inner, list):
        parts = cast("list[Node]", inner)
        for index, part in enumerate(parts):
            for smaller in _reduced(part):
                yield {**node, name: [*parts[:index], smaller, *parts[index + 1 :]]}
    elif inner is not None:
        whole_run = node["do"] == "child" or name == "next"
        for smaller in _reduced(inner):
            if not whole_run or smaller["do"] == "seq":
                yield {**node, name: smaller}
