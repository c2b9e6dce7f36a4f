"""`python -m examples.support_desk evaluate`, as a person runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def support_desk(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.support_desk", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_table_says_how_it_was_decided_and_how_well() -> None:
    ran = support_desk("evaluate")
    assert ran.returncode == 0, ran.stderr
    assert "no model was used" in ran.stdout
    rows = re.findall(r"^ +(\d+)% +(\d+) +([\d.]+)% +([\d.]+)$", ran.stdout, re.MULTILINE)
    assert [int(share) for share, *_ in rows] == [30, 50, 60, 70, 80, 90, 100]
    floors = [float(floor) for *_, floor in rows]
    assert floors == sorted(floors, reverse=True)


def test_any_file_of_text_and_category_will_do(tmp_path: Path) -> None:
    train, tickets = tmp_path / "train.csv", tmp_path / "tickets.csv"
    train.write_text("text,category\nred apple,fruit\ngreen tree,plant\n")
    tickets.write_text("text,category\nan apple,fruit\na tree,fruit\nanother tree,plant\n")
    ran = support_desk("evaluate", "--train", str(train), "--tickets", str(tickets), "--limit", "2")
    assert ran.returncode == 0, ran.stderr
    assert "2 messages" in ran.stdout
    assert re.search(r"^ +100% +2 +50\.0%", ran.stdout, re.MULTILINE)


def test_an_unusable_file_is_named_without_a_traceback(tmp_path: Path) -> None:
    ran = support_desk("evaluate", "--tickets", str(tmp_path / "none.csv"))
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"support_desk: {tmp_path}/none.csv cannot be read")
    assert ran.stderr.count("\n") == 1
