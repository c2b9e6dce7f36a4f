"""`interlock key`: make, list and revoke the API keys that callers of the server show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.options import AsJson
from interlock.cli.output import clock_time, print_json, print_line, print_table, remark
from interlock.config import KEYS_FILE_VARIABLE
from interlock.errors import InvalidInputError

if TYPE_CHECKING:
    from datetime import timedelta

    from interlock.entry.auth_keys import ApiKey, KeyFile

__all__ = ["register"]

Keys = Annotated[
    str,
    typer.Option(
        "--keys", metavar="FILE", envvar=KEYS_FILE_VARIABLE, help="The file of keys; it has hashes."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="API keys of those who call the server: make, list, revoke.",
    )
    group.command("new")(_new)
    group.command("list")(_list)
    group.command("revoke")(_revoke)
    app.add_typer(group, name="key")


def _open(keys: str) -> KeyFile:
    from interlock.clock import SystemClock
    from interlock.entry.auth_keys import KeyFile

    return KeyFile(Path(keys), SystemClock())


def _new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Whom it names, as the journal shall say.")
    ],
    keys: Keys,
    role: Annotated[
        list[str],
        typer.Option(
            metavar="ROLE",
            help="read, start, call, decide, operate, reveal, admin, or a role that inbox tasks "
            "ask; repeatable.",
        ),
    ],
    agent: Annotated[
        bool, typer.Option("--agent", help="It is a program's key; else a person's.")
    ] = False,
    tenant: Annotated[
        str, typer.Option(metavar="TENANT", help="Whose runs it starts and sees.")
    ] = "default",
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="It sees the runs of every tenant.")
    ] = False,
    expires: Annotated[
        str,
        typer.Option(metavar="TIME", help="How long it is valid, such as 12h or 90d; or never."),
    ] = "90d",
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once: the file keeps its hash."""
    key, entry = _open(keys).new(
        name,
        kind="agent" if agent else "person",
        tenant=None if all_tenants else tenant,
        roles=tuple(role),
        expires_in=_duration(expires),
    )
    if as_json:
        print_json({"key": key, **_shown(entry)})
        return
    until = f"until {clock_time(entry.expires_at)} UTC" if entry.expires_at else "for ever"
    remark(f"key {entry.id} of {entry.name} is valid {until}; it is shown this once only")
    print_line(key)


def _duration(text: str) -> timedelta | None:
    from datetime import timedelta

    from interlock.entry.moment import parse_moment

    if text == "never":
        return None
    found = parse_moment(text, "--expires")
    if not isinstance(found, timedelta):
        raise InvalidInputError(f"--expires {text}: give a time from now, such as 90d, or never.")
    return found


def _shown(entry: ApiKey) -> dict[str, Any]:
    return entry.model_dump(mode="json", exclude={"hash"})


def _list(keys: Keys, as_json: AsJson = False) -> None:
    """List the keys with whom they name and what they may; the keys themselves are not known."""
    opened = _open(keys)
    now = opened.now()
    found = opened.keys()
    if as_json:
        print_json({"keys": [{**_shown(key), "state": key.state(now)} for key in found]})
        return
    print_table(
        ("id", "name", "kind", "tenant", "roles", "state", "expires at"),
        [
            (
                key.id,
                key.name,
                key.kind,
                key.tenant or "(all)",
                ", ".join(key.roles),
                key.state(now),
                clock_time(key.expires_at),
            )
            for key in found
        ],
        "There are no keys.",
    )


def _revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as listed.")],
    keys: Keys,
    as_json: AsJson = False,
) -> None:
    """Refuse a key from now on, also by a server that is up."""
    entry = _open(keys).revoke(key_id)
    if as_json:
        print_json(_shown(entry))
    else:
        print_line(f"key {entry.id} of {entry.name} is revoked")
