"""`interlock inbox` and `decide`: questions to people."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from interlock.cli.json_argument import json_argument
from interlock.cli.options import AppSpec, AsJson, By, Limit, Reveal, StoreUrl
from interlock.cli.output import clock_time, fields_table, print_json, print_line, print_table
from interlock.cli.runs import choices
from interlock.cli.target import login, open_for_reading, open_for_writing, store_location
from interlock.errors import NotFoundError

if TYPE_CHECKING:
    from interlock.observe.view import TaskView
    from interlock.tools.masking.vault import Vault

__all__ = ["register"]

_STATES = ("open", "decided", "expired", "withdrawn")
_FIELDS: Final = (
    "id",
    "run",
    "kind",
    "role",
    "state",
    "opened_at",
    "due_at",
    "decided_by",
    "choice",
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
    group.callback()(_inbox)
    group.command("show")(_show)
    app.add_typer(group, name="inbox")
    app.command("decide")(_decide)


def _inbox(
    context: typer.Context,
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
    """List the questions that runs have for people, oldest first; `show` shows one of them."""
    if context.invoked_subcommand is not None:
        return
    from interlock.observe.view import TaskList, task_view

    states = choices(state, _STATES, "--state") or ("open",)
    location = store_location(app, store)
    with open_for_reading(location) as opened, closing(_Values(location)) as values:
        if after and opened.inbox_task(after) is None:
            raise NotFoundError(f"no inbox task {after!r} in this store.", task=after)
        listed = opened.inbox(states, limit + 1, after=after)
        tasks = [
            task_view(opened, row, reveal=reveal, unseal=values.shown) for row in listed[:limit]
        ]
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


def _show(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The inbox task's id.")],
    reveal: Reveal = False,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show one question in full; with --reveal the arguments as they will be executed."""
    from interlock.observe.model_story import loop_calls
    from interlock.observe.view import task_view

    location = store_location(app, store)
    with open_for_reading(location) as opened, closing(_Values(location)) as values:
        row = opened.inbox_task(task)
        if row is None:
            raise NotFoundError(f"no inbox task {task!r} in this store.", task=task)
        view = task_view(opened, row, reveal=reveal, unseal=values.shown)
    if as_json:
        print_json(view)
        return
    print_line(view.question)
    fields_table(view, _FIELDS)
    details: Any = view.details
    told = cast("dict[str, Any]", details) if isinstance(details, dict) else {"": details}
    for name, value in told.items():
        calls = loop_calls(value)
        if calls:
            print_line(f"{name}: {'; '.join(calls)}")
        elif value not in (None, "", [], {}):
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            print_line(f"{name.replace('_', ' ')}: {shown}")
    if view.choices:
        print_line(f"interlock decide {task} {'|'.join(view.choices)}")


class _Values:
    """What handles stand for. The vault is opened, and its key needed, once there is a handle."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._vault: Vault | None = None

    def shown(self, run: str, value: Any) -> Any:
        """The value as the run's tools are given it. Raises `VaultError` without the key."""
        from interlock.cli.vault import open_vault_at
        from interlock.tools.masking.vault import HANDLE

        if not HANDLE.search(json.dumps(value)):
            return value
        if self._vault is None:
            self._vault = open_vault_at(self._location)
        return value if self._vault is None else self._vault.shown(run, value)

    def close(self) -> None:
        """Release the vault. Repeatable."""
        if self._vault is not None:
            self._vault.close()


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
    """Answer an inbox task that asks you; nobody can answer it again."""
    from interlock.clock import SystemClock
    from interlock.observe.view import task_view
    from interlock.orchestrator.entitled import check_entitled
    from interlock.people.declared import declared_roles

    data = json_argument(value, "--value")
    who = login(by)

    async def decided() -> TaskView:
        async with open_for_writing(store_location(app, store)) as client:
            roles, row = declared_roles(client.journal.store), client.inbox_task(task)
            now_us = SystemClock().now_us()
            check_entitled(row, client.question(row), who, roles, now_us)
            await client.decide(task, choice, note=note, value=data, by=who)
            return task_view(client.journal.store, client.inbox_task(task))

    view = asyncio.run(decided())
    if as_json:
        print_json(view)
    else:
        print_line(f"decided {choice!r} on inbox task {task} of run {view.run}")
