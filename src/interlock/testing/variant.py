"""What a simulation is made of, and where a deliberately broken part can be put in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from interlock.journal.journal import Journal
from interlock.orchestrator.session import Session
from interlock.testing.crashing import SimulatedStore
from interlock.testing.interpreter import ToolMaker
from interlock.tools.tool import Tool

__all__ = ["ENGINE", "Variant"]


def _unchanged(tool: Tool[..., object]) -> Tool[..., object]:
    return tool


def _inline(store: SimulatedStore) -> Journal:
    return Journal(store, mode="inline")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The parts of an engine. `name` is empty for the real one; `broken` says what is wrong."""

    name: str = ""
    broken: str = ""
    store: type[SimulatedStore] = SimulatedStore
    session: type[Session] = Session
    journal: Callable[[SimulatedStore], Journal] = _inline
    tool: ToolMaker = _unchanged


ENGINE = Variant()
