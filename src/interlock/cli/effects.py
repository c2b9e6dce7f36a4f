"""`interlock effects` and `effects resolve`: writes in other systems."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from interlock.cli.json_argument import json_argument
from interlock.cli.options import AppSpec, AsJson, By, Limit, StoreUrl
from interlock.cli.output import clock_time, print_json, print_line, print_table
from interlock.cli.runs import choices
from interlock.cli.steering import MessageId, send
from interlock.cli.target import login, open_for_reading, store_location
from interlock.errors import InvalidInputError, NotFoundError

__all__ = ["register"]

_STATES: Final = ("intended", "completed", "failed", "unknown")


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
    group.callback()(_effects)
    group.command("resolve")(_resolve)
    app.add_typer(group, name="effects")


def _effects(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help=f"{', '.join(_STATES)}; repeatable."),
    ] = None,
    run: Annotated[str, typer.Option(metavar="RUN", help="Only of this run.")] = "",
    before: Annotated[
        str, typer.Option(metavar="KEY", help="Continue after this effect of the last page.")
    ] = "",
    limit: Limit = 50,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """List effects, newest first; `resolve` says what became of an unknown one."""
    if context.invoked_subcommand is not None:
        return
    from interlock.observe.view import EffectList, effect_view

    states = choices(state, _STATES, "--state")
    with open_for_reading(store_location(app, store)) as opened:
        if before and opened.effect(before) is None:
            raise NotFoundError(f"no effect {before!r} in this store.", effect_key=before)
        listed = opened.effects(states, run, limit + 1, before=before)
    found = [effect_view(row) for row in listed[:limit]]
    following = found[-1].effect_key if len(listed) > limit else None
    if as_json:
        print_json(EffectList(effects=found, next=following))
        return
    columns = ("effect", "tool", "state", "recovery", "attempts", "intended (UTC)", "run", "reason")
    rows = [
        (
            effect.effect_key,
            effect.tool,
            effect.state,
            effect.recovery,
            effect.attempts,
            clock_time(effect.intended_at),
            effect.run,
            effect.reason,
        )
        for effect in found
    ]
    print_table(columns, rows, "no effects")
    if following:
        print_line(f"more: interlock effects --before {following}")


def _resolve(
    effect_key: Annotated[str, typer.Argument(metavar="KEY", help="The effect's key.")],
    happened: Annotated[bool, typer.Option("--happened", help="It took place.")] = False,
    not_happened: Annotated[
        bool, typer.Option("--not-happened", help="It did not; it is made now.")
    ] = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Nobody knows; the run's call fails.")
    ] = False,
    result: Annotated[
        str, typer.Option(metavar="JSON|@FILE", help="What the call would have returned.")
    ] = "null",
    by: By = None,
    message_id: MessageId = None,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Say what became of an effect whose outcome is unknown."""
    verdict = _verdict(happened, not_happened, give_up)
    value = json_argument(result, "--result")
    if value is not None and verdict != "happened":
        raise InvalidInputError("--result goes with --happened only.")
    location = store_location(app, store)
    with open_for_reading(location) as opened:
        row = opened.effect(effect_key)
    who = login(by)
    send(
        location,
        row.run if row is not None else "",
        lambda client: client.resolve(
            effect_key, verdict, result=value, message_id=message_id, by=who
        ),
        f"effect {effect_key}: {verdict.replace('_', ' ')}",
        as_json=as_json,
    )


def _verdict(happened: bool, not_happened: bool, give_up: bool) -> str:
    given = {"happened": happened, "not_happened": not_happened, "given_up": give_up}
    chosen = [verdict for verdict, wanted in given.items() if wanted]
    if len(chosen) != 1:
        raise InvalidInputError("say one of --happened, --not-happened and --give-up.")
    return chosen[0]
