"""The demo: the support desk at work, from the first message to the final count.

A demo that was interrupted, however abruptly, goes on where it was when it is started again with
the same home. One that has finished starts afresh.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from interlock import ExecutorOptions, LocalExecutor, StartOptions
from interlock.journal.rows import RunFilter
from interlock.tools.masking.vault_keys import KEY_FILE_VARIABLE, KEY_VARIABLE

from .agent import Incoming, Triage, desk_app
from .connection import DeskConnection, RefundConnection, patiently
from .decider import OFFLINE, NearestExamples
from .desk_model import check_model
from .handbook import Handbook, read_handbook
from .helpdesk import count_actions, ensure_running
from .home import (
    DEFAULT_HOME,
    ELSEWHERE,
    HANDBOOK,
    MODEL_VARIABLE,
    TICKETS,
    DeskHome,
    HomeError,
    Orders,
)
from .intake import CUSTOMERS, PURCHASES, open_tickets
from .labelled import Labelled, LabelledError, read_labelled
from .model_use import read_model_use
from .refunds import ensure_refunds
from .report import Report, tell
from .script import answer_approvals, read_approvals

__all__ = ["demo"]

# Roundup answers one request at a time: more at once is no faster, and a kill interrupts them all.
_CONCURRENCY: Final = 4
_LOOK_SECONDS: Final = 0.1
_GRACE: Final = timedelta(seconds=5)
_ENDED: Final = ("completed", "failed", "cancelled", "parked")
_ALL: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """What a demo works with."""

    home: DeskHome
    messages: Sequence[Labelled]
    decider: NearestExamples
    handbook: Handbook
    floor: float
    model: str
    console: Console


def demo(
    *,
    train: Path,
    tickets: Path,
    limit: int | None,
    floor: float,
    home: Path | None,
    model: str = OFFLINE,
) -> bool:
    """Run the demo and print its report; False when it leaves something undone or did it twice.

    `home` None is the default one. `model` is the name of the model that decides. Raises the errors
    of what it reads and of the help desk, `DeskModelError`, and `HomeError`.
    """
    began = time.monotonic()
    check_model(model)
    examples, messages = read_labelled(train), read_labelled(tickets, limit=limit)
    files = [train, tickets]
    if tickets == TICKETS:
        messages = [*messages, *read_labelled(ELSEWHERE)][:limit]
        files.append(ELSEWHERE)
    orders = Orders(
        train=str(train.absolute()),
        tickets=str(tickets.absolute()),
        contents=_digest(*files),
        limit=limit,
        floor=floor,
        model=model,
    )
    _check_tags(examples, messages)
    place = DeskHome(home or DEFAULT_HOME)
    console = Console(highlight=False)
    with place.sole_user(), NearestExamples(examples) as decider:
        _settle_in(place, orders, console, is_default=home is None)
        if KEY_VARIABLE not in os.environ:
            os.environ[KEY_FILE_VARIABLE] = str(place.vault_key())
        scene = _Scene(
            home=place,
            messages=messages,
            decider=decider,
            handbook=read_handbook(HANDBOOK),
            floor=floor,
            model=model,
            console=console,
        )
        report = _run(scene, began)
        place.finish()
        tell(console, report, place)
    return report.sound


def _check_tags(*labelled: Sequence[Labelled]) -> None:
    for category in {message.category for messages in labelled for message in messages}:
        if category.isdigit():
            raise LabelledError(
                f"the category {category!r} cannot be a tag at the help desk, which takes a number "
                "for an id; give it a name"
            )


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _settle_in(home: DeskHome, orders: Orders, console: Console, *, is_default: bool) -> None:
    """Go on with what the home was told before, or clear it and begin."""
    before = home.orders()
    if before is not None and not before.finished:
        if before == orders:
            console.print(f"Going on with the demo that was interrupted in {home.folder}.")
            return
        if not is_default:
            raise HomeError(
                f"{home.folder} holds a demo on other messages that was interrupted "
                f"({_told(before)}). Give the same options to go on with it, or another --home."
            )
        console.print(f"Dropping an interrupted demo on other messages ({_told(before)}).")
    home.clear()
    home.give(orders)


def _told(orders: Orders) -> str:
    limit = "" if orders.limit is None else f" --limit {orders.limit}"
    model = "" if orders.model == OFFLINE else f"{MODEL_VARIABLE}={orders.model} "
    options = f"--train {orders.train} --tickets {orders.tickets}{limit} --floor {orders.floor:g}"
    return model + options


def _run(scene: _Scene, began: float) -> Report:
    scene.console.print("Starting the help desk …")
    with ExitStack() as stack:
        # Not necessarily the one that is started here: it may have been restarted meanwhile.
        stack.callback(scene.home.stop_desk)
        refunds = ensure_refunds(scene.home.refunds)
        stack.callback(refunds.stop)
        running = ensure_running(scene.home.desk)
        stack.callback(running.stop)
        scene.console.print(f"Roundup answers at {running.url}.")
        scene.console.print(f"The refund service answers at {refunds.url}.")
        return asyncio.run(_work(scene, began))


async def _work(scene: _Scene, began: float) -> Report:
    await _furnish(scene)
    home = scene.home
    async with AsyncExitStack() as stack:
        intake = await stack.enter_async_context(DeskConnection(home.desk, "intake"))
        desk = await stack.enter_async_context(DeskConnection(home.desk, "agent"))
        refunds = await stack.enter_async_context(RefundConnection(home.refunds))
        app = desk_app(
            desk,
            scene.decider,
            scene.handbook,
            refunds=refunds,
            store=home.store,
            floor=scene.floor,
            model=scene.model,
        )
        options = ExecutorOptions(concurrency=_CONCURRENCY)
        executor = await stack.enter_async_context(app.executor(options, grace=_GRACE))
        with _progress(scene.console) as progress:
            labels = await _take_in(scene.messages, intake, executor, progress)
            await _until_settled(executor, len(labels), progress)
        return await _report(desk, refunds, executor, labels, scene.model, began)


async def _furnish(scene: _Scene) -> None:
    tags = scene.decider.categories | {message.category for message in scene.messages}
    async with DeskConnection(scene.home.desk, "admin") as admin:
        await patiently(lambda: admin().ensure_tags(sorted(tags)))
        await patiently(lambda: admin().ensure_users(sorted(scene.handbook.queues), role="Queue"))
        await patiently(lambda: admin().ensure_users(CUSTOMERS, role="Customer"))
        await patiently(lambda: admin().ensure_purchases(PURCHASES))


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TextColumn("{task.fields[note]}"), console=console)


async def _take_in(
    messages: Sequence[Labelled],
    intake: DeskConnection,
    executor: LocalExecutor,
    progress: Progress,
) -> dict[str, str]:
    """Make each message a ticket and start its run; the right category by ticket."""
    labels: dict[str, str] = {}
    bar = progress.add_task("taken in", total=len(messages), note="")
    handled = progress.add_task("handled", total=len(messages), note="")
    async with aclosing(open_tickets(intake, messages)) as tickets:
        async for opened in tickets:
            options = StartOptions(idempotency_key=opened.reference)
            await executor.start("triage", Incoming(ticket=opened.ticket), options)
            labels[opened.ticket] = messages[opened.number].category
            progress.update(bar, completed=len(labels))
            _show(executor, progress, handled)
    return labels


async def _until_settled(executor: LocalExecutor, runs: int, progress: Progress) -> None:
    """Wait until every run has ended or waits for a person."""
    handled = progress.task_ids[-1]
    while _show(executor, progress, handled) < runs:
        if executor.executor.failure is not None:
            raise executor.executor.failure
        await answer_approvals(executor.client)
        await asyncio.sleep(_LOOK_SECONDS)


def _show(executor: LocalExecutor, progress: Progress, handled: TaskID) -> int:
    counts = executor.store.run_counts()
    ended = sum(counts.get(state, 0) for state in _ENDED)
    # Calls that need an approval are answered by the demo's script.
    tasks = executor.store.inbox(limit=_ALL)
    waiting = sum(task.kind != "approval" for task in tasks)
    progress.update(handled, completed=ended + waiting, note=f"{waiting} with a person")
    return ended + waiting


async def _report(
    desk: DeskConnection,
    refunds: RefundConnection,
    executor: LocalExecutor,
    labels: dict[str, str],
    model: str,
    began: float,
) -> Report:
    seconds = time.monotonic() - began
    tickets = await patiently(lambda: desk().tickets())
    paid = await patiently(lambda: refunds().find())
    store, client = executor.store, executor.client
    done = store.runs(RunFilter(states=("completed",), limit=_ALL))
    inbox = store.inbox(limit=_ALL)
    ended_badly = store.runs(RunFilter(states=("failed", "cancelled", "parked"), limit=_ALL))
    return Report(
        triages={row.id: Triage.model_validate(client.result(row)) for row in done},
        waiting=tuple(task.run for task in inbox if task.kind == "escalation"),
        stuck=(
            *(row.id for row in ended_badly),
            *(task.run for task in inbox if task.kind != "escalation"),
        ),
        tally=await patiently(
            lambda: count_actions(desk(), author="agent", refunded=[one.ticket for one in paid])
        ),
        refunds=paid,
        approvals=read_approvals(store),
        tags={ticket.id: ", ".join(ticket.tags) for ticket in tickets},
        labels=labels,
        use=read_model_use(store, model),
        seconds=seconds,
    )
