"""The harness's hold on a worker or a server: its events, its answers, its signals, its memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.processes import environment, module_command

__all__ = ["Child", "WorkerEndedError", "open_child", "open_worker"]

START_SECONDS = 120.0
_LINE_BYTES = 64 * 2**20  # an answer can name every run of a store


class WorkerEndedError(Exception):
    """The process ended before it said what was awaited."""


class Child:
    """One process in a group of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """The process's id, which is its group's."""
        return self._process.pid

    async def event(self, kind: str, *, seconds: float = START_SECONDS) -> dict[str, Any]:
        """The next event of that kind; others before it are dropped.

        WorkerEndedError or TimeoutError when there is none.
        """
        async with asyncio.timeout(seconds):
            while (line := await self._lines.get()) is not None:
                if line["event"] == kind:
                    return line
        raise WorkerEndedError(f"the process ended with {await self.wait()} before {kind!r}")

    async def ask(self, do: str, *, seconds: float = START_SECONDS, **fields: object) -> Any:
        """The answer to a request; events before it are dropped."""
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps({"do": do, **fields}) + "\n").encode())
        return (await self.event("answer", seconds=seconds))["value"]

    async def rest(self) -> list[dict[str, Any]]:
        """Every event not taken yet; the process must have ended."""
        await self._reader
        events: list[dict[str, Any]] = []
        while not self._lines.empty():
            line = self._lines.get_nowait()
            if line is not None:
                events.append(line)
        return events

    async def wait(self) -> int:
        """The exit code, once it has ended."""
        return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL to the whole group. Safe to repeat."""
        self.send(signal.SIGKILL)
        await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Any signal to the whole group; nothing when it has ended."""
        with suppress(ProcessLookupError):  # it may have ended, whatever is sent here
            os.killpg(self.pid, number)

    def memory_mb(self) -> float:
        """Resident memory of the process in MB (2^20 bytes), as Linux counts it."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise WorkerEndedError(f"process {self.pid} has no memory: it has ended")

    def stopped(self) -> bool:
        """Whether the process is stopped by a signal."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.startswith(b"{") and line.endswith(b"}\n"):
                self._lines.put_nowait(json.loads(line))
        self._lines.put_nowait(None)


@asynccontextmanager
async def open_child(command: Sequence[str], *, quiet: bool = False) -> AsyncIterator[Child]:
    """Start the process; its group is killed at the end, whatever happened."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL if quiet else sys.stderr,
        start_new_session=True,
        limit=_LINE_BYTES,
    )
    child = Child(process)
    try:
        yield child
    finally:
        await child.kill()
        await child.rest()


def open_worker(role: str, engine: str, store: Path, *arguments: object, quiet: bool = False):  # noqa: ANN201
    """A worker in this role on this store."""
    words = [role, "--engine", engine, "--store", store, *arguments]
    command = module_command("benchmarks.worker", *(str(word) for word in words))
    return open_child(command, quiet=quiet)
