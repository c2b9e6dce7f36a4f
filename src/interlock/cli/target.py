"""What a command works on: an application, or only a store."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from interlock.config import APP_VARIABLE, STORE_VARIABLE, store_url
from interlock.errors import InvalidInputError

if TYPE_CHECKING:
    from interlock.app import App
    from interlock.journal.store import Store
    from interlock.orchestrator.client import Client

__all__ = ["login", "open_for_reading", "open_for_writing", "required_app", "store_location"]


def required_app(spec: str | None, store: str | None) -> App:
    """The application of a command that cannot do without one, on the store to use.

    Raises `InvalidInputError` that says why it cannot be loaded.
    """
    if not spec:
        raise InvalidInputError(
            "this command needs the application: give --app MODULE:APP (or set "
            f"{APP_VARIABLE}), for example --app desk:app for `app = App(…)` in desk.py."
        )
    app = _load(spec)
    app.store = store_url(store, os.environ, app.store)
    return app


def store_location(spec: str | None, store: str | None) -> str:
    """The store of a command that needs no application. Loads the app only to learn its store."""
    if store or os.environ.get(STORE_VARIABLE) or not spec:
        return store_url(store, os.environ)
    return store_url(None, os.environ, _load(spec).store)


def _load(spec: str) -> App:
    from interlock.app import App

    module_name, _, path = spec.partition(":")
    _check_module_name(module_name, spec)
    found: Any = _import(module_name, spec)
    for name in (path or "app").split("."):
        if not hasattr(found, name):
            raise InvalidInputError(f"--app {spec}: {module_name!r} has no {name!r}.")
        found = getattr(found, name)
    if not isinstance(found, App):
        raise InvalidInputError(
            f"--app {spec}: that is {type(found).__name__}, and an interlock App is needed."
        )
    return found


def _check_module_name(name: str, spec: str) -> None:
    if not all(part.isidentifier() for part in name.split(".")):
        raise InvalidInputError(
            f"--app {spec}: {name!r} is no name of a Python module, which is needed before the "
            "colon, for example desk:app for `app = App(…)` in desk.py."
        )
    if name.endswith(".py"):
        module = name.removesuffix(".py")
        app = spec.partition(":")[2] or "app"
        raise InvalidInputError(
            f"--app {spec}: give the module and not its file: --app {module}:{app}."
        )


def _import(name: str, spec: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        own = "" if "importlib" in where.filename else f" ({where.filename}:{where.lineno})"
        raise InvalidInputError(
            f"--app {spec}: importing {name!r} from {here} failed: {type(error).__name__}: "
            f"{error}{own}."
        ) from error


@contextmanager
def open_for_reading(location: str) -> Generator[Store]:
    """The journal as it stands. Raises `NotFoundError` where there is none."""
    from interlock.journal import open_store

    store = open_store(location, create=False)
    try:
        yield store
    finally:
        store.close()


@asynccontextmanager
async def open_for_writing(location: str) -> AsyncGenerator[Client]:
    """A client that writes messages to runs. Raises `NotFoundError` where there is no journal."""
    from interlock.clock import SystemClock
    from interlock.journal import Journal
    from interlock.orchestrator.client import Client

    with open_for_reading(location) as store:
        journal = Journal(store, mode="inline")
        yield Client(journal, SystemClock(), {}, "")
        await journal.close()


def login(by: str | None) -> str:
    """Who does it: the name given, else the login name, else nobody by name."""
    import getpass

    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
