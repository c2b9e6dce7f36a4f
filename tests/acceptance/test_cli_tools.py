"""`interlock tools`: listed, written down, compared, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

DESK = """
from interlock import App

app = App("desk", store="sqlite:///desk.db")


@app.tool(effect="write", recovery="never", owner="ops")
async def send(text: str) -> None: ...
"""


def interlock(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from interlock.cli import main; main()", *arguments]
    environment = os.environ | {"INTERLOCK_APP": "desk:app"}
    return subprocess.run(
        program, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_tools_are_listed_written_down_and_compared(tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text(DESK)
    (tool,) = json.loads(interlock(tmp_path, "tools", "--json").stdout)["tools"]
    assert (tool["name"], tool["effect"], tool["owner"]) == ("send", "write", "ops")
    assert "never" in interlock(tmp_path, "tools").stdout

    missing = interlock(tmp_path, "tools", "diff")
    assert (missing.returncode, "interlock tools lock" in missing.stderr) == (1, True)
    assert interlock(tmp_path, "tools", "lock").stdout == "tools.lock: 1 tool\n"
    same = interlock(tmp_path, "tools", "diff")
    assert (same.returncode, same.stdout) == (0, "nothing changed\n")

    (tmp_path / "desk.py").write_text(DESK.replace("text: str", "text: str, to: str"))
    changed = interlock(tmp_path, "tools", "diff")
    assert changed.returncode == 1
    assert "send: breaking: argument 'to' is new and needed" in changed.stdout
    assert json.loads(interlock(tmp_path, "tools", "diff", "--json").stdout)["breaking"] is True
