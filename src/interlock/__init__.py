"""Interlock takes AI agents from a demo to production.

Import what an application needs from here; it is loaded when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from interlock.app import App, LocalExecutor, RunHandle
    from interlock.contract import Contract
    from interlock.errors import (
        AskFailedError,
        BudgetExhaustedError,
        ChildFailedError,
        EffectFailedError,
        InterlockError,
        PlanFailedError,
        RunFailedError,
        StepFailedError,
    )
    from interlock.models.durability import Durability
    from interlock.orchestrator.client import Client
    from interlock.orchestrator.executor import ExecutorOptions
    from interlock.orchestrator.retry import Retry
    from interlock.orchestrator.run import Child, Escalation, Run, Value
    from interlock.orchestrator.start import StartOptions
    from interlock.orchestrator.waits import Decision
    from interlock.tools.effects import (
        CANNOT_TELL,
        NOT_HAPPENED,
        CannotTell,
        EffectKey,
        Happened,
        NotHappened,
        NotMadeError,
    )
    from interlock.tools.plan import Plan, PlanStep
    from interlock.tools.tool import Tool

_HOMES: Final = {
    "interlock.app": ("App", "LocalExecutor", "RunHandle"),
    "interlock.contract": ("Contract",),
    "interlock.errors": (
        "AskFailedError",
        "BudgetExhaustedError",
        "ChildFailedError",
        "EffectFailedError",
        "InterlockError",
        "PlanFailedError",
        "RunFailedError",
        "StepFailedError",
    ),
    "interlock.models.durability": ("Durability",),
    "interlock.orchestrator.client": ("Client",),
    "interlock.orchestrator.executor": ("ExecutorOptions",),
    "interlock.orchestrator.retry": ("Retry",),
    "interlock.orchestrator.run": ("Child", "Escalation", "Run", "Value"),
    "interlock.orchestrator.start": ("StartOptions",),
    "interlock.orchestrator.waits": ("Decision",),
    "interlock.tools.effects": (
        "CANNOT_TELL",
        "NOT_HAPPENED",
        "CannotTell",
        "EffectKey",
        "Happened",
        "NotHappened",
        "NotMadeError",
    ),
    "interlock.tools.plan": ("Plan", "PlanStep"),
    "interlock.tools.tool": ("Tool",),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CANNOT_TELL",
    "NOT_HAPPENED",
    "App",
    "AskFailedError",
    "BudgetExhaustedError",
    "CannotTell",
    "Child",
    "ChildFailedError",
    "Client",
    "Contract",
    "Decision",
    "Durability",
    "EffectFailedError",
    "EffectKey",
    "Escalation",
    "ExecutorOptions",
    "Happened",
    "InterlockError",
    "LocalExecutor",
    "NotHappened",
    "NotMadeError",
    "Plan",
    "PlanFailedError",
    "PlanStep",
    "Retry",
    "Run",
    "RunFailedError",
    "RunHandle",
    "StartOptions",
    "StepFailedError",
    "Tool",
    "Value",
]


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'interlock' has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)
