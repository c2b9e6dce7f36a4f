"""The writer: takes every commit that waits, writes them as one group, and answers each.

An answer is given only when its group is on disk, in commit order, on the host event loop. The
first `StorageError` ends the journal: every waiting and later commit gets it, since after a failed
disk only the next start knows what was written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Literal

from interlock.clock import Clock, SystemClock, spawn_thread
from interlock.errors import ConflictError, StorageError, StorageFailedError, StorageLockedError
from interlock.journal.check import check_commit
from interlock.journal.guard import Commit, Result
from interlock.journal.store import Store

__all__ = ["Done", "Journal", "Mode"]

Mode = Literal["split", "thread", "inline"]
Done = Callable[[Result | StorageError], None]
_Group = Sequence[tuple[Commit, Done]]
_Outcome = list[Result] | BaseException
_Work = Callable[[], list[Result]]

_LARGEST_GROUP = 500
_QUICK_SECONDS = 0.001
_SLOW_ENOUGH = 4
_SLOWEST = 8


class Journal:
    """Group commit on one store, driven from one event loop.

    `mode` says where the work happens. `split`: judging and writing on the loop, only the COMMIT
    with its sync in a thread, while the loop gathers the next group; as long as the disk syncs
    within a millisecond, on the loop too, since handing over would take longer. `thread`: all of it
    in a thread. `inline`: all of it on the loop, deterministic, for simulations. `clock` times the
    syncs.
    """

    def __init__(self, store: Store, *, mode: Mode = "split", clock: Clock | None = None) -> None:
        self.store = store
        self.mode = mode
        self._pace = _Pace(clock or SystemClock())
        self._failure: StorageError | None = None
        self._waiting: list[tuple[Commit, Done]] = []
        self._busy = False
        self._scheduled = False
        self._closed = False
        self._idle: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: SimpleQueue[Callable[[], None] | None] | None = None

    @property
    def failure(self) -> StorageError | None:
        """What ended the journal, or None while it works."""
        return self._failure

    def submit(self, item: Commit, done: Done) -> None:
        """Write `item` with the next group; `done` gets its result on the loop.

        To be called on the loop's thread. Raises what is wrong with a malformed item
        (`InvalidInputError`, `PayloadTooLargeError`), `ConflictError` after `close`, and the first
        `StorageError` after a failure; then `done` is never called.
        """
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise ConflictError("The journal is closed; nothing can be written any more.")
        check_commit(item)
        if not self._busy and not self._scheduled:
            self._schedule()
        self._waiting.append((item, done))

    async def commit(self, item: Commit) -> Result:
        """Write `item` and return its result once it is on disk.

        Cancelling the caller does not take the item back. Raises as `submit`, and `StorageError`
        when the group could not be written.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def done(result: Result | StorageError) -> None:
            if future.cancelled():
                return
            if isinstance(result, StorageError):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.submit(item, done)
        return await future

    async def close(self) -> None:
        """Write all that waits, then stop. The store stays open. Repeatable."""
        self._closed = True
        while self._waiting or self._busy:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None

    def _schedule(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._scheduled = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Take what waits as one group and write it."""
        self._scheduled = False
        if not self._waiting:
            return
        group = self._waiting[:_LARGEST_GROUP]
        del self._waiting[:_LARGEST_GROUP]
        self._busy = True
        items = [item for item, _ in group]
        if self.mode == "split":
            self._stage_on_loop(group, items)
        elif self.mode == "thread":
            self._in_thread(group, lambda: self.store.commit(items))
        else:
            self._finish(group, _outcome(lambda: self.store.commit(items)))

    def _stage_on_loop(self, group: _Group, items: Sequence[Commit]) -> None:
        staged = _outcome(lambda: self.store.stage(items, patient=False))
        if isinstance(staged, StorageLockedError):
            self._in_thread(group, lambda: self.store.commit(items))
        elif isinstance(staged, BaseException):
            self._finish(group, staged)
        elif self._pace.is_quick():
            self._finish(group, _outcome(lambda: self._sync(staged)))
        else:
            self._in_thread(group, lambda: self._sync(staged))

    def _sync(self, results: list[Result]) -> list[Result]:
        with self._pace:
            self.store.sync()
        return results

    def _in_thread(self, group: _Group, work: _Work) -> None:
        if self._jobs is None:
            self._jobs = SimpleQueue()
            jobs = self._jobs
            spawn_thread(lambda: _serve(jobs), name="interlock-journal")
        self._jobs.put(lambda: self._report(group, _outcome(work)))

    def _report(self, group: _Group, outcome: _Outcome) -> None:
        """Hand an outcome from the thread to the loop; a closed loop has nobody left to answer."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._finish, group, outcome)

    def _finish(self, group: _Group, outcome: _Outcome) -> None:
        self._busy = False
        try:
            if isinstance(outcome, BaseException):
                self._fail(group, outcome)
            else:
                for (_, done), result in zip(group, outcome, strict=True):
                    # As `_tell`, without its call: this is done for every commit.
                    try:
                        done(result)
                    except Exception as error:  # noqa: BLE001 - told to the loop, as there
                        _report_untaken(error)
        finally:
            self._go_on()

    def _go_on(self) -> None:
        if self._waiting:
            if not self._scheduled:
                self._schedule()
        elif self._idle is not None:
            self._idle.set()
            self._idle = None

    def _fail(self, group: _Group, error: BaseException) -> None:
        """End the journal. What is no `Exception` is a simulated crash: nobody is answered."""
        failure = error if isinstance(error, StorageError) else _unexpected(error)
        self._failure = self._failure or failure
        unanswered = [*group, *self._waiting]
        self._waiting.clear()
        if isinstance(error, Exception):
            for _, done in unanswered:
                self._tell(done, self._failure)
        if not isinstance(error, StorageError):
            raise error

    def _tell(self, done: Done, result: Result | StorageError) -> None:
        """Answer one; a callback that raises must not keep the others from their answers."""
        try:
            done(result)
        except Exception as error:  # noqa: BLE001 - told to the loop; the others get theirs
            _report_untaken(error)


def _report_untaken(error: Exception) -> None:
    context = {"message": "an answer of the journal was not taken", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)


class _Pace:
    """Whether the disk is quick of late: one slow sync in a row of quick ones changes nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = 0.0
        self._slow = _SLOW_ENOUGH

    def is_quick(self) -> bool:
        return self._slow < _SLOW_ENOUGH

    def __enter__(self) -> None:
        self._began = self._clock.boot_seconds()

    def __exit__(self, *_: object) -> None:
        slow = self._clock.boot_seconds() - self._began > _QUICK_SECONDS
        self._slow = min(self._slow + 1, _SLOWEST) if slow else max(self._slow - 1, 0)


def _outcome(work: _Work) -> _Outcome:
    """What `work` returned or raised, to be judged on the loop."""
    try:
        return work()
    except BaseException as error:  # noqa: BLE001 - judged, answered or raised on the loop
        return error


def _unexpected(error: BaseException) -> StorageFailedError:
    failure = StorageFailedError(
        f"The journal stopped on an unexpected error: {error!r}. What was acknowledged is on disk. "
        "Remedy: start again, and report this error with its traceback."
    )
    failure.__cause__ = error
    return failure


def _serve(jobs: SimpleQueue[Callable[[], None] | None]) -> None:
    """Do jobs in order until there is None."""
    while (job := jobs.get()) is not None:
        job()
