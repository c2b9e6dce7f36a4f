"""A Roundup tracker for the support desk, made from Roundup's classic template.

`create_tracker` leaves a home that Roundup's own tools can work with: the
classic template, the desk's additions to schema and detectors, a SQLite
database, and three accounts with random passwords in `credentials.json`
(readable by the owner alone). Nothing in the home calls out: the detector that
sends mail is left out, and mail from anything else goes to a file.
"""

import importlib
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Account", "TrackerError", "create_tracker", "read_account", "tracker_exists"]

_FILES = Path(__file__).parent / "tracker_files"
_CREDENTIALS = "credentials.json"
_COMPLETE = "desk.json"
_ROLES = {"agent": "Agent", "intake": "Intake"}

# Every request carries its password, and Roundup derives the hash anew each
# time: 250,000 rounds are a tenth of a second or more. The rounds protect short
# passwords from guessing; these are 256 random bits, which no number of guesses
# reaches, so the fewest rounds that Roundup takes are enough.
_PASSWORD_ROUNDS = 1000

_SETTINGS = {
    "rdbms_backend": "sqlite",
    "tracker_name": "Support desk",
    "tracker_web": "http://127.0.0.1/",
    "mail_domain": "desk.example",
    "mail_host": "localhost",
    "indexer": "native-fts",
    "password_pbkdf2_default_rounds": str(_PASSWORD_ROUNDS),
    "umask": "0o077",
    "web_enable_xmlrpc": "no",
    "web_api_calls_per_interval": "0",
}


class TrackerError(Exception):
    """A tracker's home cannot be used; the message says which, why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user of the REST interface. `password` is left out of its `repr`."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"Account(name={self.name!r})"


def tracker_exists(home: Path) -> bool:
    """Whether `home` holds a tracker that `create_tracker` finished."""
    return (home / _COMPLETE).is_file()


def create_tracker(home: Path) -> None:
    """Create a tracker in `home`, or leave a finished one there untouched.

    Safe to repeat. A creation that was interrupted is cleared away and begun
    again; a directory that holds anything else is refused with `TrackerError`.
    """
    if tracker_exists(home):
        return
    _clear_unfinished(home)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    _install(home)
    passwords = {name: secrets.token_urlsafe(32) for name in ("admin", *_ROLES)}
    _write_private(home / _CREDENTIALS, json.dumps(passwords, indent=2))
    _initialise(home, passwords)
    _write_private(home / _COMPLETE, json.dumps({"made_from": "classic"}))


def read_account(home: Path, name: str) -> Account:
    """The account `name` (`admin`, `agent` or `intake`) of the tracker in `home`.

    Raises `TrackerError` when there is no tracker or no such account.
    """
    try:
        passwords: dict[str, str] = json.loads((home / _CREDENTIALS).read_text())
        return Account(name=name, password=passwords[name])
    except FileNotFoundError as missing:
        message = f"{home} holds no help desk; start one with `helpdesk serve --home {home}`"
        raise TrackerError(message) from missing
    except KeyError as unknown:
        message = f"the help desk in {home} has no account {name!r}"
        raise TrackerError(message) from unknown


def _clear_unfinished(home: Path) -> None:
    if not home.exists() or not any(home.iterdir()):
        return
    if not (home / "TEMPLATE-INFO.txt").is_file():
        raise TrackerError(
            f"{home} is not empty and holds no help desk; give --home a directory of its own"
        )
    shutil.rmtree(home)


def _install(home: Path) -> None:
    template = _roundup("admin").AdminTool().listTemplates()["classic"]["path"]
    settings = {**_SETTINGS, "mail_debug": str(home / "mail.mbox")}
    _roundup("init").install(str(home), template, settings=settings)
    _tailor(home)


def _tailor(home: Path) -> None:
    library = home / "lib"
    library.mkdir()
    shutil.copy(_FILES / "desk_schema.py", library)
    shutil.copy(_FILES / "desk_detectors.py", home / "detectors")
    # Mail to customers and the classic statuses' rules are not this desk's.
    for unused in ("nosyreaction.py", "statusauditor.py"):
        (home / "detectors" / unused).unlink()
    with (home / "schema.py").open("a") as schema:
        schema.write("\nfrom desk_schema import extend\nextend(db)\n")
    initial = "from desk_schema import fill\nfill(db, adminpw, admin_email)\n"
    (home / "initial_data.py").write_text(initial)


def _initialise(home: Path, passwords: dict[str, str]) -> None:
    tracker = _roundup("instance").open(str(home))
    tracker.init(_password(tracker, passwords["admin"]), tx_Source="cli")
    database = tracker.open("admin")
    try:
        for name, role in _ROLES.items():
            database.user.create(
                username=name, password=_password(tracker, passwords[name]), roles=role
            )
        for column in ("_issue", "_effect_key"):
            database.sql(f"create index desk_msg{column} on _msg({column})")
        database.commit()
    finally:
        database.close()


def _password(tracker: Any, plain: str) -> Any:
    return _roundup("password").Password(plain, config=tracker.config)


def _roundup(module: str) -> Any:
    # Roundup carries no types, and importing it takes a moment.
    return importlib.import_module(f"roundup.{module}")


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
