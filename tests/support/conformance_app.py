"""The tools that the protocol's conformance suite asks of a server, as governed tools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from interlock import App

HOME = Path(os.environ.get("INTERLOCK_TEST_HOME", "."))
app = App("reference", policies=HOME / "policies")

# The smallest picture and the smallest sound that there are.
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
SOUND = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="


def image() -> dict[str, Any]:
    """A picture as MCP has it."""
    return {"type": "image", "data": PICTURE, "mimeType": "image/png"}


def resource(name: str, kind: str, text: str) -> dict[str, Any]:
    """An embedded resource as MCP has it."""
    return {"type": "resource", "resource": {"uri": name, "mimeType": kind, "text": text}}


@app.tool(effect="read")
async def test_simple_text() -> str:
    """Answer with a text."""
    return "This is a simple text response for testing."


@app.tool(effect="read")
async def test_image_content() -> Any:
    """Answer with a picture."""
    return [image()]


@app.tool(effect="read")
async def test_audio_content() -> Any:
    """Answer with a sound."""
    return [{"type": "audio", "data": SOUND, "mimeType": "audio/wav"}]


@app.tool(effect="read")
async def test_embedded_resource() -> Any:
    """Answer with a resource."""
    text = "This is an embedded resource content."
    return [resource("test://embedded-resource", "text/plain", text)]


@app.tool(effect="read")
async def test_multiple_content_types() -> Any:
    """Answer with several things."""
    words = {"type": "text", "text": "Multiple content types test:"}
    data = '{"test":"data","value":123}'
    return [words, image(), resource("test://mixed-content-resource", "application/json", data)]


@app.tool(effect="read", attempts=1)
async def test_error_handling() -> str:
    """Fail."""
    raise RuntimeError("This tool intentionally returns an error for testing")


class address(BaseModel):  # noqa: N801 - the name that the suite looks for
    """Where somebody lives."""

    street: str = ""
    city: str = ""


@app.tool(effect="write", recovery="repeatable")
async def json_schema_2020_12_tool(name: str, address: address) -> str:
    """Take a schema with definitions."""
    return f"{name} lives in {address.city}"


app.offer("local", *app.tools.values())
