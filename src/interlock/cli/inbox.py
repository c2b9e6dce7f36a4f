"""`interlock inbox` and `decide`: questions to people."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.json_argument import json_argument
from interlock.cli.options import AppSpec, AsJson, By, Limit, Reveal, StoreUrl
from interlock.cli.output import clock_time, print_json, print_line, print_table
from interlock.cli.runs import choices
from interlock.cli.target import login, open_for_reading, open_for_writing, store_location
from interlock.errors import NotFoundError

if TYPE_CHECKING:
    from interlock.observe.view import TaskView

__all__ = ["register"]

_STATES = ("open", "decided", "expired", "withdrawn")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("inbox")(_inbox)
    app.command("decide")(_decide)


def _inbox(
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help=f"{', '.join(_STATES)}; repeatable."),
    ] = None,
    reveal: Reveal = False,
    after: Annotated[
        str, typer.Option(metavar="TASK", help="Continue after this task of the last page.")
    ] = "",
    limit: Limit = 50,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """List the questions that runs have for people, oldest first; only open ones by default."""
    from interlock.observe.view import TaskList, task_view

    states = choices(state, _STATES, "--state") or ("open",)
    with open_for_reading(store_location(app, store)) as opened:
        if after and opened.inbox_task(after) is None:
            raise NotFoundError(f"no inbox task {after!r} in this store.", task=after)
        listed = opened.inbox(states, limit + 1, after=after)
        tasks = [task_view(opened, row, reveal=reveal) for row in listed[:limit]]
    following = tasks[-1].id if len(listed) > limit else None
    if as_json:
        print_json(TaskList(tasks=tasks, next=following))
        return
    columns = ("task", "asks", "question", "choices", "opened (UTC)", "until (UTC)", "state")
    print_table(columns, [_row(task) for task in tasks], "nothing to decide")
    if following:
        print_line(f"more: interlock inbox --after {following}")


def _row(task: TaskView) -> tuple[str, ...]:
    decided = f"{task.state}: {task.choice or ''} by {task.decided_by or 'somebody'}"
    return (
        task.id,
        task.role or "anybody",
        task.question,
        ", ".join(task.choices) or "any answer",
        clock_time(task.opened_at),
        clock_time(task.due_at),
        decided if task.state == "decided" else task.state,
    )


def _decide(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The inbox task's id.")],
    choice: Annotated[str, typer.Argument(metavar="CHOICE", help="The answer.")],
    note: Annotated[str, typer.Option(metavar="TEXT", help="A remark that is kept.")] = "",
    value: Annotated[
        str, typer.Option(metavar="JSON|@FILE", help="Data that goes with the answer.")
    ] = "null",
    by: By = None,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Answer an inbox task; nobody can answer it again."""
    from interlock.observe.view import task_view

    data = json_argument(value, "--value")
    who = login(by)

    async def decided() -> TaskView:
        async with open_for_writing(store_location(app, store)) as client:
            await client.decide(task, choice, note=note, value=data, by=who)
            return task_view(client.journal.store, client.inbox_task(task))

    view = asyncio.run(decided())
    if as_json:
        print_json(view)
    else:
        print_line(f"decided {choice!r} on inbox task {task} of run {view.run}")
