"""`interlock budget list` and `budget raise`: what may be spent, and letting more be spent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.options import AppSpec, AsJson, By, Limit, StoreUrl
from interlock.cli.output import print_json, print_line, print_table
from interlock.cli.steering import MessageId
from interlock.cli.target import login, open_for_reading, open_for_writing, store_location

if TYPE_CHECKING:
    from interlock.observe.view import RaiseView

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="Show what may be spent, and let more be spent.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("list")(_list)
    group.command("raise")(_raise)
    app.add_typer(group, name="budget")


def _list(
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="Only accounts whose names begin so.")
    ] = "",
    limit: Limit = 100,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """List accounts by name, with what they may spend, what is held and what is spent."""
    from interlock.observe.view import BudgetList, budget_view

    with open_for_reading(store_location(app, store)) as opened:
        found = [budget_view(row) for row in opened.budgets(prefix, limit)]
    if as_json:
        print_json(BudgetList(budgets=found))
        return
    columns = ("account", "limit", "held", "spent", "left")
    rows = [(row.account, row.limit, row.held, row.spent, row.left) for row in found]
    print_table(columns, rows, "no budgets")


def _raise(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's name.")],
    amount: Annotated[
        str,
        typer.Argument(metavar="AMOUNT", help="How much more, in its unit: 0.50 for half a USD."),
    ],
    by: By = None,
    message_id: MessageId = None,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Let an account spend more; the runs that wait for it go on."""
    from interlock.limits.amount import parse_amount, unit_of
    from interlock.observe.view import RaiseView, budget_view

    who = login(by)

    async def raised() -> RaiseView:
        async with open_for_writing(store_location(app, store)) as client:
            client.budget(account)  # A misspelt name is said to be one before its unit is judged.
            parts = parse_amount(amount, unit_of(account), "AMOUNT")
            done = await client.raise_budget(account, parts, message_id=message_id, by=who)
        budget = budget_view(done.budget)
        return RaiseView(budget=budget, message=done.message, runs=list(done.runs))

    view = asyncio.run(raised())
    if as_json:
        print_json(view)
    else:
        print_line(_said(view))


def _said(view: RaiseView) -> str:
    budget = view.budget
    told = f"; {len(view.runs)} waiting runs were told" if view.runs else ""
    return (
        f"raised {budget.account} to {budget.limit}; {budget.left} is left{told} "
        f"(message {view.message})"
    )
