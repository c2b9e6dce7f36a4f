"""PostgreSQL for the peers: started once for all rounds, a new database for each contestant."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from benchmarks.processes import ProcessFailedError, environment, module_command, run_to_end

__all__ = ["Postgres", "open_postgres"]

_STOP_SECONDS = 30.0
_CREATE = (
    "import psycopg,sys; psycopg.connect(sys.argv[1], autocommit=True)"
    ".execute('CREATE DATABASE ' + sys.argv[2])"
)


class Postgres:
    """A running server."""

    def __init__(self, url: str, python: Path, directory: Path) -> None:
        self._url, self._python, self._directory = url, python, directory
        self._count = 0

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        self._count += 1
        name = f"bench{self._count}"
        command = [str(self._python), "-c", _CREATE, self._url, name]
        run_to_end(command, directory=self._directory, seconds=_STOP_SECONDS)
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))


@contextmanager
def open_postgres(python: Path, directory: Path) -> Iterator[Postgres]:
    """Start a server with the peers' interpreter; ProcessFailedError when it does not start."""
    module = "benchmarks.contestants.postgres_server"
    command = module_command(module, "--directory", str(directory), python=python)
    process = subprocess.Popen(
        command,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise ProcessFailedError(command, "PostgreSQL did not start")
        yield Postgres(json.loads(line)["url"], python, directory)
    finally:
        process.stdin.close()  # it stops by itself and removes its data
        process.wait(_STOP_SECONDS)
        process.stdout.close()
