"""`interlock mcp`: looked at, pinned, compared and accepted, in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.mcp_home import Home
from tests.support.serving import interlock

TOOLS = {"find": {"effect": "read", "owner": "ops"}, "save": {"effect": "read"}}


def test_tools_are_looked_at_pinned_and_accepted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.declare(TOOLS)
    listed = interlock("mcp", "list", "--json", folder=tmp_path)
    rows = {row["tool"]: row for row in json.loads(listed.stdout)["tools"]}
    assert rows["desk.find"]["state"] == "new"
    assert rows["desk.find"]["name"] == "desk_find"
    assert rows["desk.find"]["owner"] == "ops"
    assert rows["desk.die"] == {**rows["desk.die"], "state": "undeclared", "name": ""}

    first = interlock("mcp", "diff", folder=tmp_path)
    assert first.returncode == 1
    assert "desk.save (new, hash " in first.stdout
    assert '+  "readOnlyHint": true' in first.stdout
    pinned = interlock("mcp", "pin", folder=tmp_path)
    assert (pinned.returncode, pinned.stdout.splitlines()[-1]) == (0, "mcp.lock: 2 tools pinned")
    same = interlock("mcp", "diff", folder=tmp_path)
    assert (same.returncode, same.stdout, same.stderr) == (0, "nothing is in quarantine\n", "")
    table = interlock("mcp", "list", folder=tmp_path)
    assert "declare them in mcp.yaml" in table.stderr
    assert "desk.find" in table.stdout

    (tmp_path / "WORDS").write_text("Another\u200b.")
    changed = interlock("mcp", "diff", "desk", folder=tmp_path)
    assert changed.returncode == 1
    assert "    -Find documents.\n    +Another\\u200b.\n" in changed.stdout
    left = interlock("mcp", "pin", folder=tmp_path)
    assert (left.returncode, "desk.find is changed" in left.stderr) == (1, True)

    nobody = interlock("mcp", "accept", "desk.find", folder=tmp_path)
    assert (nobody.returncode, "--hash" in nobody.stderr) == (2, True)
    other = interlock("mcp", "accept", "desk.find", "--hash", "0" * 12, folder=tmp_path)
    assert (other.returncode, "changed since it was read" in other.stderr) == (1, True)
    hash = json.loads(interlock("mcp", "diff", "--json", folder=tmp_path).stdout)["tools"][0][
        "hash"
    ]
    done = interlock("mcp", "accept", "desk.find", "--hash", hash, folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"desk.find is accepted: {hash[:12]}\n")
    again = interlock("mcp", "accept", "desk.find", folder=tmp_path)
    assert again.stdout == "desk.find is accepted as it is\n"
    assert interlock("mcp", "diff", folder=tmp_path).returncode == 0


def test_mistakes_are_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    missing = interlock("mcp", "list", folder=tmp_path)
    assert (missing.returncode, "mcp.yaml: it cannot be read" in missing.stderr) == (2, True)
    home.declare(TOOLS, command="false", args=[])
    unreachable = interlock("mcp", "diff", folder=tmp_path)
    assert unreachable.returncode == 1
    assert "MCP server 'desk' cannot be reached" in unreachable.stderr
    unknown = interlock("mcp", "accept", "desk.nothing", folder=tmp_path)
    assert (unknown.returncode, "there are: desk.find, desk.save" in unknown.stderr) == (2, True)
    assert interlock("mcp", "list", "dsk", folder=tmp_path).returncode == 1
