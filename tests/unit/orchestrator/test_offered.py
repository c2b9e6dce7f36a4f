"""Offers to agents that are not ours: what may be offered, and what a call's run trusts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mcp_types import TextContent
from pydantic import BaseModel

from interlock import App
from interlock.contract import parse_contract
from interlock.entry.mcp_tools import offered_tool, shaped
from interlock.errors import DeclarationError
from interlock.orchestrator.offered import OfferedCall, agent_name
from tests.support.local import app_in, entries_of, executing, open_task


def test_an_offer_names_a_client_and_tools_each_once(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.tool(effect="read")
    async def look() -> str:
        return "x"

    @app.tool(effect="read", name="interlock_look")
    async def reserved() -> str:
        return "x"

    for client, tools in (("", [look]), ("a", []), ("a", [look, look]), ("a", [reserved])):
        with pytest.raises(DeclarationError):
            app.offer(client, *tools)
    assert app.offer("a/b%c", look) == "mcp:a%2Fb%25c"
    with pytest.raises(DeclarationError, match="twice"):
        app.offer("a/b%c", look)
    assert agent_name("a%2Fb") != agent_name("a/b")


def test_handles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    text = "agent: mcp:partner\nmasking: {handles: true}\n"
    (tmp_path / "contracts" / "partner.yaml").write_text(text)
    app = App("test", contracts=tmp_path / "contracts")

    @app.tool(effect="read")
    async def look() -> str:
        return "x"

    with pytest.raises(DeclarationError, match="handles"):
        app.offer("partner", look)


@pytest.mark.parametrize("contract", ["", "agent: mcp:partner\npurpose: Orders\n"])
def test_the_input_of_a_call_is_no_ground(tmp_path: Path, contract: str) -> None:
    """Whether or not the client has a contract, which every run is pinned to."""
    app = app_in(tmp_path)
    if contract:
        app.contracts["mcp:partner"] = parse_contract(contract)

    @app.tool(effect="write", recovery="repeatable", destinations=("to",))
    async def send(to: str) -> str:
        return to

    agent = app.offer("partner", send)

    async def scenario() -> None:
        async with executing(app) as local:
            call = OfferedCall(tool="send", arguments={"to": "eve@evil.example"})
            started = await local.client.start(agent, call)
            task = await open_task(local, started.run)
            assert task.kind == "approval"

    asyncio.run(scenario())


def test_arguments_may_have_any_name_and_sensitive_ones_are_hidden(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.tool(effect="read", sensitive=("args.tool", "result.code"))
    async def look(tool: str, run: int) -> dict[str, str]:
        return {"code": tool * run, "seen": "yes"}

    agent = app.offer("partner", look)

    async def scenario() -> None:
        async with executing(app) as local:
            call = OfferedCall(tool="look", arguments={"tool": "ab", "run": 2})
            handle = await local.start(agent, call)
            assert await handle.result() == {"code": "abab", "seen": "yes"}
            (queued,) = entries_of(local, handle.id, "run_queued")
            assert queued.event.header["sensitive"] == ["arguments.tool"]
            (completed,) = entries_of(local, handle.id, "run_completed")
            assert completed.event.header["sensitive"] == ["code"]

    asyncio.run(scenario())


PICTURE = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
WORDS = {"type": "text", "text": "a picture"}


@pytest.mark.parametrize(
    ("kind", "value", "through"),
    [
        (Any, [WORDS, PICTURE], True),
        (Any, [], False),
        (Any, [WORDS, 3], False),
        (Any, [{"type": "image", "data": "AAAA"}], False),
        (Any, [{"type": ["text"]}], False),
        (list[dict[str, str]], [WORDS, PICTURE], False),
    ],
)
def test_contents_of_mcp_go_through_as_they_are(
    tmp_path: Path, kind: Any, value: Any, through: bool
) -> None:
    async def look() -> Any:
        return value

    look.__annotations__["return"] = kind
    content, _ = shaped(app_in(tmp_path).tool(effect="read")(look), value)
    written = [one.model_dump(by_alias=True, exclude_none=True) for one in content]
    assert (written == value) is through
    assert through or len(written) == 1


class Inner(BaseModel):
    """A part of a result."""

    size: int | None = None


class Outer(BaseModel):
    """A result."""

    inner: Inner


@pytest.mark.parametrize(
    ("kind", "value", "structured"),
    [
        (Outer, {"inner": {"size": None}}, {"inner": {"size": None}}),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (list[Inner], [{"size": 1}], {"result": [{"size": 1}]}),
        (str, "text", {"result": "text"}),
        (Any, {"a": 1}, {"a": 1}),
        (Any, [1], None),
        (None, None, None),
    ],
)
def test_results_are_in_the_shape_that_is_promised(
    tmp_path: Path, kind: Any, value: Any, structured: Any
) -> None:
    app = app_in(tmp_path)

    async def look() -> Any:
        return value

    look.__annotations__["return"] = kind
    tool = app.tool(effect="read")(look)
    shown = offered_tool(tool)
    content, found = shaped(tool, value)
    assert found == structured
    (one,) = content
    assert isinstance(one, TextContent)
    text = one.text
    assert text == "text" or text.startswith(("{", "[", "null"))
    schema = shown.output_schema
    assert (schema is None) is (kind in (Any, None))
    if schema is not None:
        assert schema["type"] == "object"
        jsonschema.validate(structured, schema)
