"""Virtual time: it jumps, it is exact, and the outside outlives the process."""

from __future__ import annotations

import asyncio

import pytest

from interlock.testing.virtual_clock import (
    NothingLeftError,
    SimulatedDeath,
    Surroundings,
    VirtualClock,
    VirtualLoop,
    VirtualThreads,
)


def made(seed: str = "1") -> tuple[VirtualClock, Surroundings, VirtualLoop]:
    """A clock, what is around, and a loop on them."""
    clock = VirtualClock(seed)
    surroundings = Surroundings(clock)
    return clock, surroundings, VirtualLoop(clock, surroundings)


def test_a_year_passes_at_once_and_to_the_microsecond() -> None:
    clock, _, loop = made()
    began_us = clock.now_us()
    loop.run_until_complete(asyncio.sleep(365 * 86_400))
    assert 0 <= clock.now_us() - began_us - 365 * 86_400_000_000 <= 1
    loop.bury()


def test_a_timer_is_never_early() -> None:
    clock, _, loop = made()

    async def measure() -> None:
        for microseconds in (1, 3, 999, 1001):
            began_us = clock.now_us()
            await asyncio.sleep(microseconds / 1e6)
            assert clock.now_us() - began_us >= microseconds

    loop.run_until_complete(measure())
    loop.bury()


def test_what_is_outside_happens_in_its_place_between_the_timers() -> None:
    _, surroundings, loop = made()
    happened: list[str] = []
    surroundings.after(2_000_000, lambda: happened.append("outside"))

    async def inside() -> None:
        for second in range(3):
            await asyncio.sleep(1.5)
            happened.append(f"inside {second}")

    loop.run_until_complete(inside())
    loop.bury()
    assert happened == ["inside 0", "outside", "inside 1", "inside 2"]


def test_what_is_outside_outlives_the_process() -> None:
    clock, surroundings, loop = made()
    happened: list[int] = []

    def die() -> None:
        raise SimulatedDeath

    surroundings.after(1_000_000, die)
    surroundings.after(3_000_000, lambda: happened.append(clock.now_us()))
    began_us = clock.now_us()
    with pytest.raises(SimulatedDeath):
        loop.run_until_complete(asyncio.sleep(10))
    loop.bury()
    assert happened == []
    surroundings.pass_time(5_000_000)
    assert happened == [began_us + 3_000_000]
    assert clock.now_us() == began_us + 6_000_000


def test_a_death_in_a_callback_stops_the_loop_before_the_next_one() -> None:
    _, _, loop = made()
    called: list[str] = []

    def die() -> None:
        raise SimulatedDeath

    async def live() -> None:
        asyncio.get_running_loop().call_soon(die)
        asyncio.get_running_loop().call_soon(called.append, "after death")
        await asyncio.sleep(1)

    with pytest.raises(SimulatedDeath):
        loop.run_until_complete(live())
    loop.bury()
    assert called == []


def test_a_wait_without_an_end_is_seen() -> None:
    _, _, loop = made()

    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(NothingLeftError, match="never comes"):
        loop.run_until_complete(wait())
    loop.bury()


def test_a_loop_that_never_waits_is_seen() -> None:
    _, _, loop = made()

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(NothingLeftError, match="no time passes"):
        loop.run_until_complete(spin())
    loop.bury()


def test_the_seed_determines_the_random_bytes() -> None:
    assert VirtualClock("a").random_bytes(8) == VirtualClock("a").random_bytes(8)
    assert VirtualClock("a").random_bytes(8) != VirtualClock("b").random_bytes(8)


def test_a_thread_answers_after_its_time_and_its_effect_cannot_be_taken_back() -> None:
    clock, _, loop = made()
    done: list[str] = []

    async def live() -> None:
        threads = VirtualThreads(lambda: 50_000)
        began_us = clock.now_us()
        answer = threads.run(asyncio.get_running_loop(), lambda: done.append("effect"))
        answer.cancel()
        assert done == ["effect"]
        failing = threads.run(asyncio.get_running_loop(), lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await failing
        assert clock.now_us() - began_us >= 50_000

    loop.run_until_complete(live())
    loop.bury()
