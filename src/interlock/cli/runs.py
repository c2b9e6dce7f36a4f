"""`interlock runs`, `show` and `explain`: reading runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.options import AppSpec, AsJson, Limit, Reveal, RunId, StoreUrl
from interlock.cli.output import clock_time, fields_table, print_json, print_line, print_table
from interlock.cli.target import open_for_reading, store_location
from interlock.errors import InvalidInputError

if TYPE_CHECKING:
    from interlock.journal.event import Entry
    from interlock.journal.store import Store
    from interlock.observe.explain import Explanation
    from interlock.observe.plan import PlanView
    from interlock.observe.view import EventView, RunView

__all__ = ["choices", "register"]

_STATES = ("queued", "running", "waiting", "parked", "completed", "failed", "cancelled")
_FIELDS = (
    "id",
    "agent",
    "tenant",
    "state",
    "outcome",
    "reason",
    "priority",
    "created_at",
    "updated_at",
    "start_after",
    "deadline_at",
    "wake_at",
    "parent",
    "generation",
    "worker",
    "code_version",
)
# The waits have a table of their own, and a seed says nothing to anybody.
_NO_FACTS = ("seed", "waits")
_Bodies = Annotated[
    bool, typer.Option("--bodies/--no-bodies", help="Show what was recorded, or leave it out.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("runs")(_runs)
    app.command("show")(_show)
    app.command("explain")(_explain)


def choices(given: list[str] | None, allowed: tuple[str, ...], what: str) -> tuple[Any, ...]:
    """The given words, all of them allowed ones. Raises `InvalidInputError`."""
    for word in given or ():
        if word not in allowed:
            raise InvalidInputError(f"{what} {word!r}: there is {', '.join(allowed)}.")
    return tuple(given or ())


# Listing.


def _runs(
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help=f"{', '.join(_STATES)}; repeatable."),
    ] = None,
    agent: Annotated[str, typer.Option(metavar="NAME", help="Only of this agent.")] = "",
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Only of this tenant.")] = "",
    parent: Annotated[str, typer.Option(metavar="RUN", help="Only children of this run.")] = "",
    before: Annotated[
        str, typer.Option(metavar="RUN", help="Continue after this run of the last page.")
    ] = "",
    limit: Limit = 50,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    from interlock.journal.rows import RunFilter
    from interlock.observe.explain import find_run
    from interlock.observe.view import RunList, run_summary

    with open_for_reading(store_location(app, store)) as opened:
        if before:
            find_run(opened, before)
        states = choices(state, _STATES, "--state")
        where = RunFilter(states, agent, tenant, parent, before, limit + 1)
        rows = opened.runs(where)
    page = [run_summary(row) for row in rows[:limit]]
    following = page[-1].id if len(rows) > limit else None
    if as_json:
        print_json(RunList(runs=page, next=following))
        return
    columns = ("run", "agent", "tenant", "state", "outcome", "created (UTC)", "waits for")
    table = [
        (
            run.id,
            run.agent,
            run.tenant,
            run.state,
            run.outcome or run.reason,
            clock_time(run.created_at),
            ", ".join(wait.what for wait in run.waits),
        )
        for run in page
    ]
    print_table(columns, table, "no runs")
    if following:
        print_line(f"more: interlock runs --before {following}")


# Showing one.


def _show(
    run: RunId,
    bodies: _Bodies = False,
    reveal: Reveal = False,
    limit: Limit = 200,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show a run: its state, what it waits for, and its last events."""
    from interlock.clock import SystemClock
    from interlock.observe.explain import find_run
    from interlock.observe.plan import plan_views
    from interlock.observe.view import event_view, run_view

    with open_for_reading(store_location(app, store)) as opened:
        view = run_view(opened, find_run(opened, run), SystemClock().now_us(), reveal=reveal)
        last = _last(opened, run, limit)
        events = [event_view(entry, bodies=bodies, reveal=reveal) for entry in last]
        plans = plan_views(opened.read(run))
    if as_json:
        shown = [event.model_dump(exclude_unset=True) for event in events]
        print_json({"run": view, "events": shown, "plans": plans})
    else:
        _print_run(view)
        _print_plans(plans)
        _print_events(events, bodies=bodies)


def _last(store: Store, run: str, limit: int) -> list[Entry]:
    head = store.head(run)
    return store.read(run, max(0, (head.seq if head else 0) - limit))


def _print_run(view: RunView) -> None:
    fields_table(view, _FIELDS)
    if view.error is not None:
        print_line(f"\nerror: {view.error.type} {view.error.message}")
    print_line(f"\n{view.explanation}\n")
    if view.waits:
        waits = [(w.what, clock_time(w.since), clock_time(w.due_at), w.who) for w in view.waits]
        print_table(("waits for", "since (UTC)", "until (UTC)", "who can unblock it"), waits)
        print_line()


def _print_plans(plans: list[PlanView]) -> None:
    columns = ("step", "tool", "after", "state")
    for plan in plans:
        by = f", approved by {plan.approved_by}" if plan.approved_by else ""
        print_line(f"plan {plan.number}{by}")
        print_table(columns, [(s.id, s.tool, ", ".join(s.depends_on), s.state) for s in plan.steps])
        print_line()


def _print_events(events: list[EventView], *, bodies: bool) -> None:
    if events and events[0].seq > 1:
        print_line(f"({events[0].seq - 1} earlier events; --limit shows more)")
    columns = ("seq", "at (UTC)", "event", "operation", "facts")
    rows = [(e.seq, clock_time(e.at), e.kind, e.key, _facts(e, bodies=bodies)) for e in events]
    print_table(columns, rows, "no events")


def _facts(event: EventView, *, bodies: bool) -> str:
    facts = [
        f"{name}={value}"
        for name, value in event.header.items()
        if name not in _NO_FACTS and value not in ("", None)
    ]
    if bodies and event.erased:
        facts.append("body erased")
    elif bodies and event.body is not None:
        facts.append(f"body={json.dumps(event.body, ensure_ascii=False)}")
    return " ".join(facts)


# Explaining one.


def _explain(
    run: RunId,
    bodies: _Bodies = True,
    reveal: Reveal = False,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Explain a run: what it waits for in one sentence, then all that happened to it."""
    from interlock.clock import SystemClock
    from interlock.observe.explain import explain

    with open_for_reading(store_location(app, store)) as opened:
        explanation = explain(opened, run, SystemClock().now_us(), bodies=bodies, reveal=reveal)
    if as_json:
        print_json(explanation)
    else:
        _print_explanation(explanation)


def _print_explanation(explanation: Explanation) -> None:
    from interlock.observe.cost import cost_in_words

    print_line(explanation.sentence)
    print_line()
    _print_plans(explanation.plans)
    for line in explanation.story:
        print_line(f"{clock_time(line.at)}  {line.text}")
    for text in explanation.unread:
        print_line(f"{'in its mailbox':<23}  {text}")
    cost = cost_in_words(explanation.cost)
    if cost:
        print_line(f"\n{cost}")
