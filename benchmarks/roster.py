"""Who takes part in a comparison, by what command, and why others are left out."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Entry, Measure
from benchmarks.given_script import GivenScript
from benchmarks.own_contestant import OwnContestant
from benchmarks.postgres import Postgres
from benchmarks.processes import ProcessFailedError, run_to_end

__all__ = ["Place", "enlist", "enlist_agents", "find_restate_server"]

_CHECK_SECONDS = 60.0
_MISSING = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        print(name)
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the contestants' parts are; None where a part is not there."""

    peers_python: Path | None
    scripts: Path | None
    restate_server: str | None
    postgres: Postgres | None
    directory: Path


@dataclass(frozen=True, kw_only=True)
class _Peer:
    """What a peer needs and how it is run."""

    name: str
    needs: tuple[str, ...]
    own: OwnContestant
    given: GivenScript | None = None
    on_postgres: bool = False
    on_restate: bool = False

    def entry(self, place: Place) -> Entry:
        """The peer's entry: its given script where there is one, otherwise our module."""
        measure: Measure = self.given or self.own
        return Entry(name=self.name, role="peer", measure=measure, skipped=self._why_not(place))

    def _why_not(self, place: Place) -> str | None:
        if place.peers_python is None:
            return "there is no environment of the peers: --peers-python PATH"
        if self.on_restate and place.restate_server is None:
            return "no restate-server: npm install --prefix VENV @restatedev/restate-server"
        if self.on_postgres and place.postgres is None:
            return "PostgreSQL was not asked for (--postgres) or did not start"
        missing = _missing_modules(place.peers_python, self.needs, place.directory)
        return f"not installed in {place.peers_python}: {missing}" if missing else None


def enlist(place: Place) -> list[Entry]:
    """Every contestant, in the order of a round: the product next to its limit."""
    product = Entry(
        name="interlock", role="product", measure=OwnContestant(module="interlock_steps")
    )
    peers = [*_peers_on_sqlite(place), *_peers_on_postgres(place)]
    return [*_limits(place), product, *(peer.entry(place) for peer in peers)]


def enlist_agents(place: Place) -> list[Entry]:
    """Every contestant of the comparison of agents; bare Pydantic AI is what each is held to."""
    writes = OwnContestant(module="interlock_agent", arguments=("--effect", "write"))
    return [
        *_bare_agents(place),
        Entry(name="interlock", role="product", measure=OwnContestant(module="interlock_agent")),
        Entry(name="interlock, tool writes", role="product", measure=writes),
        *(peer.entry(place) for peer in _agents_on_dbos(place)),
    ]


def find_restate_server(peers_python: Path | None) -> str | None:
    """The server from npm, installed beside the peers' interpreter or on the path."""
    if peers_python is not None:
        beside = peers_python.parent.parent / "node_modules" / ".bin" / "restate-server"
        if beside.exists():
            return str(beside)
    return shutil.which("restate-server")


def _limits(place: Place) -> list[Entry]:
    own = Entry(name="limit", role="limit", measure=OwnContestant(module="sqlite_limit"))
    given = _given(place, "sqlite_limit.py")
    if given is None:
        return [own]
    script = GivenScript(
        path=given,
        python=Path(sys.executable),
        runs_many=8000,
        runs_alone=250,
        durability="wal, synchronous=FULL",
    )
    return [own, Entry(name="limit (given script)", role="limit", measure=script)]


def _bare_agents(place: Place) -> list[Entry]:
    own = Entry(name="bare", role="limit", measure=OwnContestant(module="bare_agent"))
    path = _given(place, "pydantic_ai_bare.py")
    if path is None:
        return [own]
    script = GivenScript(
        path=path,
        python=Path(sys.executable),
        runs_many=300,
        runs_alone=30,
        durability="nothing",
    )
    return [own, Entry(name="bare (given script)", role="limit", measure=script)]


def _agents_on_dbos(place: Place) -> list[_Peer]:
    python = place.peers_python
    needs = ("dbos", "pydantic_ai")
    wal = ("--journal-mode", "wal")
    return [
        _Peer(
            name="dbos, sqlite",
            needs=needs,
            own=OwnContestant(module="dbos_agent", python=python),
            given=_given_dbos(place, "pydantic_ai_dbos.py"),
        ),
        _Peer(
            name="dbos, sqlite in wal",
            needs=needs,
            own=OwnContestant(module="dbos_agent", python=python, arguments=wal),
        ),
    ]


def _given(place: Place, name: str) -> Path | None:
    if place.scripts is None or not (place.scripts / name).exists():
        return None
    return (place.scripts / name).resolve()


def _missing_modules(python: Path, modules: tuple[str, ...], directory: Path) -> str:
    try:
        command = [str(python), "-c", _MISSING, *modules]
        printed = run_to_end(command, directory=directory, seconds=_CHECK_SECONDS)
        return ", ".join(printed.split())
    except ProcessFailedError as error:
        return str(error)


def _peers_on_sqlite(place: Place) -> list[_Peer]:
    python = place.peers_python
    return [
        _Peer(
            name="restate",
            needs=("restate", "hypercorn", "httpx"),
            own=_restate(place),
            on_restate=True,
        ),
        _Peer(
            name="langgraph, sqlite",
            needs=("langgraph", "langgraph.checkpoint.sqlite", "aiosqlite"),
            own=OwnContestant(module="langgraph_steps", python=python),
            given=_given_langgraph(place),
        ),
        _Peer(
            name="dbos, sqlite",
            needs=("dbos",),
            own=OwnContestant(module="dbos_steps", python=python),
            given=_given_dbos(place, "dbos_steps.py"),
        ),
        _Peer(
            name="dbos, sqlite in wal",
            needs=("dbos",),
            own=OwnContestant(
                module="dbos_steps", python=python, arguments=("--journal-mode", "wal")
            ),
        ),
    ]


def _peers_on_postgres(place: Place) -> list[_Peer]:
    python, postgres = place.peers_python, place.postgres
    return [
        _Peer(
            name="langgraph, postgres",
            needs=("langgraph", "langgraph.checkpoint.postgres", "psycopg_pool"),
            own=OwnContestant(module="langgraph_steps", python=python, postgres=postgres),
            on_postgres=True,
        ),
        _Peer(
            name="dbos, postgres",
            needs=("dbos", "psycopg"),
            own=OwnContestant(module="dbos_steps", python=python, postgres=postgres),
            on_postgres=True,
        ),
    ]


def _restate(place: Place) -> OwnContestant:
    """Restate under our load; its service is the given one where there is one."""
    arguments = ("--server", place.restate_server or "")
    given = _given(place, "restate_app.py")
    if given is not None:
        arguments += ("--service", "restate_app:app", "--service-directory", str(given.parent))
    return OwnContestant(module="restate_steps", python=place.peers_python, arguments=arguments)


def _given_langgraph(place: Place) -> GivenScript | None:
    path = _given(place, "langgraph_steps.py")
    if path is None or place.peers_python is None:
        return None
    return GivenScript(
        path=path,
        python=place.peers_python,
        arguments=("sqlite",),
        runs_many=120,
        runs_alone=25,
        durability="wal, synchronous=FULL, durability=sync",
    )


def _given_dbos(place: Place, name: str) -> GivenScript | None:
    path = _given(place, name)
    if path is None or place.peers_python is None:
        return None
    return GivenScript(
        path=path,
        python=place.peers_python,
        arguments=("sqlite:///dbos.db",),
        runs_many=100,
        runs_alone=20,
        durability="delete, synchronous=FULL",
    )
