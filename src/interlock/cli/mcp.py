"""`interlock mcp`: which tools MCP servers offer, and what a person has accepted of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from interlock.cli.exit_code import FAILED
from interlock.cli.options import AsJson
from interlock.cli.output import print_json, print_line, print_table, progress, remark
from interlock.errors import InvalidInputError

if TYPE_CHECKING:
    from interlock.tools.mcp.review import Finding, Review
    from interlock.tools.mcp.servers import McpServers

__all__ = ["register"]

_FILE: Final = Path("mcp.yaml")
TermsFile = Annotated[
    Path, typer.Option("--file", metavar="FILE", help="What declares the servers; mcp.yaml.")
]
Server = Annotated[
    str, typer.Argument(metavar="[SERVER]", help="Only this one.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Look at the tools of MCP servers, and accept them. Starts or asks the servers.",
    )
    group.command("list")(_list)
    group.command("pin")(_pin)
    group.command("diff")(_diff)
    group.command("accept")(_accept)
    app.add_typer(group, name="mcp")


def _look(file: Path, server: str) -> tuple[McpServers, Review]:
    from interlock.tools.mcp import load_servers
    from interlock.tools.mcp.review import review

    servers = load_servers(file)
    with progress("asking the servers"):
        return servers, asyncio.run(review(servers, server))


def _list(server: Server = "", file: TermsFile = _FILE, as_json: AsJson = False) -> None:
    """List all tools that the servers offer, and how each stands.

    accepted: as it was accepted; new: nothing was accepted yet; changed: it says something else
    now; gone: its server does not offer it; undeclared: offered, but not in the file, so it is no
    tool of ours; unreachable: its server does not answer. Only accepted tools can be called.
    """
    from interlock.tools.mcp.terms import tool_name

    servers, found = _look(file, server)
    rows: list[dict[str, Any]] = []
    for each in found.findings:
        terms = servers.terms[each.server].tools.get(each.tool)
        known = each.now or each.pin
        rows.append(
            {
                "tool": each.name,
                "state": each.state,
                "name": "" if terms is None else tool_name(each.server, each.tool, terms),
                "effect": "" if terms is None else terms.effect,
                "owner": "" if terms is None else terms.owner,
                "hash": "" if known is None else known.short_hash,
            }
        )
    if as_json:
        print_json({"tools": rows})
    else:
        columns = ("tool", "state", "name", "effect", "owner", "hash")
        print_table(columns, [list(row.values()) for row in rows], "no tools")
        if any(row["state"] == "undeclared" for row in rows):
            remark(f"undeclared tools are not offered to anybody: declare them in {file}")
    _tell_unreachable(found)


def _pin(server: Server = "", file: TermsFile = _FILE) -> None:
    """Accept all declared tools of which nothing was accepted before, and print them.

    What has changed since it was accepted is left to `accept`. Ends with 1 when a tool is left.
    """
    from interlock.tools.mcp.review import pin_new

    servers, found = _look(file, server)
    for each in pin_new(servers, found.findings):
        _show(each)
    left = found.of("changed", "gone", "unreachable")
    for each in left:
        remark(f"{each.name} is {each.state}: it is left as it is")
    _tell_unreachable(found)
    new = len(found.of("new"))
    print_line(f"{servers.lock_file.name}: {new} tool{'' if new == 1 else 's'} pinned")
    if left:
        raise typer.Exit(FAILED)


def _diff(server: Server = "", file: TermsFile = _FILE, as_json: AsJson = False) -> None:
    """Say how what the servers say of their tools differs from what was accepted.

    Ends with 1 when a tool is in quarantine or could not be looked at, and 0 otherwise.
    """
    _, found = _look(file, server)
    shown = [each for each in found.findings if each.is_open]
    unreachable = found.of("unreachable")
    if as_json:
        print_json({"tools": [_as_json(each) for each in (*shown, *unreachable)]})
    else:
        for each in shown:
            _show(each)
        _tell_unreachable(found)
        print_line(f"{len(shown)} in quarantine" if shown else "nothing is in quarantine")
    if shown or unreachable:
        raise typer.Exit(FAILED)


def _accept(
    tool: Annotated[str, typer.Argument(metavar="SERVER.TOOL", help="The tool.")],
    hash: Annotated[
        str, typer.Option("--hash", metavar="HASH", help="The hash that `diff` showed.")
    ] = "",
    file: TermsFile = _FILE,
) -> None:
    """Accept a tool as its server describes it now; processes that start later can call it.

    Without --hash it shows what has changed and asks.
    """
    from interlock.tools.mcp.review import accept

    server, _, name = tool.partition(".")
    servers, found = _look(file, server)
    finding = next((each for each in found.findings if each.tool == name), None)
    if finding is None:
        known = ", ".join(each.name for each in found.findings) or "none"
        raise InvalidInputError(f"there is no tool {tool!r}; there are: {known}.")
    if finding.state == "accepted":
        print_line(f"{tool} is accepted as it is")
        return
    if not hash and finding.now is not None:
        _show(finding)
        hash = _asked(finding.now.hash)
    pin = accept(servers, finding, hash)
    print_line(f"{tool} is accepted: {pin.short_hash}")


def _asked(hash: str) -> str:
    import sys

    if not sys.stdin.isatty():
        raise InvalidInputError("nobody can be asked here: give the hash that was read, --hash.")
    typer.confirm("Accept it?", abort=True)
    return hash


def _show(finding: Finding) -> None:
    hash = "" if finding.now is None else f", hash {finding.now.short_hash}"
    print_line(f"{finding.name} ({finding.state}{hash})")
    for line in finding.lines():
        print_line(f"  {line}")


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "tool": finding.name,
        "state": finding.state,
        "accepted": None if finding.pin is None else finding.pin.definition,
        "now": None if finding.now is None else finding.now.definition,
        "hash": None if finding.now is None else finding.now.hash,
        "why": finding.why,
    }


def _tell_unreachable(found: Review) -> None:
    for why in dict.fromkeys(each.why for each in found.of("unreachable")):
        remark(why)
