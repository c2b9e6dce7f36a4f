"""What tools promise: written down, read again, compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from interlock.errors import InvalidInputError, NotFoundError
from interlock.tools.pins import Change, changes, promise, read_lock, write_lock
from interlock.tools.terms import Standing
from interlock.tools.tool import Tool, declare_tool


class OldAddress(BaseModel):
    title: str


class NewAddress(BaseModel):
    title: str
    zip: str


async def base(text: str, size: int = 1) -> None: ...
async def needed(text: str, size: int = 1, *, to: str) -> None: ...
async def optional(text: str, size: int = 1, to: str = "") -> None: ...
async def gone(text: str) -> None: ...
async def wider(text: str | None, size: float = 1) -> None: ...
async def narrower(text: Literal["a"], size: int = 1) -> None: ...
async def one_choice(text: Literal["a"], size: int = 1) -> None: ...
async def two_choices(text: Literal["a", "b"], size: int = 1) -> None: ...
async def all_needed(text: str, size: int) -> None: ...
async def to_old(to: OldAddress) -> None: ...
async def to_new(to: NewAddress) -> None: ...


def tool(function: Callable[..., Any] = base, **how: Any) -> Tool[..., Any]:
    how = {"effect": "write", "recovery": "never", **how}
    return declare_tool(function, name="send", **how)


def compared(before: Tool[..., Any], now: Tool[..., Any]) -> list[Change]:
    return changes({"send": promise(before)}, {"send": promise(now)})


@pytest.mark.parametrize(
    ("before", "now", "what", "breaking"),
    [
        (tool(), tool(needed), "argument 'to' is new and needed", True),
        (tool(), tool(optional), "argument 'to' is new and optional", False),
        (tool(), tool(gone), "argument 'size' is gone", True),
        (tool(), tool(wider), "argument 'text' was .*: it takes more", False),
        (tool(), tool(wider), "argument 'size' was .*: it takes more", False),
        (tool(), tool(narrower), "argument 'text' was .*: what it took may be refused", True),
        (tool(one_choice), tool(two_choices), "argument 'text' was .*: it takes more", False),
        (tool(two_choices), tool(one_choice), "argument 'text' was .*may be refused", True),
        (tool(), tool(all_needed), "argument 'size' was optional and is needed", True),
        (tool(to_old), tool(to_new), "argument 'to' was .*: what it took may be refused", True),
        (tool(), tool(recovery="repeatable"), "recovery was 'never'", True),
        (tool(), tool(effect="irreversible"), "effect was 'write'", True),
        (tool(), tool(version="2"), "version was '1'", True),
        (tool(), tool(standing=Standing(autonomy="suggest")), "autonomy was 'act'", True),
        (tool(), tool(standing=Standing(owner="ops")), "owner was ''", False),
    ],
)
def test_a_change_is_named_and_judged(
    before: Tool[..., Any], now: Tool[..., Any], what: str, breaking: bool
) -> None:
    found = [change for change in compared(before, now) if re.search(what, change.what)]
    assert [change.breaking for change in found] == [breaking], compared(before, now)


def test_what_did_not_change_is_not_named() -> None:
    assert compared(tool(), tool()) == []
    assert changes({}, {"send": promise(tool())}) == [Change("send", "it is new", breaking=False)]
    assert changes({"send": promise(tool())}, {}) == [Change("send", "it is gone", breaking=True)]


def test_the_file_keeps_what_was_promised(tmp_path: Path) -> None:
    file = tmp_path / "tools.lock"
    write_lock(file, [tool()])
    written = file.read_bytes()
    assert read_lock(file) == {"send": promise(tool())}
    write_lock(file, [tool()])
    assert file.read_bytes() == written


def test_a_file_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tools.lock"
    with pytest.raises(NotFoundError, match="interlock tools lock"):
        read_lock(file)
    write_lock(file, [tool()])
    file.write_text(file.read_text().replace('"never"', '"repeatable"'))
    with pytest.raises(InvalidInputError, match=r"'send' does not match its hash.*anew"):
        read_lock(file)
    for text in ("{", "[]", '{"format": 2, "tools": {}}', '{"format": 1, "tools": []}'):
        file.write_text(text)
        with pytest.raises(InvalidInputError, match=r"tools\.lock"):
            read_lock(file)
