"""`interlock policy check` and `policy replay`: what the policies say, and would have said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.options import AppSpec, AsJson, StoreUrl
from interlock.cli.output import clock_time, print_json, print_line, print_table
from interlock.cli.target import open_for_reading, required_app
from interlock.errors import InvalidInputError, PolicyError

if TYPE_CHECKING:
    from interlock.app import App
    from interlock.observe.policy_replay import Judged
    from interlock.orchestrator.gateway import Gateway
    from interlock.tools.policy import Policies
    from interlock.tools.policy.statements import Statement

__all__ = ["register"]

Folder = Annotated[
    Path | None,
    typer.Option("--policies", metavar="FOLDER", help="Other policies than the application's."),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at the policies.")
    group.command("check")(_check)
    group.command("replay")(_replay)
    app.add_typer(group, name="policy")


def _check(app: AppSpec = None, policies: Folder = None, as_json: AsJson = False) -> None:
    """Read the policies as the application would, and list them.

    Ends with 2 where one of them does not hold: it names the file, the line and what is wrong.
    """
    _, found = _policies(required_app(app, None), policies)
    refused = _without_permit(found)
    if as_json:
        listed = [_as_json(each, found) for each in found.statements]
        print_json({"hash": found.hash, "policies": listed, "refused_tools": refused})
        return
    rows = [
        (
            each.id,
            each.place,
            each.effect,
            "log only" if each.log_only else "enforced",
            _asks(each),
            each.agent() or "every agent",
            _shortened(_tools_of(each, found)),
        )
        for each in found.statements
    ]
    columns = ("policy", "where", "effect", "mode", "approval", "agent", "tools")
    print_table(columns, rows, "no policies")
    for tool in refused:
        print_line(f"no policy permits {tool}: every call of it is refused")
    print_line(f"{len(rows)} {'policy holds' if len(rows) == 1 else 'policies hold'}")


def _replay(
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="How far back, such as 30d; or a date.")
    ] = "30d",
    policies: Folder = None,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Say what the policies would decide today on the calls that the journal has.

    Nothing is written and nothing outside is asked.
    """
    from interlock.observe.policy_replay import replay_policies

    application = required_app(app, store)
    gateway, _ = _policies(application, policies)
    since_us = _since_us(since)
    with open_for_reading(application.store) as opened:
        found = replay_policies(opened, gateway, application.agents, application.tools, since_us)
    changed, not_judged = found.changed(), found.not_judged()
    if as_json:
        print_json(
            {
                "calls": len(found.calls),
                "counts": found.counts(),
                "changed": [_call(each) for each in changed],
                "not_judged": [_call(each) for each in not_judged],
            }
        )
        return
    columns = ("at (UTC)", "run", "agent", "tool", "was", "now", "why")
    rows = [_row(each) for each in (*changed, *not_judged)]
    print_table(columns, rows, "no call would be decided otherwise")
    counts = ", ".join(f"{count} {name}" for name, count in found.counts().items())
    print_line(f"{len(found.calls)} calls: {counts}" if counts else "no calls")


def _policies(app: App, folder: Path | None) -> tuple[Gateway, Policies]:
    gateway = app.gateway(folder)
    if gateway.policies is None:
        raise PolicyError(
            f"app {app.name!r} has no policies, so every call of a tool is allowed: "
            'App(…, policies="policies/"), or --policies FOLDER.'
        )
    return gateway, gateway.policies


def _since_us(text: str) -> int:
    from datetime import timedelta

    from interlock.clock import SystemClock
    from interlock.entry.moment import parse_moment

    found = parse_moment(text, "--since")
    now_us = SystemClock().now_us()
    if isinstance(found, timedelta):
        return now_us - found // timedelta(microseconds=1)
    since_us = int(found.timestamp() * 1_000_000)
    if since_us > now_us:
        raise InvalidInputError(f"--since {text}: that is still to come.")
    return since_us


def _without_permit(policies: Policies) -> list[str]:
    """The tools that no enforced policy can permit."""
    permits = [s for s in policies.statements if s.effect == "permit" and not s.log_only]
    permitted = {tool for each in permits for tool in _tools_of(each, policies)}
    return sorted(policies.actions.keys() - permitted)


def _tools_of(statement: Statement, policies: Policies) -> Iterator[str]:
    for name, action in policies.actions.items():
        if statement.is_for(name, action.groups):
            yield name


def _asks(statement: Statement) -> str:
    ask = statement.ask
    if ask is None:
        return ""
    return f"{ask.role}, two persons" if ask.two_persons else ask.role


def _shortened(names: Iterator[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(listed[:5]) + more if listed else "none"


def _as_json(statement: Statement, policies: Policies) -> dict[str, Any]:
    ask = statement.ask
    return {
        "id": statement.id,
        "place": statement.place,
        "effect": statement.effect,
        "mode": "log_only" if statement.log_only else "enforced",
        "approval": None
        if ask is None
        else {
            "role": ask.role,
            "within_seconds": ask.within.total_seconds(),
            "two_persons": ask.two_persons,
        },
        "reason": statement.reason,
        "agent": statement.agent(),
        "tools": list(_tools_of(statement, policies)),
    }


def _call(judged: Judged) -> dict[str, Any]:
    return {
        "run": judged.run,
        "key": judged.key,
        "agent": judged.agent,
        "tool": judged.tool,
        "at_us": judged.at_us,
        "was": judged.was,
        "now": judged.now,
        "policies": list(judged.policies),
        "why": judged.why,
    }


def _row(judged: Judged) -> tuple[str, ...]:
    at = clock_time(_moment(judged.at_us))
    now = judged.now or "not judged"
    return at, judged.run, judged.agent, judged.tool, judged.was, now, judged.why


def _moment(at_us: int) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_us / 1e6, UTC)
