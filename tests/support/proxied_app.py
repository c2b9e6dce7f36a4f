"""An application that offers the tools of other MCP servers, as `mcp.yaml` declares them."""

from __future__ import annotations

from interlock import App

app = App("proxy", mcp="mcp.yaml")
app.offer("local", *app.tools.values())
