"""What a simulation is made of, and where a deliberately broken part can be put in its place."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.orchestrator.session import Session
from interlock.testing.crashing import SimulatedStore
from interlock.testing.interpreter import ToolMaker
from interlock.testing.latency import SimulatedJournal
from interlock.tools.tool import Tool

__all__ = ["ENGINE", "Variant"]


def _unchanged(tool: Tool[..., object]) -> Tool[..., object]:
    return tool


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The parts of an engine.

    `name` is empty for the real one; `broken` says what is wrong, and `breaks` are the numbers of
    the invariants by which it may be caught.
    """

    name: str = ""
    broken: str = ""
    breaks: tuple[str, ...] = ()
    store: type[SimulatedStore] = SimulatedStore
    session: type[Session] = Session
    journal: type[SimulatedJournal] = SimulatedJournal
    tool: ToolMaker = _unchanged


ENGINE = Variant()
