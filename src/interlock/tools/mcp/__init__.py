"""Tools of MCP servers, as tools of ours: declared in `mcp.yaml`, pinned in `mcp.lock`.

The library that speaks the protocol loads with the first connection.
"""

from interlock.tools.mcp.servers import McpServers, load_servers

__all__ = ["McpServers", "load_servers"]
