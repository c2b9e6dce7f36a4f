"""A folder with `mcp.yaml`, the servers that it names, and what reached them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from interlock import App
from interlock.tools.mcp import McpServers, load_servers
from interlock.tools.mcp.review import pin_new, review
from tests.support.processes import ROOT

__all__ = ["Home", "Served", "served"]


class Served(NamedTuple):
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        """Where its tools are."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self.process.kill()
        self.process.wait(timeout=60)


@contextmanager
def served(module: str, *arguments: str, **environment: str) -> Iterator[Served]:
    """Start a server of `tests.support`, until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.support.{module}", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert process.stdout.readline() == "serving\n"
        yield Served(process, port)
    finally:
        process.kill()
        process.communicate(timeout=60)


class Home:
    """One server named `desk`, over standard input and output or at `url`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self.file = folder / "mcp.yaml"
        self.environment: dict[str, str] = {}

    def declare(self, tools: dict[str, Any], *, url: str = "", **server: Any) -> None:
        """Write `mcp.yaml`, which may be JSON since YAML includes that."""
        import json

        way: dict[str, Any] = {"url": url} if url else self._program(server.pop("env", {}))
        whole = {"servers": {"desk": {**way, **server, "tools": tools}}}
        self.file.write_text(json.dumps(whole, indent=1))

    def _program(self, env: dict[str, str]) -> dict[str, Any]:
        return {
            "command": sys.executable,
            "args": ["-m", "tests.support.mcp_desk", "stdio"],
            "cwd": str(ROOT),
            "log": "desk.err",
            "env": {"LEDGER": str(self.ledger), **env},
        }

    def servers(self) -> McpServers:
        """The servers as the files say now."""
        return load_servers(self.file, {**os.environ, **self.environment})

    def pin(self) -> None:
        """Accept all that is declared, as a person does at first."""
        servers = self.servers()
        pin_new(servers, asyncio.run(review(servers)).findings)

    def app(self, **more: Any) -> App:
        """An application with these tools."""
        store = f"sqlite:///{self.folder / 'journal.db'}"
        return App("test", store=store, mcp=self.file, **more)

    def done(self) -> list[str]:
        """What reached the server, without the listings."""
        return [line for line in self.ledger.read_text().splitlines() if line != "list"]
