"""The writer over a store: groups, order, answers, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import get_args

import pytest

from interlock.errors import (
    ConflictError,
    InvalidInputError,
    StorageError,
    StorageFailedError,
    StorageLockedError,
)
from interlock.journal import Journal
from interlock.journal.guard import Committed, Refused, Result, StreamAbsent
from interlock.journal.journal import Mode
from interlock.journal.store import Store
from tests.conformance.backend import Backend, OwnClock
from tests.conformance.commits import assert_sound, commit, event, queued, write

MODES: Sequence[Mode] = get_args(Mode)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    """Where the work happens."""
    return request.param


def test_every_producer_gets_its_own_answer(store: Store, mode: Mode) -> None:
    async def produce(journal: Journal, name: str) -> list[int]:
        seqs: list[int] = []
        for number in range(20):
            result = await journal.commit(commit(name, event("e", str(number)), after_seq=number))
            assert isinstance(result, Committed)
            seqs.append(result.places[0][1])
        return seqs

    async def main() -> None:
        journal = Journal(store, mode=mode)
        answers = await asyncio.gather(*(produce(journal, f"s{n}") for n in range(30)))
        assert answers == [list(range(1, 21))] * 30
        await journal.close()
        await journal.close()
        with pytest.raises(ConflictError):
            journal.submit(commit("a", event()), print)

    asyncio.run(main())
    assert len(store.scan(limit=9999)) == 600
    assert_sound(store)


def test_answers_come_in_the_order_of_submission(store: Store, mode: Mode) -> None:
    async def main() -> list[int]:
        journal, order = Journal(store, mode=mode), []
        finished = asyncio.get_running_loop().create_future()

        def done(number: int, result: Result | StorageError) -> None:
            assert isinstance(result, Committed)
            order.append(result.places[0][0])
            if len(order) == 1:
                journal.submit(commit("a", event()), lambda result: done(-1, result))
            if len(order) == 1201:
                finished.set_result(None)

        for number in range(1200):
            journal.submit(commit("a", event()), lambda result, n=number: done(n, result))
        await finished
        await journal.close()
        return order

    assert asyncio.run(main()) == list(range(1, 1202))


def test_an_answer_means_that_others_see_it(backend: Backend, mode: Mode) -> None:
    store, other = backend.open(), backend.open()

    async def main() -> None:
        journal = Journal(store, mode=mode)
        for number in range(5):
            await journal.commit(commit("a", event()))
            assert len(other.read("a")) == number + 1
        await journal.close()

    asyncio.run(main())


def test_a_refusal_is_an_answer_and_the_neighbours_get_theirs(store: Store, mode: Mode) -> None:
    async def main() -> list[Result]:
        journal = Journal(store, mode=mode)
        items = [queued("r1"), queued("r1"), commit("x", event(), guards=[StreamAbsent("x")])]
        results = await asyncio.gather(*map(journal.commit, items))
        await journal.close()
        return results

    first, second, third = asyncio.run(main())
    assert isinstance(second, Refused)
    assert isinstance(first, Committed)
    assert isinstance(third, Committed)


def test_a_malformed_commit_is_its_callers_error_alone(store: Store, mode: Mode) -> None:
    async def main() -> None:
        journal = Journal(store, mode=mode)
        good = asyncio.ensure_future(journal.commit(commit("a", event())))
        with pytest.raises(InvalidInputError):
            await journal.commit(commit("a", event("run_queued")))
        assert isinstance(await good, Committed)
        await journal.close()

    asyncio.run(main())
    assert [found.kind for found in store.scan()] == ["step_completed"]


def test_a_caller_that_gave_up_does_not_take_its_commit_back(store: Store, mode: Mode) -> None:
    async def main() -> None:
        journal = Journal(store, mode=mode)
        caller = asyncio.ensure_future(journal.commit(commit("a", event())))
        await asyncio.sleep(0)
        caller.cancel()
        await journal.close()
        assert caller.cancelled()

    asyncio.run(main())
    assert len(store.read("a")) == 1


def test_an_answer_that_is_not_taken_keeps_nobody_from_theirs(store: Store, mode: Mode) -> None:
    async def main() -> list[str]:
        loop, told = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
        journal = Journal(store, mode=mode)

        def bad(result: Result | StorageError) -> None:
            raise ValueError("not taken")

        journal.submit(commit("a", event()), bad)
        assert isinstance(await journal.commit(commit("b", event())), Committed)
        await journal.close()
        return told

    assert asyncio.run(main()) == ["not taken"]


def test_closing_writes_what_waits(store: Store, mode: Mode) -> None:
    async def main() -> None:
        journal = Journal(store, mode=mode)
        answers: list[Result | StorageError] = []
        for number in range(1100):
            journal.submit(commit(f"s{number}", event()), answers.append)
        await journal.close()
        assert len(answers) == 1100

    asyncio.run(main())
    assert len(store.scan(limit=9999)) == 1100


def test_everybody_who_closes_waits_for_what_waits(store: Store, mode: Mode) -> None:
    async def main() -> None:
        journal = Journal(store, mode=mode)
        answers: list[Result | StorageError] = []
        for number in range(1100):
            journal.submit(commit(f"s{number}", event()), answers.append)
        await asyncio.gather(journal.close(), journal.close(), journal.close())
        assert len(answers) == 1100

    asyncio.run(main())


class BrokenError(Exception):
    """What no store raises."""


class BrokenClock(OwnClock):
    """A clock that stops working."""

    def now_us(self) -> int:
        raise BrokenError("the clock is broken")


def test_an_unexpected_error_ends_the_journal_and_is_told_to_all(
    backend: Backend, mode: Mode
) -> None:
    backend.open().close()
    backend.clock = BrokenClock()
    store = backend.open()

    async def main() -> list[str]:
        loop, told = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: told.append(repr(context["exception"])))
        journal = Journal(store, mode=mode)
        answers = await asyncio.gather(
            *(journal.commit(commit(f"s{n}", event())) for n in range(3)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [StorageFailedError] * 3
        assert "the clock is broken" in str(answers[0])
        await journal.close()
        return told

    assert asyncio.run(main()) == ["BrokenError('the clock is broken')"]
    assert store.scan() == []


def test_without_a_running_loop_nothing_is_taken(store: Store, mode: Mode) -> None:
    journal = Journal(store, mode=mode)
    with pytest.raises(RuntimeError):
        journal.submit(commit("a", event()), print)
    assert isinstance(asyncio.run(_commit(journal)), Committed)
    assert len(store.scan()) == 1


async def _commit(journal: Journal) -> Result:
    result = await journal.commit(commit("b", event()))
    await journal.close()
    return result


def test_a_storage_error_is_everybodys_answer_and_the_last(backend: Backend, mode: Mode) -> None:
    holder, store = backend.open(), backend.open(lock_wait=timedelta(milliseconds=20))
    holder.stage([commit("held", event())])

    async def main() -> None:
        journal = Journal(store, mode=mode)
        answers = await asyncio.gather(
            *(journal.commit(commit(f"s{n}", event())) for n in range(3)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [StorageLockedError] * 3
        assert journal.failure is answers[0]
        with pytest.raises(StorageLockedError):
            journal.submit(commit("late", event()), print)
        with pytest.raises(StorageLockedError):
            await journal.commit(commit("late", event()))
        await journal.close()

    asyncio.run(main())
    holder.sync()
    assert [found.stream for found in holder.scan()] == ["held"]
    write(store, commit("after", event()))
    assert_sound(store)


@pytest.mark.parametrize("threaded", ["split", "thread"])
def test_the_loop_goes_on_while_another_process_holds_the_lock(
    backend: Backend, threaded: Mode
) -> None:
    holder, store = backend.open(), backend.open()
    holder.stage([commit("held", event())])

    async def main() -> None:
        journal = Journal(store, mode=threaded)
        waiting = asyncio.ensure_future(journal.commit(commit("a", event())))
        turns = 0
        while turns < 100:
            await asyncio.sleep(0)
            turns += 1
        assert not waiting.done()
        holder.sync()
        assert isinstance(await waiting, Committed)
        await journal.close()

    asyncio.run(main())
    assert [found.stream for found in store.scan()] == ["held", "a"]
