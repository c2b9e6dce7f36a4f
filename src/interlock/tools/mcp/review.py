"""What a person looks at before they accept a tool: what was accepted, and what is said now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from interlock.errors import ConflictError, NotFoundError
from interlock.tools.effects import NotMadeError
from interlock.tools.mcp.pins import Pin, differences, read_pins, write_pins
from interlock.tools.mcp.servers import McpServers

__all__ = ["Finding", "Review", "accept", "pin_new", "review"]

State = Literal["accepted", "new", "changed", "gone", "undeclared", "unreachable"]
_IN_ORDER: Final = ("unreachable", "changed", "new", "gone", "accepted", "undeclared")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How one tool stands.

    `accepted`: as it was accepted. `new`: nothing was accepted yet. `changed`: it says something
    else now. `gone`: its server does not offer it. `undeclared`: it is offered, and `mcp.yaml` does
    not have it, so it is no tool of ours. `unreachable`: its server did not answer, for `why`.
    """

    server: str
    tool: str
    state: State
    pin: Pin | None = None
    now: Pin | None = None
    why: str = ""

    @property
    def name(self) -> str:
        """SERVER.TOOL."""
        return f"{self.server}.{self.tool}"

    @property
    def is_open(self) -> bool:
        """Whether calls are refused until something is done."""
        return self.state in ("new", "changed", "gone")

    def lines(self) -> list[str]:
        """What has changed, or the whole of what is new."""
        if self.now is None:
            return []
        return differences(self.pin or Pin({}), self.now)


@dataclass(frozen=True)
class Review:
    """All findings, by server in the order of the file."""

    findings: tuple[Finding, ...]

    def of(self, *states: State) -> tuple[Finding, ...]:
        """Those in one of the states."""
        return tuple(each for each in self.findings if each.state in states)


async def review(servers: McpServers, only: str = "") -> Review:
    """Ask all servers, or one, what they offer now. Changes nothing.

    Raises `NotFoundError` for a server that is not in the file.
    """
    names = [only] if only else list(servers.terms)
    found = await asyncio.gather(*(_of_server(servers, name) for name in names))
    return Review(tuple(finding for each in found for finding in each))


async def _of_server(servers: McpServers, server: str) -> list[Finding]:
    try:
        async with servers.looking_at(server) as connection:
            offered = await connection.offered()
    except NotMadeError as error:
        tools = servers.terms[server].tools
        return [_unreachable(servers, server, tool, str(error)) for tool in tools]
    declared = servers.terms[server].tools
    found = [_standing(servers, server, tool, offered.get(tool)) for tool in declared]
    found += [
        Finding(server=server, tool=tool, state="undeclared", now=now)
        for tool, now in offered.items()
        if tool not in declared
    ]
    return sorted(found, key=lambda each: _IN_ORDER.index(each.state))


def _unreachable(servers: McpServers, server: str, tool: str, why: str) -> Finding:
    pin = servers.pin(server, tool)
    return Finding(server=server, tool=tool, state="unreachable", pin=pin, why=why)


def _standing(servers: McpServers, server: str, tool: str, now: Pin | None) -> Finding:
    pin = servers.pin(server, tool)
    state: State = "accepted"
    if now is None:
        state = "gone"
    elif pin is None:
        state = "new"
    elif now.hash != pin.hash:
        state = "changed"
    return Finding(server=server, tool=tool, state=state, pin=pin, now=now)


def pin_new(servers: McpServers, findings: Iterable[Finding]) -> list[Finding]:
    """Accept all tools of which nothing was accepted before, and answer them.

    What has changed since it was accepted is left as it is. Raises `DeclarationError`, and accepts
    nothing, where what `mcp.yaml` says of a tool does not fit it.
    """
    new = [each for each in findings if each.state == "new"]
    _write(servers, new)
    return new


def accept(servers: McpServers, finding: Finding, hash: str) -> Pin:
    """Accept one tool as its server describes it now, if that is what a person has read.

    `hash` is the hash of that, or at least as much of it as is shown. Raises `ConflictError` if it
    is another, `NotFoundError` if there is nothing to accept, and `DeclarationError` if what
    `mcp.yaml` says of it does not fit it.
    """
    now = finding.now
    if now is None or finding.state == "undeclared":
        why = finding.why or (
            f"{servers.file} does not declare it" if now else "its server does not offer it"
        )
        raise NotFoundError(f"{finding.name} cannot be accepted: {why}.")
    if not (len(hash) >= len(now.short_hash) and now.hash.startswith(hash)):
        raise ConflictError(
            f"{finding.name} is now {now.short_hash}, and not {hash}: it has changed since it was "
            "read. Read it again with `interlock mcp diff`."
        )
    _write(servers, [finding])
    return now


def _write(servers: McpServers, findings: list[Finding]) -> None:
    # Read anew: another person may have accepted something meanwhile.
    pins = read_pins(servers.lock_file)
    for each in findings:
        if each.now is not None:
            servers.check(each.server, each.tool, each.now)
            pins.setdefault(each.server, {})[each.tool] = each.now
    if findings:
        write_pins(servers.lock_file, pins)
