"""What a run's code may not do is refused: the caller's own file and line, and the remedy."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import logging
import logging.handlers
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from interlock import App, Run, StepFailedError
from interlock.errors import ForbiddenInRunError
from tests.support.local import app_in, executing, until, until_state


def here() -> int:
    """The caller's line."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


async def _to_thread() -> int:
    line = here() + 1
    await asyncio.to_thread(print)
    return line


async def _run_in_executor() -> int:
    line = here() + 1
    await asyncio.get_running_loop().run_in_executor(None, print)
    return line


async def _open_connection() -> int:
    line = here() + 1
    await asyncio.open_connection("127.0.0.1", 9)
    return line


async def _start_server() -> int:
    line = here() + 1
    await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    return line


async def _subprocess() -> int:
    line = here() + 1
    await asyncio.create_subprocess_exec("true")
    return line


async def _shell() -> int:
    line = here() + 1
    await asyncio.create_subprocess_shell("true")
    return line


async def _getaddrinfo() -> int:
    line = here() + 1
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    return line


async def _signal_handler() -> int:
    line = here() + 1
    asyncio.get_running_loop().add_signal_handler(10, print)
    return line


async def _add_reader() -> int:
    line = here() + 1
    asyncio.get_running_loop().add_reader(0, print)
    return line


async def _httpx() -> int:
    line = here() + 2
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get("http://127.0.0.1:9/")
    return line


async def _anyio_connect() -> int:
    line = here() + 1
    await anyio.connect_tcp("127.0.0.1", 9)
    return line


async def _anyio_to_thread() -> int:
    line = here() + 1
    await anyio.to_thread.run_sync(print)
    return line


async def _anyio_file() -> int:
    line = here() + 1
    await anyio.Path(__file__).exists()
    return line


async def _wrap_future() -> int:
    done: concurrent.futures.Future[None] = concurrent.futures.Future()
    line = here() + 1
    await asyncio.wrap_future(done)
    return line


async def _sleep() -> int:
    line = here() + 2
    if sys.version_info < (3, 13):  # Which does not tell of it by itself.
        sys.audit("time.sleep", 10)
    time.sleep(10)  # noqa: ASYNC251 - it is what is refused
    return line


async def _socket() -> int:
    line = here() + 1
    socket.create_connection(("127.0.0.1", 9))
    return line


async def _httpx_sync() -> int:
    line = here() + 1
    httpx.get("http://127.0.0.1:9/", trust_env=False)  # noqa: ASYNC210 - it is what is refused
    return line


async def _popen() -> int:
    line = here() + 1
    subprocess.run(["true"], check=True)  # noqa: ASYNC221 - it is what is refused
    return line


async def _thread() -> int:
    line = here() + 2
    if sys.version_info < (3, 12):  # Which does not tell of it by itself.
        sys.audit("_thread.start_new_thread", print, (), {})
    threading.Thread(target=print).start()
    return line


FORBIDDEN: dict[str, Callable[[], Awaitable[int]]] = {
    "asyncio.to_thread": _to_thread,
    "run_in_executor": _run_in_executor,
    "open_connection": _open_connection,
    "start_server": _start_server,
    "subprocess": _subprocess,
    "shell": _shell,
    "getaddrinfo": _getaddrinfo,
    "signal handler": _signal_handler,
    "add_reader": _add_reader,
    "httpx": _httpx,
    "anyio": _anyio_connect,
    "anyio.to_thread": _anyio_to_thread,
    "anyio.Path": _anyio_file,
    "wrap_future": _wrap_future,
    "time.sleep": _sleep,
    "socket": _socket,
    "httpx, blocking": _httpx_sync,
    "subprocess.run": _popen,
    "threading": _thread,
}


def _line_of(call: Callable[..., Any]) -> tuple[int, int]:
    lines, start = inspect.getsourcelines(call)
    return start, start + len(lines)


def _told(app: App) -> str:
    """The message with which the run of agent `a` failed."""

    async def main() -> str:
        async with executing(app) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, "failed", "completed", "parked")
            failure = local.client.result(row)
            assert row.state == "failed", row
            assert row.reason == "forbidden_in_run", failure
            return failure["message"]

    return asyncio.run(main())


def _check(message: str, first: int, last: int) -> None:
    found = re.search(re.escape(__file__) + r":(\d+)", message)
    assert found, message
    assert first <= int(found.group(1)) < last, message
    assert "run.step" in message, "the remedy"


@pytest.mark.parametrize("what", FORBIDDEN)
def test_refused_with_the_callers_line_and_the_remedy(tmp_path: Path, what: str) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.sleep(timedelta(0))
        await FORBIDDEN[what]()

    _check(_told(app), *_line_of(FORBIDDEN[what]))


def test_refused_at_the_very_line(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    lines: list[int] = []

    @app.agent("a")
    async def a(run: Run) -> None:
        lines.append(here() + 1)
        await asyncio.to_thread(print)

    message = _told(app)
    assert f"{__file__}:{lines[0]}:" in message


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("asyncio.to_thread", "asyncio.threads.to_thread"),
        ("run_in_executor", "loop.run_in_executor"),
        ("anyio.to_thread", "anyio.to_thread.run_sync ("),
        ("wrap_future", "asyncio.wrap_future"),
        ("httpx, blocking", "httpx._api.get (a socket, "),
        ("time.sleep", "called time.sleep."),
    ],
)
def test_a_thread_is_refused_by_name(tmp_path: Path, what: str, name: str) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        await FORBIDDEN[what]()

    assert name in _told(app)


def test_a_thread_that_was_refused_does_not_stay(tmp_path: Path) -> None:
    """The library has begun it by then; it is told at once to end, and the work is never done."""
    app = app_in(tmp_path)
    worked: list[int] = []

    @app.agent("a")
    async def a(run: Run) -> int:
        for _ in range(3):
            with contextlib.suppress(ForbiddenInRunError):
                await anyio.to_thread.run_sync(worked.append, 1)
        return await run.step(asyncio.sleep, 0, 7)

    async def main() -> None:
        async with executing(app) as local:
            assert await (await local.start("a")).result() == 7
        await until(lambda: not [t for t in threading.enumerate() if "AnyIO" in t.name])

    asyncio.run(main())
    assert worked == []


@pytest.mark.parametrize("form", ["gather", "task", "task group"])
def test_a_forbidden_call_in_a_task_of_its_own_names_the_agents_file(
    tmp_path: Path, form: str
) -> None:
    """No frame of the agent is under such a task: its line is where the agent stands meanwhile."""
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        if form == "gather":
            await asyncio.gather(asyncio.to_thread(print), run.sleep(timedelta(0)))
        elif form == "task":
            await asyncio.create_task(asyncio.to_thread(print))
        else:
            await run.sleep(timedelta(0))
            async with asyncio.timeout(100):
                await asyncio.ensure_future(asyncio.to_thread(print))

    _check(_told(app), *_line_of(a))


def test_waiting_for_what_is_not_durable_parks_with_the_line_and_the_remedy(
    tmp_path: Path,
) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.sleep(timedelta(0))
        await asyncio.Event().wait()

    async def main() -> str:
        async with executing(app) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, "parked")
            return local.client.result(row)["message"]

    _check(asyncio.run(main()), *_line_of(a))


def test_a_thread_that_calls_back_is_refused_in_the_thread(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    refused: list[BaseException] = []
    done = threading.Event()

    def in_a_thread(loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(print)
        except ForbiddenInRunError as error:
            refused.append(error)
        done.set()

    def start_thread(loop: asyncio.AbstractEventLoop) -> None:
        threading.Thread(target=in_a_thread, args=(loop,)).start()

    @app.agent("a")
    async def a(run: Run) -> None:
        # As a library's thread that was there before.
        hosts[0].call_soon(start_thread, asyncio.get_running_loop())
        await run.wait("go")

    hosts: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        hosts.append(asyncio.get_running_loop())
        async with executing(app) as local:
            handle = await local.start("a")
            await until(done.is_set)
            await local.client.signal(handle.id, "go")
            await handle.result()

    asyncio.run(main())
    _check(str(refused[0]), *_line_of(in_a_thread))


def test_steps_and_logs_may_reach_outside(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    log = logging.getLogger("tests.forbidden")
    log.propagate = False

    async def in_a_step() -> str:
        time.sleep(0.001)  # noqa: ASYNC251 - a step may
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
        return "there"

    @app.agent("a")
    async def a(run: Run) -> str:
        log.warning("told over a socket")
        return await run.step(in_a_step)

    async def main() -> Any:
        async with executing(app) as local:
            return await (await local.start("a")).result()

    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        handler = logging.handlers.SocketHandler(host, port)
        log.addHandler(handler)
        try:
            assert asyncio.run(main()) == "there"
            connection, _ = server.accept()
            with connection:
                assert connection.recv(4)
        finally:
            log.removeHandler(handler)
            handler.close()


@pytest.mark.parametrize("operation", ["step", "wait", "sleep", "start", "escalate", "call"])
def test_an_operation_of_the_run_inside_a_step_is_refused(  # noqa: C901 - six operations
    tmp_path: Path, operation: str
) -> None:
    app = app_in(tmp_path)

    async def nothing() -> None: ...

    tool = app.tool("tool", effect="write", recovery="repeatable")(nothing)

    @app.agent("child")
    async def child(run: Run) -> None: ...

    @app.agent("a")
    async def a(run: Run) -> str:
        async def inside() -> None:
            match operation:
                case "step":
                    await run.step(nothing)
                case "wait":
                    await run.wait("x")
                case "sleep":
                    await run.sleep(timedelta(0))
                case "start":
                    await run.start("child")
                case "escalate":
                    await run.escalate("?")
                case _:
                    await run.call(tool)

        try:
            await run.step(inside)
        except StepFailedError as error:
            return error.message if error.was(ForbiddenInRunError) else ""
        return ""

    async def main() -> str:
        async with executing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "completed", "failed", "parked")
            return await handle.result()

    message = asyncio.run(main())
    found = re.search(re.escape(__file__) + r":(\d+)", message)
    assert found, message
    first, last = _line_of(test_an_operation_of_the_run_inside_a_step_is_refused)
    assert first < int(found.group(1)) < last
    assert "Return to the agent's function" in message


@pytest.mark.parametrize("draw", ["random", "uuid"])
def test_chance_inside_a_step_is_refused(tmp_path: Path, draw: str) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> bool:
        def inside() -> None:
            getattr(run, draw)()

        try:
            await run.step(inside)
        except StepFailedError as error:
            return error.was(ForbiddenInRunError)
        return False

    async def main() -> Any:
        async with executing(app) as local:
            return await (await local.start("a")).result()

    assert asyncio.run(main()) is True


def test_code_that_waits_for_what_nothing_will_set_is_parked(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        await run.sleep(timedelta(0))
        await asyncio.Event().wait()

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, "parked")
            message = local.client.result(row)["message"]
            assert "asyncio.Event" in message
            assert "Wait for a signal" in message

    asyncio.run(main())


@pytest.mark.parametrize("first", [True, False])
def test_code_that_polls_is_parked(tmp_path: Path, first: bool) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        if not first:
            await run.sleep(timedelta(0))
        while True:
            await asyncio.sleep(0)

    @app.agent("b")
    async def b(run: Run) -> int:
        return 2

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            row = await until_state(local, handle.id, "parked")
            message = local.client.result(row)["message"]
            assert "polls" in message
            assert row.reason != "replay_mismatch", "the code has not changed"
            assert await (await local.start("b")).result() == 2

    asyncio.run(main())


def test_events_and_queues_between_the_tasks_of_a_run_work(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        ready, lock = asyncio.Event(), asyncio.Lock()

        async def produce() -> None:
            for n in range(3):
                await run.sleep(timedelta(milliseconds=1))
                async with lock:
                    await queue.put(n)
            ready.set()

        task = asyncio.create_task(produce())
        await ready.wait()
        await task
        return [queue.get_nowait() for _ in range(queue.qsize())]

    async def main() -> Any:
        async with executing(app) as local:
            return await (await local.start("a")).result()

    assert asyncio.run(main()) == [0, 1, 2]
