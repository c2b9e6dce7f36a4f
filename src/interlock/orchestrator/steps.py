"""Steps: a function of the host whose result is recorded once.

Also used for tools that only read. An attempt that fails is recorded, so attempts are counted
across restarts; the pause between two attempts is durable.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, NamedTuple, cast

from interlock.base.codec import (
    MAX_PAYLOAD_BYTES,
    Codec,
    check_size,
    codec_for,
    return_type,
)
from interlock.base.failure import Failure, failure_of, read_failure
from interlock.errors import InterlockError, ReplayMismatchError, StepFailedError
from interlock.journal.event import Draft, Header
from interlock.orchestrator.operation import UNSET, Operation, OperationHost
from interlock.orchestrator.retry import Retry

__all__ = ["Callee", "StepOperation", "StepPlan", "bound", "callee", "is_async"]

_RESULT_MARK: Final = b',"result":'
_ARGUMENTS_MARK: Final = b'{"args":'
_NO_FAILURE: Final = Failure((), "")


class Callee(NamedTuple):
    """What is known of a function that runs on the host: read once, since every step needs it."""

    name: str
    codec: Codec[Any]
    is_async: bool


@functools.lru_cache(maxsize=4096)
def callee(function: Callable[..., Any]) -> Callee:
    """Read a function's name, result type and kind."""
    inner = getattr(function, "func", None)
    name = getattr(function, "__name__", None) or getattr(inner, "__name__", None)
    return Callee(
        "step" if name == "<lambda>" else str(name or type(function).__name__),
        codec_for(return_type(function)),
        is_async(function),
    )


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling this gives a coroutine: an async function, a partial or an object of one."""
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = cast("Callable[..., Any]", inner.func)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(
        getattr(inner, "__call__", None)  # noqa: B004 - its kind is asked, not its existence
    )


class StepPlan(NamedTuple):
    """What to run and under which limits. `noun` is `step`, or `read` for a tool that reads.

    `said` is what the function leaves for the header of the event that completes it.
    """

    noun: str
    function: Callable[[], Any]
    arguments: bytes
    codec: Codec[Any]
    version: str
    retry: Retry
    timeout: timedelta | None
    total_timeout: timedelta | None
    is_async: bool
    said: Mapping[str, Any] | None = None
    # Paths into arguments and result that no view shows (`args.iban`).
    sensitive: tuple[str, ...] = ()


class StepOperation(Operation):
    """One step, from its first attempt to its result."""

    kinds: ClassVar[frozenset[str]] = frozenset(
        f"{noun}_{what}"
        for noun in ("step", "read")
        for what in ("completed", "attempt_failed", "failed")
    )
    ends = frozenset({"step_completed", "step_failed", "read_completed", "read_failed"})
    wait_kind = "retry"
    __slots__ = ("attempts", "began", "last_failure", "plan", "retry_at_us", "said", "task")

    def __init__(self, session: OperationHost, name: str, plan: StepPlan) -> None:
        super().__init__(session, name)
        self.plan = plan
        self.attempts = 0
        self.last_failure = _NO_FAILURE
        self.retry_at_us = 0
        self.began = False
        # The header of the event that completed it.
        self.said: Header = {}
        self.task: asyncio.Task[None] | None = None

    def apply(self, kind: str, header: Header, body: bytes | None, value: Any) -> None:
        """Fold a completed, failed or to-be-repeated attempt."""
        self.said = header
        if value is not UNSET:  # Just recorded by this very attempt.
            self.resolve(value)
            return
        noun, _, what = kind.partition("_")
        if noun != self.plan.noun:
            raise self._mismatch(f"a {noun}", f"a {self.plan.noun}")
        version = header.get("tool_version", "")
        if version != self.plan.version:
            raise self._mismatch(f"tool version {version}", f"version {self.plan.version}")
        match what:
            case "completed":
                self.resolve(self._result(body))
            case "failed":
                self._check_arguments(body)
                self.reject(self._error(read_failure(self._tail(body)), header["attempts"]))
            case _:
                self.attempts = header["attempt"]
                self.last_failure = read_failure(body)
                self.retry_at_us = header["retry_at_us"]
                if self.session.live and not self.cancel_asked and not self.session.draining:
                    self.start()

    def start(self) -> None:
        """Make the next attempt, or wait for its time."""
        session = self.session
        if self.attempts and self._out_of_time():
            self._fail_for_good(self.last_failure, self.attempts)
        elif self.retry_at_us and self.retry_at_us > session.clock.now_us():
            self.arm(self.retry_at_us)
        else:
            session.working(+1)
            self.began = False
            self.task = asyncio.Task(self._attempt(), loop=session.host, context=self.context)

    def due(self) -> None:
        """The pause is over."""
        self.start()

    def wake_at_us(self) -> int | None:
        """The end of the pause."""
        return self.retry_at_us or None

    def waits_for(self) -> str:
        """Which attempt is next."""
        return f"attempt {self.attempts + 1} of {self.plan.noun} {self.name!r}"

    def abandon(self) -> None:
        """Stop the attempt; a thread cannot be stopped and its result is dropped."""
        self.stop()

    def stop(self) -> None:
        """Stop the attempt and record nothing."""
        super().stop()
        if self.task is None:
            return
        self.task.cancel()
        if not self.began:  # Then the attempt's code never runs, its `finally` included.
            self.task = None
            self.session.working(-1)

    # One attempt, on the host loop.

    async def _attempt(self) -> None:
        self.began = True
        try:
            simple = self.plan.is_async and not self.plan.timeout and not self.plan.total_timeout
            result = await (self.plan.function() if simple else self._call())
            body = self._encode(result)
        except asyncio.CancelledError as error:
            # Without our asking, the step's own code raised it: that is a failure like another.
            if not self.cancel_asked and self.session.live and self.open:
                self._failed(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the step raised is its outcome
            self._failed(error)
        else:
            encoded, value = body
            said = dict(self.plan.said) if self.plan.said else {}
            self.session.record(self, self._draft("completed", said, encoded), value=value)
        finally:
            self.task = None
            self.session.working(-1)

    async def _call(self) -> Any:
        seconds = self._seconds_left()
        if not self.plan.is_async:
            return await self._call_in_thread(seconds)
        return await self._within(seconds, self.plan.function())

    async def _within(self, seconds: float | None, awaitable: Awaitable[Any]) -> Any:
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await awaitable
        except TimeoutError:
            if not scope.expired():
                raise
        raise TimeoutError(f"{self._label()} took longer than {seconds:g} s and was cancelled")

    async def _call_in_thread(self, seconds: float | None) -> Any:
        answer = self.session.threads.run(self.session.host, self.plan.function)
        answer.add_done_callback(_drop)
        done, _ = await asyncio.wait({answer}, timeout=seconds)
        if not done:
            raise TimeoutError(
                f"{self._label()} took longer than {seconds:g} s; it is a synchronous function and "
                "is still running in its thread"
            )
        result = answer.result()
        if not inspect.isawaitable(result):
            return result
        return await self._within(self._seconds_left(), result)

    def _seconds_left(self) -> float | None:
        limits: list[float] = []
        if self.plan.timeout is not None:
            limits.append(self.plan.timeout.total_seconds())
        end_us = self._end_us()
        if end_us is not None:
            limits.append(max(0.0, (end_us - self.session.clock.now_us()) / 1e6))
        return min(limits) if limits else None

    def _encode(self, result: Any) -> tuple[bytes, Any]:
        label = self._label()
        encoded = self.plan.codec.encode(result, label)
        body = b"".join((_ARGUMENTS_MARK, self.plan.arguments, _RESULT_MARK, encoded, b"}"))
        if len(body) > MAX_PAYLOAD_BYTES:
            check_size(body, label)
        return body, self.plan.codec.read_back(result, encoded, label)

    def _failed(self, error: BaseException) -> None:
        attempt = self.attempts + 1
        retry_at_us = self._retry_at_us(error, attempt)
        if retry_at_us is None:
            self._fail_for_good(failure_of(error), attempt)
            return
        failure = failure_of(error)
        header = {"attempt": attempt, "retry_at_us": retry_at_us, "error": failure.name()}
        self.session.record(self, self._draft("attempt_failed", header, failure.encode()))

    def _fail_for_good(self, failure: Failure, attempts: int) -> None:
        encoded = failure.encode()
        body = _ARGUMENTS_MARK + self.plan.arguments + _RESULT_MARK + encoded + b"}"
        self.session.record(self, self._draft("failed", {"attempts": attempts}, body))

    def _end_us(self) -> int | None:
        total = self.plan.total_timeout
        return None if total is None else self.since_us + total // timedelta(microseconds=1)

    def _out_of_time(self) -> bool:
        end_us = self._end_us()
        return end_us is not None and self.session.clock.now_us() >= end_us

    def _draft(self, what: str, header: dict[str, Any], body: bytes) -> Draft:
        if self.plan.version:
            header["tool_version"] = self.plan.version
        if self.plan.sensitive and what != "attempt_failed":
            header["sensitive"] = list(self.plan.sensitive)
        return Draft(f"{self.plan.noun}_{what}", self.key, header, body)

    def _retry_at_us(self, error: BaseException, attempt: int) -> int | None:
        mistake = isinstance(error, InterlockError)  # A value that cannot be recorded, never cured.
        if mistake or not isinstance(error, Exception):
            return None
        if not self.plan.retry.wants(error, attempt):
            return None
        now_us = self.session.clock.now_us()
        now = datetime.fromtimestamp(now_us / 1e6, UTC)
        draw = int.from_bytes(self.session.clock.random_bytes(6), "big") / 2**48
        pause_us = self.plan.retry.pause(attempt, draw, error, now) // timedelta(microseconds=1)
        end_us = self._end_us()
        return None if end_us is not None and now_us + pause_us >= end_us else now_us + pause_us

    # Reading what was recorded.

    def _result(self, body: bytes | None) -> Any:
        self._check_arguments(body)
        return self.plan.codec.decode(self._tail(body), f"the recorded result of {self._label()}")

    def _check_arguments(self, body: bytes | None) -> None:
        expected = _ARGUMENTS_MARK + self.plan.arguments + _RESULT_MARK
        if body is None or not body.startswith(expected):
            recorded = (body or b"").partition(_RESULT_MARK)[0].removeprefix(_ARGUMENTS_MARK)
            raise self._mismatch(_shown(recorded), _shown(self.plan.arguments))

    def _tail(self, body: bytes | None) -> bytes:
        start = len(_ARGUMENTS_MARK) + len(self.plan.arguments) + len(_RESULT_MARK)
        return (body or b"")[start:-1]

    def _error(self, failure: Failure, attempts: int) -> StepFailedError:
        times = "" if attempts == 1 else f" after {attempts} attempts"
        return StepFailedError(
            f"{self._label()} failed{times}: {failure.sentence()}",
            error_types=failure.types,
            key=self.key,
            attempts=attempts,
        )

    def _mismatch(self, recorded: str, now: str) -> ReplayMismatchError:
        return ReplayMismatchError(
            f"{self._label()}: the journal has it with {recorded}, and the code now has {now}.",
            key=self.key,
        )

    def _label(self) -> str:
        return f"{self.plan.noun} {self.key!r}"


def _drop(answer: asyncio.Future[Any]) -> None:
    """Look at a late result so that its exception is not reported as never retrieved."""
    if not answer.cancelled():
        answer.exception()


def _shown(arguments: bytes) -> str:
    text = arguments.decode("utf-8", "replace")
    return f"arguments {text if len(text) <= 200 else text[:200] + '…'}"


def bound(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[], Any]:
    """The function with its arguments."""
    return functools.partial(function, *arguments) if arguments else function
