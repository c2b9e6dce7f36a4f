"""Our client for the protocol's conformance suite: `… mcp_conformance_client URL`.

The suite starts a server for a scenario and runs this program. It does what an application does:
declares the server, accepts its tools, and has a run call each of them through the gateway. What
the scenario gives as context are client credentials.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from interlock import App, Run
from interlock.tools.mcp import load_servers
from interlock.tools.mcp.review import pin_new, review

EXAMPLES = {"number": 5, "integer": 5, "string": "text", "boolean": True, "array": [], "object": {}}


def declare(folder: Path, url: str, tools: list[str]) -> Path:
    """`mcp.yaml` for one server, with these tools."""
    server: dict[str, Any] = {"url": url, "tools": {name: {"effect": "read"} for name in tools}}
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    if "client_id" in context:
        by_key = "private_key_pem" in context
        os.environ["CONFORMANCE_SECRET"] = context["private_key_pem" if by_key else "client_secret"]
        server["oauth"] = {
            "issuer": issuer_of(url),
            "client_id": context["client_id"],
            "private_key" if by_key else "client_secret": "env:CONFORMANCE_SECRET",
            "algorithm": context.get("signing_algorithm", "RS256"),
        }
    file = folder / "mcp.yaml"
    file.write_text(json.dumps({"servers": {"it": server}}))
    return file


def issuer_of(url: str) -> str:
    """Who gives tokens for a server: the suite starts it anew each time, so nobody can know it."""
    host, _, path = url.rpartition("/")
    described = httpx.get(f"{host}/.well-known/oauth-protected-resource/{path}")
    return described.json()["authorization_servers"][0]


def offered(file: Path) -> list[str]:
    """The names of all tools that the server offers. Raises `NotMadeError` without an answer."""

    async def look() -> list[str]:
        async with load_servers(file).looking_at("it") as connection:
            return list(await connection.offered())

    return asyncio.run(look())


def example(schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments that fit: a value for everything that is needed."""
    properties = schema.get("properties", {})
    return {
        name: EXAMPLES[properties.get(name, {}).get("type", "string")]
        for name in schema.get("required", [])
    }


def main() -> None:
    """Call every tool once."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        file = declare(folder, sys.argv[-1], [])
        file = declare(folder, sys.argv[-1], offered(file))
        servers = load_servers(file)
        pin_new(servers, asyncio.run(review(servers)).findings)
        app = App("conformance", store=f"sqlite:///{folder / 'journal.db'}", mcp=file)

        @app.agent("caller")
        async def caller(run: Run) -> list[Any]:
            return [
                await run.call(tool, **example(tool.arguments.schema()))
                for tool in app.tools.values()
            ]

        sys.stdout.write(f"{json.dumps(app.run('caller'))}\n")


if __name__ == "__main__":
    main()
