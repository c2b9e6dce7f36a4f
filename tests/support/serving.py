"""Real processes of the command line, and real servers, for acceptance tests."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
APP = "tests.support.served_app:app"
PATIENCE_SECONDS = 120.0
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what the tests are about
JSON = {"content-type": "application/json"}
_PROGRAM = "from interlock.cli import main; main()"


def until(condition: Callable[[], T], what: str) -> T:
    """What `condition` answers as soon as that is true; a failure when it never is."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (answer := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {PATIENCE_SECONDS:g} s in vain until {what}")
        time.sleep(0.02)
    return answer


def store_in(folder: Path) -> str:
    """The URL of the journal in a folder."""
    return f"sqlite:///{folder / 'journal.db'}"


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-W", "error", "-c", _PROGRAM, *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def interlock(*arguments: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, on the journal in `folder`."""
    return subprocess.run(
        _command(arguments),
        cwd=folder,
        env={**_environment(), "INTERLOCK_STORE": store_in(folder)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def spawn(*arguments: str, folder: Path, name: str) -> subprocess.Popen[str]:
    """Start the program; what it says on the error stream goes to `name`.err in the folder."""
    with (folder / f"{name}.err").open("w") as said:
        return subprocess.Popen(
            _command(arguments),
            cwd=folder,
            env={**_environment(), "INTERLOCK_STORE": store_in(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )


class Served:
    """A server in a process of its own, and a client of it."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], name: str) -> None:
        self.folder = folder
        self.process = process
        self._said = folder / f"{name}.err"
        self.greeting = self._first_line()
        self.url = next(word for word in self.greeting.split() if word.startswith("http://"))
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS, trust_env=False)

    def _first_line(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_SECONDS)
        line = self.process.stdout.readline() if ready else ""
        assert "http://" in line, f"the server did not start: {self.said()}"
        return line

    def said(self) -> str:
        """What the server has said on its error stream."""
        return self._said.read_text()

    def start(self, agent: str, value: Any = None, **query: Any) -> dict[str, Any]:
        """Start a run and answer it."""
        answer = self.post(f"/v1/agents/{agent}/runs", {"input": value}, params=query)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def as_caller(self, key: str) -> httpx.Client:
        """A client that shows a key or a token; the caller closes it."""
        headers = {"authorization": f"Bearer {key}"}
        return httpx.Client(
            base_url=self.url, timeout=PATIENCE_SECONDS, trust_env=False, headers=headers
        )

    def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """Post JSON."""
        return self.http.post(path, json={} if body is None else body, **more)

    def run(self, run: str) -> dict[str, Any]:
        """A run."""
        answer = self.http.get(f"/v1/runs/{run}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until_state(self, run: str, state: str) -> dict[str, Any]:
        """The run as soon as it is in a state."""

        def there() -> dict[str, Any] | None:
            found = self.run(run)
            return found if found["state"] == state else None

        found = until(there, f"run {run} is {state}")
        assert found is not None
        return found

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """The exit code, once the process has ended."""
        return self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        """End the process, however it is."""
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def served(folder: Path, *arguments: str, name: str = "server", app: str = APP) -> Iterator[Served]:
    """A server on the journal in `folder`, killed at the end of the block if it still runs."""
    process = spawn("serve", "--app", app, "--port", "0", *arguments, folder=folder, name=name)
    try:
        server = Served(folder, process, name)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    try:
        yield server
    finally:
        server.close()
