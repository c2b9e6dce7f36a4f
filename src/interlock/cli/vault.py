"""`interlock vault`: the key of the vault, and erasing what is kept for a person."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.options import AppSpec, AsJson, By, StoreUrl
from interlock.cli.output import print_json, print_line
from interlock.cli.target import login, open_for_writing, store_location
from interlock.errors import NotFoundError

if TYPE_CHECKING:
    from interlock.tools.masking.vault import Vault

__all__ = ["open_vault_at", "register"]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Keep personal values apart from the journal, and erase them.",
    )
    group.command("key")(_key)
    group.command("erase")(_erase)
    group.command("rotate")(_rotate)
    app.add_typer(group, name="vault")


def _key(
    key_id: Annotated[str, typer.Option("--id", metavar="ID", help="The new key's id.")] = "1",
) -> None:
    """Make a new key and print its line, for INTERLOCK_VAULT_KEY or a file; it is kept nowhere."""
    import base64

    from interlock.clock import SystemClock

    print_line(f"{key_id}:{base64.b64encode(SystemClock().random_bytes(32)).decode()}")


def open_vault_at(location: str) -> Vault | None:
    """The vault beside a journal, or None. Raises `VaultError` without its key."""
    import os
    from pathlib import Path

    from interlock.clock import SystemClock
    from interlock.journal.location import database_path
    from interlock.tools.masking.vault import open_vault, vault_path

    path = database_path(location)
    if not Path(vault_path(path)).exists():
        return None
    return open_vault(path, os.environ, SystemClock())


def _open(location: str) -> Vault:
    vault = open_vault_at(location)
    if vault is None:
        raise NotFoundError(
            f"there is no vault beside the journal {location!r}: no run of it had a contract with "
            "masking.handles. Give the journal with --store."
        )
    return vault


def _erase(
    person: Annotated[
        str,
        typer.Argument(
            metavar="PERSON",
            help="As the run's input names the person, or one value, such as an e-mail address.",
        ),
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the journal.")] = "",
    by: By = None,
    app: AppSpec = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Erase for good what the vault keeps for a person; the journal stays and verifies."""
    location = store_location(app, store)
    with closing(_open(location)) as vault:
        asyncio.run(_record(location, vault.reference(person), login(by), reason))
        erased = vault.erase(person)
    if as_json:
        print_json({"erased": erased})
    else:
        print_line(f"erased {erased} values; runs that need them are parked when they go on")


async def _record(location: str, person: str, by: str, reason: str) -> None:
    """Before it is done: what is erased and not recorded could not be explained."""
    async with open_for_writing(location) as client:
        await client.record_erasure(person, by=by, reason=reason)


def _rotate(app: AppSpec = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Wrap every person's key with the first of the given keys; the others are not needed then."""
    with closing(_open(store_location(app, store))) as vault:
        changed = vault.rotate()
    if as_json:
        print_json({"rotated": changed})
    else:
        print_line(f"wrapped {changed} keys anew")
