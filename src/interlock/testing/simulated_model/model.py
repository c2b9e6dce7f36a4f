"""A simulated model that runs: in this process, on the caller's loop or a thread of its own.

It listens on 127.0.0.1 only. Leaving the block ends every request, hanging ones too, so that the
ledger is settled afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from interlock.clock import Clock, SystemClock, spawn_thread
from interlock.errors import ConflictError
from interlock.testing.simulated_model.chooser import Chooser
from interlock.testing.simulated_model.ledger import Ledger
from interlock.testing.simulated_model.scenario import Respond, Scenario

__all__ = ["SimulatedModel"]


class SimulatedModel:
    """A server that answers as a scenario, or a function, says.

    `async with` serves on the running loop; `with` on a thread of its own, for tests that block or
    that start other processes. It may be entered again after it was left: ledger and counters go
    on, and so does the port.

    `ledger_file` also writes the ledger to a file (see `Ledger`). `port` 0 takes a free one. Raises
    `ConflictError` when it is entered twice or the port is in use, and what `Ledger` raises.
    """

    def __init__(
        self,
        scenario: Scenario | Respond,
        *,
        ledger_file: Path | None = None,
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self._scenario = scenario if isinstance(scenario, Scenario) else Scenario.of(scenario)
        self._chooser = Chooser(self._scenario)
        self._clock = clock or SystemClock()
        self._port = port
        self._serving = False
        self._open: AbstractAsyncContextManager[None] | None = None
        self._thread: _ServingThread | None = None
        self.ledger = Ledger(ledger_file)

    @property
    def url(self) -> str:
        """Where the server is, without a path: `http://127.0.0.1:PORT`."""
        if not self._serving:
            raise ConflictError("the simulated model does not run: enter it with `with` first.")
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """The address to give to an OpenAI client: `url` with `/v1`."""
        return f"{self.url}/v1"

    async def __aenter__(self) -> Self:
        """Serve on the running loop."""
        self._begin()
        try:
            self._open = self._served()
            await self._open.__aenter__()
        except BaseException:
            self._serving = False
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, and end every request. Once more does nothing."""
        self._serving = False
        context, self._open = self._open, None
        if context is not None:
            await context.__aexit__(None, None, None)

    def __enter__(self) -> Self:
        """Serve on a thread."""
        self._begin()
        try:
            self._thread = _ServingThread(self._served)
        except BaseException:
            self._serving = False
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, end every request, and wait for the thread. Once more does nothing."""
        self._serving = False
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    def _begin(self) -> None:
        if self._serving:
            raise ConflictError("the simulated model runs already: make another one.")
        self._serving = True

    @asynccontextmanager
    async def _served(self) -> AsyncGenerator[None]:
        # The web framework loads when a model is first run, not when a scenario is described.
        from interlock.testing.simulated_model.connection import listen, served
        from interlock.testing.simulated_model.service import Service

        service = Service(self._scenario, self._chooser, self.ledger, self._clock)
        with listen(self._port) as listener:
            self._port = listener.getsockname()[1]
            async with served(service.app(), listener, service.stopping):
                yield


class _ServingThread:
    """Holds a context open on a loop in a thread. What opening or closing it raises, is raised."""

    def __init__(self, context: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._context = context
        self._said: SimpleQueue[BaseException | None] = SimpleQueue()
        self._thread = spawn_thread(self._run, name="simulated-model")
        self._hear()

    def stop(self) -> None:
        """Close the context and wait for the thread's end."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._hear()

    def _hear(self) -> None:
        failure = self._said.get()
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            asyncio.run(self._hold())
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for us
            self._said.put(error)
        else:
            self._said.put(None)

    async def _hold(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with self._context():
            self._said.put(None)
            await self._stop.wait()
