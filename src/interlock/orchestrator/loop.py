"""A run's own event loop: asyncio code made deterministic.

A run's code executes on a loop that knows nothing of the outside: its only input is the recorded
outcome of durable operations, delivered one at a time. Between two deliveries it is pumped until it
rests. Timers become durable operations; sockets, processes, signals and threads do not exist here
and are refused with an error that names the line.

Tasks get paths: each is numbered within its parent in the order of creation, so that an operation's
key (`/1/reply#2`) is the same whenever the same code sees the same outcomes.
"""

from __future__ import annotations

import asyncio
import collections
import inspect
import sys
import sysconfig
import weakref
import zlib
from asyncio import events, tasks
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NoReturn, Protocol, cast

from interlock.clock import thread_behind, thread_id
from interlock.errors import ForbiddenInRunError

__all__ = ["LoopHost", "RunLoop", "TaskNode", "is_users", "refuse", "user_line"]

_MAX_TICKS: Final = 100_000
_MAX_TICKS_WHILE_CANCELLING: Final = 16
_FORBIDDEN: Final = [
    "run_in_executor",
    "run_forever",
    "run_until_complete",
    "getaddrinfo",
    "getnameinfo",
    "create_connection",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "create_datagram_endpoint",
    "sendfile",
    "start_tls",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "subprocess_shell",
    "subprocess_exec",
    "add_reader",
    "remove_reader",
    "add_writer",
    "remove_writer",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendto",
    "sock_connect",
    "sock_accept",
    "sock_sendfile",
    "add_signal_handler",
    "remove_signal_handler",
    "set_default_executor",
    "shutdown_default_executor",
]
_OWN_FOLDER: Final = str(Path(__file__).resolve().parent.parent)
_LIBRARY_FOLDERS: Final = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def _codes(*functions: Any) -> frozenset[CodeType]:
    return frozenset(f.__code__ for f in functions if hasattr(f, "__code__"))


# Where asyncio turns awaitables into tasks; the names differ between versions of Python.
_ENSURING: Final = _codes(asyncio.ensure_future, getattr(tasks, "_ensure_future", None))
_AS_COMPLETED: Final = _codes(
    asyncio.as_completed, getattr(getattr(tasks, "_AsCompletedIterator", None), "__init__", None)
)
_ENSURING_FILE: Final = tasks.__file__
_WRAPPING: Final = asyncio.wrap_future.__code__


class TaskNode:
    """Where a task stands in its run: its path, and counters for what it makes."""

    __slots__ = ("_counters", "_tasks", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._tasks = 0
        self._counters: dict[str, int] = {}

    def child(self) -> TaskNode:
        """The node of the next task that this one creates."""
        return self.numbered(self.reserve(1))

    def reserve(self, count: int) -> int:
        """Keep numbers for tasks to be created; answers the first."""
        first = self._tasks + 1
        self._tasks += count
        return first

    def numbered(self, number: int) -> TaskNode:
        """The node of the child with a reserved number."""
        return TaskNode(f"{self.path}/{number}")

    def key(self, name: str) -> str:
        """The key of this task's next operation called `name`."""
        count = self._counters.get(name, 0) + 1
        self._counters[name] = count
        if "/" in name or "%" in name:  # Else a step called 1/f could pass for f of task 1.
            name = name.replace("%", "%25").replace("/", "%2F")
        return f"{self.path}/{name}#{count}"


_Hook = Callable[[AsyncGenerator[Any, Any]], None]
_MANY_GENERATORS: Final = 1_000
_NODE: ContextVar[TaskNode] = ContextVar("interlock_task_node")


class LoopHost(Protocol):
    """What a run's loop asks of the session that owns it."""

    def timer(self, due_seconds: float, fire: Callable[[], None]) -> Callable[[], None]:
        """Begin a durable timer; answers the function that cancels it."""
        ...

    def cancelling(self) -> bool:
        """Whether a cancellation was asked for that is not yet on disk."""
        ...

    def broken(self, message: str, error: BaseException | None) -> None:
        """A callback of the run's code raised, or the code does not come to rest."""
        ...


class _Callback(events.Handle):
    """A handle without asyncio's debugging: the run's code makes several for each operation."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._context = context or copy_context()
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class _Task(asyncio.Task[Any]):
    """A task whose place in a set is the same on every replay.

    `asyncio.wait` answers sets, and by default a set's order is that of memory addresses.
    """

    def __init__(self, node: TaskNode, order: int, *args: Any, **named: Any) -> None:
        self.node = node
        self._order = order
        super().__init__(*args, **named)

    def __hash__(self) -> int:
        return self._order

    def add_done_callback(
        self, function: Callable[..., object], /, *, context: Context | None = None
    ) -> None:
        """As asyncio's; a thread of a library that wants to live as long as the task is refused.

        It is how anyio begins a thread that works for a task.
        """
        thread = thread_behind(function)
        if thread:
            function(self)  # What it would be told at the task's end: it is not needed any more.
            refuse(f"a thread, {thread!r}")
        super().add_done_callback(function, context=context)


class _Timer(asyncio.TimerHandle):
    """A timer of the run's code (`asyncio.sleep`, `asyncio.timeout`) as a durable operation."""

    cancel_durable: Callable[[], None] | None = None

    def cancel(self) -> None:
        if not self.cancelled() and self.cancel_durable is not None:
            self.cancel_durable()
        super().cancel()


class RunLoop(asyncio.AbstractEventLoop):
    """The loop of one claim of one run. Used from the host loop's thread only.

    `outer` is the loop that executes it. `salt` spreads the hashes of different runs' tasks.
    """

    def __init__(self, host: LoopHost, outer: asyncio.AbstractEventLoop, *, salt: int = 0) -> None:
        self._host = host
        self._salt = salt
        self._outer = outer
        self._thread = 0
        self._ready: collections.deque[events.Handle] = collections.deque()
        self.time_us = 0
        self._tasks: set[_Task] = set()
        self._closed = False
        self._generators_end: object = None
        self._root = TaskNode("")
        self._batch: _Batch | None = None

    def begin(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> asyncio.Task[Any]:
        """Create the run's first task. It runs at the next `pump`."""
        context.run(_NODE.set, self._root)
        return self._spawn(coroutine, context, self._root, "run")

    def pump(self) -> None:
        """Run the code until it rests: until it can only go on when something is delivered."""
        if not self._ready:
            return
        events._set_running_loop(self)
        self._thread = thread_id()
        if sys.get_asyncgen_hooks()[1] is not self._generators_end:
            self._generators_end = _watch_generators()
        try:
            self._turn_until_rest()
        finally:
            self._thread = 0
            events._set_running_loop(self._outer)

    @property
    def closed(self) -> bool:
        """Whether the run's code was torn down."""
        return self._closed

    def runs_here(self) -> bool:
        """Whether the caller is the run's own code, and not a step, a tool or a thread."""
        return self._thread == thread_id()

    def _turn_until_rest(self) -> None:
        ticks = 0
        ready = self._ready
        while ready:
            ticks += 1
            # anyio asks for a cancellation again at every turn until it is delivered, and it is
            # delivered only when it is on disk. The bound is a count, so a replay turns as often.
            if ticks > _MAX_TICKS_WHILE_CANCELLING and self._host.cancelling():
                return
            if ticks > _MAX_TICKS:
                ready.clear()
                self._host.broken(
                    f"the run's code did not come to rest in {_MAX_TICKS:,} turns of its loop: it "
                    "polls for something. Wait for a durable operation instead.",
                    None,
                )
                return
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle._cancelled:  # noqa: SLF001 - as asyncio's do
                    # The task that raised SystemExit holds it: it ends the run, not the process.
                    try:  # noqa: SIM105 - `suppress` costs three calls here, for every callback
                        handle._run()  # noqa: SLF001 - a loop runs its handles, as asyncio's do
                    except SystemExit:
                        pass

    def set_time(self, at_us: int) -> None:
        """The time that the run's code sees: that of the last outcome it was given."""
        self.time_us = at_us

    def node(self) -> TaskNode:
        """The place of the running code: its task's, or in a callback that of its creator."""
        task = cast("_Task | None", asyncio.current_task(self))
        return task.node if task is not None else _NODE.get(self._root)

    def line_of_code(self) -> str:
        """`file:line` of the user's code at which the run's first task stands."""
        first = next((task for task in self._tasks if task.node is self._root), None)
        awaited: Any = first.get_coro() if first is not None else None
        line = ""
        while (frame := getattr(awaited, "cr_frame", None)) is not None:
            # The agent itself may be installed as a library is.
            if is_users(frame) or not line:
                line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            awaited = awaited.cr_await
        return line or "the run's code"

    @staticmethod
    def is_pumping(frame: FrameType) -> bool:
        """Whether this frame is where a run's loop executes the run's code."""
        return frame.f_code is _PUMP

    def tear_down(self) -> None:
        """Forget the run's code. Its `finally` blocks run; durable operations do nothing there."""
        self._closed = True
        self._ready.clear()
        events._set_running_loop(self)
        self._thread = thread_id()
        try:
            # In the order of their creation, so that what their `finally` blocks do is the same.
            for task in sorted(self._tasks, key=lambda task: task.node.path):
                _discard(task)
        finally:
            self._thread = 0
            events._set_running_loop(self._outer)
        self._ready.clear()
        self._tasks.clear()

    # What asyncio asks of a loop.

    def time(self) -> float:
        """The run's time in seconds since 1970."""
        return self.time_us / 1e6

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> events.Handle:
        """Run a callback in this pump."""
        handle = _Callback(callback, args, self, context)
        if not self._closed:
            self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> events.Handle:
        """As `call_soon`; refused from outside the run's code, where it would not be replayed."""
        if not self.runs_here():
            refuse("call_soon_threadsafe (a thread that calls back)")
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """A durable timer."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """A durable timer: it fires at `when` of the run's time, also after a restart."""
        timer = _Timer(when, callback, args, self, context or copy_context())
        timer.cancel_durable = self._host.timer(when, lambda: self._ready.append(timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asked for by asyncio when a timer is cancelled; the timer did what is needed."""

    def create_future(self) -> asyncio.Future[Any]:
        """A future of the run's code."""
        frame = inspect.currentframe()
        if frame is not None and frame.f_back is not None and frame.f_back.f_code is _WRAPPING:
            refuse("the future of a thread or a process, asyncio.wrap_future")
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Any,
        *,
        name: object = None,
        context: Context | None = None,
        **_options: Any,
    ) -> asyncio.Task[Any]:
        """A task with its place: numbered within the task that creates it."""
        parent = self.node()
        given = _as_completed_batch()
        number = None
        if given is not None:
            if self._batch is None or self._batch.given is not given:
                self._batch = _Batch(given, parent.reserve(len(given)))
            number = self._batch.number(coro)
        child = parent.child() if number is None else parent.numbered(number)
        own = context if context is not None else copy_context()
        own.run(_NODE.set, child)
        task = self._spawn(coro, own, child, child.path if name is None else str(name))
        if self._batch is not None and number is not None:
            self._batch.created(number, self._ready)
        return task

    def _spawn(
        self, coro: Coroutine[Any, Any, Any], context: Context, node: TaskNode, name: str
    ) -> asyncio.Task[Any]:
        order = zlib.crc32(node.path.encode(), self._salt)
        task = _Task(node, order, coro, loop=self, name=name, context=context)
        self._tasks.add(task)
        super(_Task, task).add_done_callback(self._forget)  # Quicker: it is no thread's.
        return task

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(cast("_Task", task))

    def get_task_factory(self) -> None:
        """None: tasks are made by this loop itself (anyio asks)."""
        return

    def get_debug(self) -> bool:
        """False."""
        return False

    def is_running(self) -> bool:
        """True: it is only ever seen by running code."""
        return not self._closed

    def is_closed(self) -> bool:
        """Whether the run was torn down."""
        return self._closed

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """As `call_exception_handler`."""
        self.call_exception_handler(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A callback raised, or a task's exception was never looked at."""
        self._host.broken(str(context.get("message", "")), context.get("exception"))

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: what is left is closed at the tear-down."""


def _discard(task: asyncio.Task[Any]) -> None:
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - it is meant
    # The code is being forgotten, and with it whatever its `finally` blocks raise.
    with suppress(BaseException):
        task.get_coro().close()


def _watch_generators() -> object:
    """See to this thread's asynchronous generators; what tells that it is done: the finalizer."""
    hooks = sys.get_asyncgen_hooks()
    watch = getattr(hooks.finalizer, "__self__", None)
    if not isinstance(watch, _Generators):
        watch = _Generators(hooks.firstiter, hooks.finalizer)
        sys.set_asyncgen_hooks(watch.on_first, watch.on_last)
    return watch.on_last


class _Generators:
    """A thread's asynchronous generators, those of runs told apart from the host's own.

    The host sees only its own begin: it would close those of a run when it stops. One that is let
    go of unfinished is the host's to close, except those of code that was torn down: they are
    dropped with it, since whoever awaited them is closed, and before Python 3.13 that does not
    reach into them. Hooks of each run's own would have to be set whenever its code goes on, and
    every setting is an audit event.
    """

    def __init__(self, first: _Hook | None, last: _Hook | None) -> None:
        self._first = first
        self._last = last
        # A weak reference to the generator itself is gone before it is finalized. A number that is
        # used again is of a new generator, which was seen to begin.
        self._owners: dict[int, weakref.ref[RunLoop]] = {}
        self._clear_at = _MANY_GENERATORS
        # One object each, since they are compared: methods are bound anew at every look.
        self.on_first: Final = self._begun
        self.on_last: Final = self._let_go

    def _begun(self, generator: AsyncGenerator[Any, Any]) -> None:
        loop = events._get_running_loop()
        if isinstance(loop, RunLoop):
            self._owners[id(generator)] = weakref.ref(loop)
            if len(self._owners) >= self._clear_at:
                self._clear()
            return
        self._owners.pop(id(generator), None)
        if self._first is not None:
            self._first(generator)

    def _let_go(self, generator: AsyncGenerator[Any, Any]) -> None:
        owner = self._owners.pop(id(generator), None)
        if owner is not None:
            loop = owner()
            if loop is None or loop.closed:
                return
        if self._last is not None:
            self._last(generator)

    def _clear(self) -> None:
        """Forget those of runs that are gone: most ended, and nobody told of it."""
        self._owners = {number: owner for number, owner in self._owners.items() if owner()}
        self._clear_at = _MANY_GENERATORS + 2 * len(self._owners)


class _Batch:
    """The tasks of one `asyncio.as_completed`.

    It makes them in the order of a set of coroutines, which is that of memory addresses. They are
    numbered, and begin, in the order in which the code gave them instead.
    """

    def __init__(self, given: Sequence[Any], first: int) -> None:
        self.given = given
        self._first = first
        self._expected = len({id(item) for item in given if asyncio.iscoroutine(item)})
        self._numbers: list[int] = []

    def number(self, coro: Any) -> int | None:
        """The number of a coroutine, or None for one that wraps another awaitable."""
        position = next((i for i, item in enumerate(self.given) if item is coro), None)
        return None if position is None else self._first + position

    def created(self, number: int, ready: collections.deque[events.Handle]) -> None:
        """A task of the batch was created; its first turn is the last of `ready`."""
        self._numbers.append(number)
        if len(self._numbers) == self._expected:
            # Nothing else was made ready since the first of them.
            turns = [ready.pop() for _ in self._numbers][::-1]
            pairs = sorted(zip(self._numbers, turns, strict=True), key=lambda pair: pair[0])
            ready.extend(turn for _, turn in pairs)


def _as_completed_batch() -> Sequence[Any] | None:
    """What `asyncio.as_completed` was given, when it is what creates a task; else None.

    Raises `ForbiddenInRunError` when it was given something without an order.
    """
    frame = inspect.currentframe()
    caller = frame.f_back.f_back if frame and frame.f_back else None
    if caller is None or caller.f_code not in _ENSURING:
        return None
    while caller is not None and caller.f_code not in _AS_COMPLETED:
        if caller.f_code.co_filename != _ENSURING_FILE:
            return None
        caller = caller.f_back
    if caller is None:
        return None
    given: Any = next((caller.f_locals[n] for n in ("fs", "aws") if n in caller.f_locals), None)
    if isinstance(given, (list, tuple)):
        return cast("Sequence[Any]", given)
    raise ForbiddenInRunError(
        f"{user_line()}: asyncio.as_completed was given a {type(given).__name__}, which has no "
        "order that a replay could follow. Give it a list.",
        operation="asyncio.as_completed",
    )


def user_line() -> str:
    """`file:line` of the innermost frame that is neither Interlock's nor a library's.

    Below a task of a library's alone (`gather(asyncio.to_thread(…))`) there is none: then it is the
    line at which the agent stands meanwhile.
    """
    return _place()[0]


def _place() -> tuple[str, str]:
    """The line of `user_line`, and the function of a library that is called there."""
    frame, called = inspect.currentframe(), ""
    while frame is not None:
        if is_users(frame):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}", called
        if frame.f_code is _PUMP:
            loop = frame.f_locals["self"]
            return loop.line_of_code() if isinstance(loop, RunLoop) else "the run's code", ""
        own = frame.f_code.co_filename.startswith(_OWN_FOLDER)
        called = "" if own else f"{frame.f_globals['__name__']}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "the run's code", ""


def is_users(frame: FrameType) -> bool:
    """Whether a frame is of the user's own code: neither Interlock's nor a library's."""
    path = str(Path(frame.f_code.co_filename).absolute())
    return not path.startswith((_OWN_FOLDER, *_LIBRARY_FOLDERS)) and not path.endswith(">")


def refuse(what: str) -> NoReturn:
    """Raise `ForbiddenInRunError` that names the line, what is called there and the remedy."""
    line, called = _place()
    raise ForbiddenInRunError(
        f"{line}: a run's code called {f'{called} ({what})' if called else what}. A run's code has "
        "no sockets, threads, processes or signals of its own, because they cannot be replayed. "
        "Put this work into `await run.step(function, …)` or into a tool.",
        operation=what,
    )


def _forbid(name: str) -> Callable[..., NoReturn]:
    def refused(_self: RunLoop, *_args: Any, **_kwargs: Any) -> NoReturn:
        refuse(f"asyncio's loop.{name}")

    refused.__name__ = name
    refused.__doc__ = "Refused with the line of the caller."
    return refused


_PUMP: Final = RunLoop.pump.__code__

for _name in _FORBIDDEN:
    setattr(RunLoop, _name, _forbid(_name))
