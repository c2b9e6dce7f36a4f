"""What callers of the API send: bodies and queries, each with every field described.

A field that is not here is refused, so that a misspelt one is never silently ignored.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from interlock.entry.moment import parse_moment
from interlock.journal.rows import EffectState, InboxState, RunState
from interlock.orchestrator.start import StartOptions

__all__ = [
    "BudgetsQuery",
    "CancelRequest",
    "DecisionRequest",
    "EffectsQuery",
    "EventsQuery",
    "InboxQuery",
    "RaiseRequest",
    "ResolutionRequest",
    "RetryRequest",
    "RunsQuery",
    "ShowQuery",
    "SignalRequest",
    "StartQuery",
    "StartRequest",
]

MAX_WAIT_SECONDS = 60
_MAX_PAGE = 500
_BY = Field(default="", max_length=200, description="who does it, for the journal")
_REVEAL = Field(default=False, description="show secrets and personal data as they are, not masked")
_LIMIT = Field(default=50, ge=1, le=_MAX_PAGE, description=f"how many, at most {_MAX_PAGE}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [fields]})


class StartRequest(_Strict):
    """A run to start."""

    model_config = _example(input={"text": "My card was charged twice."}, priority=5)

    input: Any = Field(default=None, description="the agent's input, by its declared type")
    tenant: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="whom the run belongs to; the caller's, or `default`, without it",
    )
    priority: int = Field(default=0, ge=-1000, le=1000, description="higher goes first")
    start_after: str | None = Field(
        default=None, description="not before: ISO 8601 with a zone, or 90s, 15m, 2h, 3d from now"
    )
    deadline: str | None = Field(
        default=None, description="cancelled when not finished by then; same form"
    )

    def options(self, idempotency_key: str | None, *, tenant: str, by: str) -> StartOptions:
        """The options as the engine takes them. Raises `InvalidInputError`."""
        return StartOptions(
            tenant=tenant,
            by=by,
            priority=self.priority,
            start_after=_moment(self.start_after, "start_after"),
            deadline=_moment(self.deadline, "deadline"),
            idempotency_key=idempotency_key,
        )


def _moment(text: str | None, what: str) -> Any:
    return None if text is None else parse_moment(text, what)


class StartQuery(_Strict):
    """How long to wait for the run."""

    wait_seconds: float = Field(
        default=0,
        ge=0,
        le=MAX_WAIT_SECONDS,
        description=f"wait for the run's end, at most {MAX_WAIT_SECONDS} seconds",
    )
    reveal: bool = _REVEAL


class ShowQuery(_Strict):
    """How to show a run."""

    reveal: bool = _REVEAL


class CancelRequest(_Strict):
    """A request to cancel a run."""

    model_config = _example(reason="the customer withdrew it", by="ana")

    reason: str = Field(default="cancelled", min_length=1, max_length=1000)
    by: str = _BY


class RetryRequest(_Strict):
    """A request to let a parked run go on."""

    by: str = _BY


class SignalRequest(_Strict):
    """A signal's payload."""

    model_config = _example(payload={"paid": True}, by="billing")

    payload: Any = None
    by: str = _BY


class DecisionRequest(_Strict):
    """The answer to an inbox task."""

    model_config = _example(choice="approve", note="checked with the customer", by="ana")

    choice: str = Field(max_length=1000, description="one of the task's choices, where it has any")
    note: str = Field(default="", max_length=10_000)
    value: Any = Field(default=None, description="data that goes with the answer")
    by: str = _BY


class ResolutionRequest(_Strict):
    """What became of an effect whose outcome is unknown."""

    model_config = _example(verdict="happened", result={"id": "msg-17"}, by="ana")

    verdict: Literal["happened", "not_happened", "given_up"]
    result: Any = Field(
        default=None, description="what the call would have returned, when it happened"
    )
    by: str = _BY


class RaiseRequest(_Strict):
    """How much more an account may spend."""

    model_config = _example(account="tenant/acme/2026-11-25/usd", amount="0.50", by="ana")

    account: str = Field(min_length=1, max_length=1000)
    amount: str = Field(
        max_length=40, description="a decimal number, as text, in the account's unit"
    )
    by: str = _BY


class RunsQuery(_Strict):
    """Which runs to list."""

    state: list[RunState] = Field(default_factory=list[RunState], description="may be repeated")
    agent: str = ""
    tenant: str = ""
    parent: str = Field(default="", description="children of this run")
    before: str = Field(default="", description="continue after this run: `next` of the last page")
    limit: int = _LIMIT


class EventsQuery(_Strict):
    """Which events of a run to list."""

    after: int = Field(default=0, ge=0, le=2**62, description="continue after this `seq`")
    limit: int = Field(default=200, ge=1, le=1000)
    bodies: bool = Field(default=False, description="also show what was recorded")
    reveal: bool = _REVEAL


class InboxQuery(_Strict):
    """Which inbox tasks to list."""

    state: list[InboxState] = Field(
        default_factory=list[InboxState], description="may be repeated; only open ones without it"
    )
    after: str = Field(default="", description="continue after this task: `next` of the last page")
    reveal: bool = _REVEAL
    limit: int = _LIMIT


class EffectsQuery(_Strict):
    """Which effects to list."""

    state: list[EffectState] = Field(
        default_factory=list[EffectState], description="may be repeated"
    )
    run: str = ""
    before: str = Field(
        default="", description="continue after this effect: `next` of the last page"
    )
    limit: int = _LIMIT


class BudgetsQuery(_Strict):
    """Which accounts to list."""

    prefix: str = Field(default="", max_length=1000, description="how their names begin")
    limit: int = Field(
        default=100, ge=1, le=_MAX_PAGE, description=f"how many, at most {_MAX_PAGE}"
    )
