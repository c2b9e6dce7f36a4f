"""Budgets over HTTP: what may be spent, and letting more be spent."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query

from interlock.entry.access import IdempotencyKey, OpenService, Operator, Reader, ReadingService
from interlock.entry.requests import BudgetsQuery, RaiseRequest
from interlock.limits.amount import parse_amount, unit_of
from interlock.observe.view import BudgetList, RaiseView, budget_view

__all__ = ["budgets_router"]

# Whoever sees one tenant's accounts only gets them from among so many.
_LOOKED_AT: Final = 10_000


def budgets_router() -> APIRouter:
    """The paths about budgets."""
    router = APIRouter(prefix="/v1/budgets", tags=["budgets"])
    router.add_api_route(
        "", _list_budgets, response_model=BudgetList, summary="List accounts by name"
    )
    router.add_api_route(
        "/raise",
        _raise_budget,
        methods=["POST"],
        response_model=RaiseView,
        summary="Let an account spend more",
    )
    return router


async def _list_budgets(
    service: ReadingService, caller: Reader, query: Annotated[BudgetsQuery, Query()]
) -> BudgetList:
    """List accounts with what they may spend, what is held and what is spent."""
    looked_at = _LOOKED_AT if caller.tenant else query.limit
    rows = caller.visible(service.store.budgets(query.prefix, looked_at))
    return BudgetList(budgets=[budget_view(row) for row in rows[: query.limit]])


async def _raise_budget(
    service: OpenService, caller: Operator, key: IdempotencyKey, body: RaiseRequest
) -> RaiseView:
    """Raise an account's limit, and tell the runs that wait for it."""
    by = caller.by(body.by)
    caller.account(body.account)
    service.client.budget(body.account)  # A misspelt name comes before what is wrong with its unit.
    amount = parse_amount(body.amount, unit_of(body.account), "amount")
    raised = await service.client.raise_budget(body.account, amount, message_id=key, by=by)
    return RaiseView(
        budget=budget_view(raised.budget), message=raised.message, runs=list(raised.runs)
    )
