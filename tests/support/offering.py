"""What an application that offers tools over MCP reads, and what its tools have made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["made", "prepare"]

POLICIES = """
@id("reads") permit (principal, action in Action::"any read", resource);
@id("notes") permit (principal, action == Action::"note", resource);
@id("slow") permit (principal, action == Action::"slowly", resource);
@id("sends") permit (principal, action == Action::"send", resource);
@id("small") permit (principal, action == Action::"refund", resource)
when { context.amount <= 5000 };
@id("large") @approval("billing-team") @reason("More than 50 euros.")
permit (principal, action == Action::"refund", resource) when { context.amount > 5000 };
@id("never") forbid (principal, action == Action::"refund", resource)
when { context.args.account == "blocked" };
@id("partner") forbid (principal == Agent::"mcp:partner", action == Action::"refund", resource)
when { context.args.account == "own" };
"""
PEOPLE = "roles: {billing-team: [ana, bela]}\n"
CONTRACT = "agent: mcp:partner\ngrounding: {values: [desk@shop.example]}\n"


def prepare(folder: Path) -> None:
    """Write what the app reads when it is imported."""
    (folder / "policies").mkdir()
    (folder / "policies" / "shop.cedar").write_text(POLICIES)
    (folder / "policies" / "people.yaml").write_text(PEOPLE)
    (folder / "contracts").mkdir()
    (folder / "contracts" / "partner.yaml").write_text(CONTRACT)


def made(folder: Path) -> list[dict[str, Any]]:
    """The writes that were really made, in order."""
    path = folder / "made.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
