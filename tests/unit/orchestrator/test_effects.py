"""Effects: made once, or a person knows. All recoveries, in all ways in which a call can end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock import (
    CANNOT_TELL,
    NOT_HAPPENED,
    App,
    CannotTell,
    EffectFailedError,
    EffectKey,
    Happened,
    LocalExecutor,
    NotMadeError,
    Run,
    RunFailedError,
)
from interlock.errors import ConflictError, InvalidInputError, StorageLockedError
from interlock.tools.effects import Recovery
from interlock.tools.tool import Tool
from tests.support.local import (
    FixedLease,
    MovableClock,
    app_in,
    crashing,
    effect_of,
    entries_of,
    executing,
    kinds,
    open_task,
    state_of,
    until,
    until_state,
)

RECOVERIES: tuple[Recovery, ...] = ("key", "lookup", "repeatable", "never")
MILLISECOND = timedelta(milliseconds=1)


class DeclinedError(Exception):
    """What the tools here declare as certainly not made."""


@dataclass
class Ledger:
    """Another system: it books what reaches it, and honours keys when it is asked to."""

    by_key: bool = False
    bookings: list[tuple[str, int]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def book(self, key: str, amount: int) -> str:
        self.keys.append(key)
        if not (self.by_key and any(k == key for k, _ in self.bookings)):
            self.bookings.append((key, amount))
        return f"booked {amount}"

    def find(self, key: str) -> Any:
        for booked, amount in self.bookings:
            if booked == key:
                return Happened(f"booked {amount}")
        return NOT_HAPPENED


@dataclass
class Bank:
    """A tool on a ledger whose behaviour at each call is the test's."""

    recovery: Recovery
    behaviour: Callable[[Ledger, str, int, int], Any]
    ledger: Ledger = field(default_factory=Ledger)
    calls: int = 0
    lookups: int = 0
    lookup_answer: Callable[[Ledger, str], Any] | None = None

    def declare(self, app: App, **options: Any) -> Tool[..., str]:
        self.ledger.by_key = self.recovery in ("key", "repeatable")

        async def pay(amount: int, *, key: EffectKey) -> str:
            self.calls += 1
            result = self.behaviour(self.ledger, key, amount, self.calls)
            return await result if asyncio.iscoroutine(result) else result

        async def find(amount: int, *, key: EffectKey) -> Any:
            self.lookups += 1
            if self.lookup_answer is not None:
                return self.lookup_answer(self.ledger, key)
            return self.ledger.find(key)

        how: dict[str, Any] = {
            "not_made": (DeclinedError,),
            "pause": MILLISECOND,
            "timeout": timedelta(seconds=20),
        }
        return app.tool(
            "pay",
            effect="write",
            recovery=self.recovery,
            lookup=find if self.recovery == "lookup" else None,
            **{**how, **options},
        )(pay)


def agent(app: App, tool: Tool[..., str]) -> None:
    @app.agent("payer")
    async def payer(run: Run, amount: int) -> str:
        try:
            return await run.call(tool, amount)
        except EffectFailedError as error:
            return f"not made: {error.message}"


async def settled(local: LocalExecutor, run: str, recovery: str) -> str:
    """The run's result; a person says that it happened where the recovery asks one."""
    if recovery == "never":
        task = await open_task(local, run)
        assert (await effect_of(local, run)).state == "unknown"
        await local.client.decide(task.id, "happened", value="booked 5", by="ann")
    row = await until_state(local, run, "completed", "failed", "parked")
    return local.result_of(row, local.app.agents["payer"])


def books(ledger: Ledger, key: str, amount: int, call: int) -> str:
    return ledger.book(key, amount)


@pytest.mark.parametrize("recovery", RECOVERIES)
def test_a_call_that_succeeds_is_made_once(tmp_path: Path, recovery: Recovery) -> None:
    app, bank = app_in(tmp_path), Bank(recovery, books)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            assert await handle.result() == "booked 5"
            (effect,) = local.store.effects(run=handle.id)
            assert (effect.state, effect.recovery, effect.attempts) == ("completed", recovery, 1)
            assert bank.ledger.bookings == [(effect.effect_key, 5)]
            order = [k for k in kinds(local, handle.id) if k.startswith("effect_")]
            assert order == ["effect_intended", "effect_completed"]

    asyncio.run(main())


@pytest.mark.parametrize("recovery", RECOVERIES)
def test_a_crash_before_the_call_leaves(tmp_path: Path, recovery: Recovery) -> None:
    """The intent is on disk and the process is gone: the next one cannot know that nothing left."""
    app, bank, lease = app_in(tmp_path), Bank(recovery, books), FixedLease(0)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with app.client() as client:
            started = (await client.start("payer", 5)).run
        with pytest.raises(  # noqa: PT012 - it comes at the block's end
            StorageLockedError, match=r"right to execute.*is lost"
        ):
            async with crashing(app, lease=lease) as local:
                await until(lambda: local.executor.failure)
                assert kinds(local, started)[-1] == "effect_intended"
        assert bank.calls == 0
        async with executing(app) as local:
            if recovery == "never":
                task = await open_task(local, started)
                await local.client.decide(task.id, "not_happened")
            row = await until_state(local, started, "completed", seconds=10)
            assert local.result_of(row, app.agents["payer"]) == "booked 5"
            assert (bank.calls, len(bank.ledger.bookings)) == (1, 1)

    asyncio.run(main())


@pytest.mark.parametrize("recovery", RECOVERIES)
def test_a_crash_after_the_call_and_before_its_outcome(tmp_path: Path, recovery: Recovery) -> None:
    app = app_in(tmp_path)
    gone = asyncio.Event()

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        async def booked_and_lost() -> str:
            ledger.book(key, amount)
            gone.set()
            await asyncio.Event().wait()
            return "never"

        return booked_and_lost() if call == 1 else ledger.book(key, amount)

    bank = Bank(recovery, behaviour)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("payer", 5)
            await gone.wait()
        async with executing(app) as local:
            assert await settled(local, handle.id, recovery) == "booked 5"
            assert "effect_unknown" in kinds(local, handle.id)
            assert len(bank.ledger.bookings) == 1
            assert len(set(bank.ledger.keys)) == 1, "the effect key is the same at every attempt"
            assert bank.calls == (2 if recovery in ("key", "repeatable") else 1)
            assert bank.lookups == (1 if recovery == "lookup" else 0)

    asyncio.run(main())


@pytest.mark.parametrize("recovery", RECOVERIES)
@pytest.mark.parametrize("booked", [True, False])
@pytest.mark.parametrize("how", ["timeout", "error"])
def test_a_call_whose_answer_is_lost(
    tmp_path: Path, recovery: Recovery, booked: bool, how: str
) -> None:
    """A timeout, or an error that the tool does not declare: the outcome is unknown."""
    app = app_in(tmp_path)

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        if call > 1:
            return ledger.book(key, amount)
        if booked:
            ledger.book(key, amount)
        if how == "timeout":
            return asyncio.sleep(3600)
        raise ConnectionError("reset by peer")

    bank = Bank(recovery, behaviour)
    limit = 30 * MILLISECOND if how == "timeout" else timedelta(seconds=20)
    agent(app, bank.declare(app, timeout=limit))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            if recovery == "never" and not booked:
                task = await open_task(local, handle.id)
                await local.client.decide(task.id, "not_happened", by="ann")
                assert await handle.result() == "booked 5"
            else:
                assert await settled(local, handle.id, recovery) == "booked 5"
            (unknown,) = entries_of(local, handle.id, "effect_unknown")
            expected = "TimeoutError" if how == "timeout" else "ConnectionError"
            assert unknown.event.header["reason"] == expected
            assert len(bank.ledger.bookings) == 1

    asyncio.run(main())


@pytest.mark.parametrize("recovery", RECOVERIES)
@pytest.mark.parametrize("error", [DeclinedError, NotMadeError])
def test_a_call_that_was_certainly_not_made_is_made_again(
    tmp_path: Path, recovery: Recovery, error: type[Exception]
) -> None:
    app = app_in(tmp_path)

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        if call < 3:
            raise error("no funds")
        return ledger.book(key, amount)

    bank = Bank(recovery, behaviour)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            assert await handle.result() == "booked 5"
            assert "effect_unknown" not in kinds(local, handle.id)
            assert (bank.calls, bank.lookups, len(bank.ledger.bookings)) == (3, 0, 1)

    asyncio.run(main())


@pytest.mark.parametrize("recovery", RECOVERIES)
def test_a_call_that_is_never_made_fails(tmp_path: Path, recovery: Recovery) -> None:
    app = app_in(tmp_path)

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        raise DeclinedError("no funds")

    bank = Bank(recovery, behaviour)
    agent(app, bank.declare(app, attempts=2))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            result = await handle.result()
            assert "not made" in result
            assert "DeclinedError: no funds" in result
            assert (await effect_of(local, handle.id)).state == "failed"
            assert bank.calls == 2

    asyncio.run(main())


class ForbiddenError(Exception):
    """What the tools here declare as refused: not made, and never will be."""


def refusal(how: str) -> Exception:
    """The two ways in which a tool says so."""
    text = "no such account"
    return ForbiddenError(text) if how == "declared" else NotMadeError(text, retry=False)


@pytest.mark.parametrize("recovery", RECOVERIES)
@pytest.mark.parametrize("how", ["declared", "retry=False"])
def test_a_call_that_is_refused_for_good_fails_at_once(
    tmp_path: Path, recovery: Recovery, how: str
) -> None:
    app = app_in(tmp_path)

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        raise refusal(how)

    bank = Bank(recovery, behaviour)
    agent(app, bank.declare(app, refused=(ForbiddenError,), attempts=5))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            assert "no such account" in await handle.result()
            order = [k for k in kinds(local, handle.id) if k.startswith("effect_")]
            assert order == ["effect_intended", "effect_failed"]
            assert (await effect_of(local, handle.id)).state == "failed"
            assert (bank.calls, bank.lookups) == (1, 0)

    asyncio.run(main())


@pytest.mark.parametrize("recovery", RECOVERIES)
def test_a_refusal_says_nothing_of_an_earlier_call(tmp_path: Path, recovery: Recovery) -> None:
    """The first call may have been made: only a lookup or a person ends that."""
    app = app_in(tmp_path)

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        if call == 1:
            raise ConnectionError("the answer was lost")
        raise NotMadeError("no such account", retry=False)

    bank = Bank(recovery, behaviour)
    agent(app, bank.declare(app, attempts=5))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            if recovery != "lookup":
                task = await open_task(local, handle.id)
                assert (await effect_of(local, handle.id)).state == "unknown"
                assert bank.calls == (1 if recovery == "never" else 2)
                await local.client.decide(task.id, "not_happened", by="ann")
            assert "no such account" in await handle.result()
            assert (await effect_of(local, handle.id)).state == "failed"
            assert bank.calls == (3 if recovery in ("key", "repeatable") else 2)

    asyncio.run(main())


def test_a_read_that_is_refused_is_not_repeated(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    calls: list[int] = []

    @app.tool(effect="read", refused=(ForbiddenError,), pause=MILLISECOND)
    async def balance(account: str) -> int:
        calls.append(1)
        raise ForbiddenError(account)

    @app.agent("a")
    async def a(run: Run) -> int:
        return await run.call(balance, "a")

    async def main() -> None:
        async with executing(app) as local:
            with pytest.raises(RunFailedError, match="ForbiddenError"):
                await (await local.start("a")).result()

    asyncio.run(main())
    assert len(calls) == 1


@pytest.mark.parametrize("recovery", RECOVERIES)
@pytest.mark.parametrize("late", ["result", "declined", "refused", "error"])
def test_a_thread_that_outlives_its_timeout(tmp_path: Path, recovery: Recovery, late: str) -> None:
    """Nothing is recovered while the first call may still act; then what it says counts."""
    app, ledger = app_in(tmp_path), Ledger(by_key=recovery in ("key", "repeatable"))
    free = threading.Event()
    calls: list[str] = []

    def pay(amount: int, *, key: EffectKey) -> str:
        calls.append(key)
        if len(calls) == 1:
            free.wait(60)
            if late == "declined":
                raise DeclinedError
            if late == "refused":
                raise refusal("retry=False")
            result = ledger.book(key, amount)
            if late == "error":
                raise ConnectionError
            return result
        return ledger.book(key, amount)

    def find(amount: int, *, key: EffectKey) -> Any:
        return ledger.find(key)

    tool = app.tool(
        "pay",
        effect="write",
        recovery=recovery,
        lookup=find if recovery == "lookup" else None,
        timeout=20 * MILLISECOND,
        not_made=(DeclinedError,),
        pause=MILLISECOND,
    )(pay)
    agent(app, tool)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            await effect_of(local, handle.id, "unknown")
            # Another run from start to end: time enough for a recovery that should not be.
            assert len(calls) == 1
            assert local.store.inbox() == []
            assert state_of(local, handle.id).state == "running", "the thread holds it in memory"
            free.set()
            if late == "error" and recovery == "never":
                assert await settled(local, handle.id, recovery) == "booked 5"
            elif late == "refused":
                assert "no such account" in await handle.result()
            else:
                await until_state(local, handle.id, "completed")
                assert await handle.result() == "booked 5"
            assert len(ledger.bookings) == (0 if late == "refused" else 1)
            assert len(set(calls)) == 1

    asyncio.run(main())


@pytest.mark.parametrize("recovery", RECOVERIES)
def test_a_call_that_is_cancelled_in_flight_is_followed_to_its_end(
    tmp_path: Path, recovery: Recovery
) -> None:
    app = app_in(tmp_path)
    began, free = asyncio.Event(), asyncio.Event()

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        async def slowly() -> str:
            began.set()
            await free.wait()
            return ledger.book(key, amount)

        return slowly()

    bank = Bank(recovery, behaviour)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            await began.wait()
            await local.client.cancel(handle.id)
            await until(lambda: "operation_cancelled" in kinds(local, handle.id))
            assert state_of(local, handle.id).state == "running"
            free.set()
            await until_state(local, handle.id, "cancelled")
            assert (await effect_of(local, handle.id)).state == "completed"
            assert len(bank.ledger.bookings) == 1

    asyncio.run(main())


@pytest.mark.parametrize("recovery", RECOVERIES)
def test_a_call_that_is_cancelled_while_unknown_is_never_said_to_be_not_made(
    tmp_path: Path, recovery: Recovery
) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        result = ledger.book(key, amount)
        if call == 1:
            raise ConnectionError("the answer was lost")
        return result

    bank = Bank(recovery, behaviour)
    agent(app, bank.declare(app, settle=timedelta(hours=1)))

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("payer", 5)
            await effect_of(local, handle.id, "unknown")
            await until_state(local, handle.id, "waiting")
            await local.client.cancel(handle.id)
            await until(lambda: "operation_cancelled" in kinds(local, handle.id))
            clock.move(timedelta(hours=2))
            if recovery == "never":
                task = await open_task(local, handle.id)
                await local.client.decide(task.id, "happened", value="booked 5")
            await until_state(local, handle.id, "cancelled")
            assert (await effect_of(local, handle.id)).state == "completed"
            assert len(bank.ledger.bookings) == 1

    asyncio.run(main())


@pytest.mark.parametrize("recovery", ["key", "lookup", "repeatable"])
def test_nothing_is_recovered_before_the_settling_time(tmp_path: Path, recovery: Recovery) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        if call == 1:
            raise ConnectionError
        return ledger.book(key, amount)

    bank = Bank(recovery, behaviour)
    agent(app, bank.declare(app, settle=timedelta(minutes=10)))

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("payer", 5)
            row = await until_state(local, handle.id, "waiting")
            assert "outcome of effect" in row.waits[0]["what"]
            assert row.wake_at_us is not None
            assert 590e6 < row.wake_at_us - row.updated_at_us <= 600e6
            clock.move(timedelta(minutes=9))
            await (await local.start("idle")).result()
            assert (bank.calls, bank.lookups) == (1, 0)
            clock.move(timedelta(minutes=1))
            await until_state(local, handle.id, "completed")
            assert len(bank.ledger.bookings) == 1

    @app.agent("idle")
    async def idle(run: Run) -> None:
        await run.sleep(timedelta(0))

    asyncio.run(main())


def test_a_lookup_that_cannot_tell_goes_to_a_person(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        raise ConnectionError

    bank = Bank("lookup", behaviour, lookup_answer=lambda _l, _k: CannotTell("it is down"))
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("payer", 5)

            def asked() -> bool:
                clock.move(timedelta(minutes=1))
                return bool(local.store.inbox())

            await until(asked, "a person is asked")
            task = await open_task(local, handle.id)
            question = local.client.question(task)
            assert question["arguments"] == {"amount": 5}
            assert question["tool"] == "pay"
            assert bank.calls == 1
            await local.client.decide(task.id, "given_up", by="ann")
            assert "gave up" in await handle.result()

    asyncio.run(main())


def test_a_lookup_that_fails_cannot_tell(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    clock = MovableClock()
    answers: list[Any] = [ConnectionError("down"), CANNOT_TELL, "nonsense", None]

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        ledger.book(key, amount)
        raise ConnectionError

    def answer(ledger: Ledger, key: str) -> Any:
        if not answers:
            return ledger.find(key)
        given = answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    bank = Bank("lookup", behaviour, lookup_answer=answer)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app, clock=clock) as local:
            handle = await local.start("payer", 5)

            def ended() -> bool:
                clock.move(timedelta(minutes=1))
                return state_of(local, handle.id).state == "completed"

            await until(ended)
            assert await handle.result() == "booked 5"
            told = entries_of(local, handle.id, "effect_looked_up")
            assert [e.event.header["verdict"] for e in told] == ["cannot_tell"] * 4

    asyncio.run(main())


def loses(ledger: Ledger, key: str, amount: int, call: int) -> Any:
    """The first call is lost; later ones are booked."""
    if call == 1:
        raise ConnectionError("reset")
    return ledger.book(key, amount)


@pytest.mark.parametrize("door", ["decide", "resolve"])
@pytest.mark.parametrize("verdict", ["happened", "not_happened", "given_up"])
def test_a_person_says_what_became_of_it(tmp_path: Path, door: str, verdict: str) -> None:
    app = app_in(tmp_path)
    bank = Bank("never", loses)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            task = await open_task(local, handle.id)
            effect = await effect_of(local, handle.id, "unknown")
            row = await until_state(local, handle.id, "waiting")
            assert effect.effect_key in row.waits[0]["who"]
            value = "as said" if verdict == "happened" else None
            if door == "decide":
                await local.client.decide(task.id, verdict, value=value, by="ann")
            else:
                await local.client.resolve(effect.effect_key, verdict, result=value, by="ann")
            result = await handle.result()
            (resolved,) = entries_of(local, handle.id, "effect_resolved")
            assert resolved.event.header["by"] == "ann"
            assert local.store.inbox() == []
            state = (await effect_of(local, handle.id)).state
            match verdict:
                case "happened":
                    assert (result, state, bank.calls) == ("as said", "completed", 1)
                case "not_happened":
                    assert (result, state, bank.calls) == ("booked 5", "completed", 2)
                case _:
                    assert "gave up" in result
                    assert (state, bank.calls) == ("failed", 1)
            with pytest.raises(ConflictError):
                await local.client.resolve(effect.effect_key, "happened", result="x")

    asyncio.run(main())


@pytest.mark.parametrize("door", ["decide", "resolve"])
def test_a_result_that_the_call_could_not_have_returned_is_not_taken(
    tmp_path: Path, door: str
) -> None:
    """It is still unknown, and a person still sees it in the inbox."""
    app = app_in(tmp_path)
    bank = Bank("never", loses)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            task = await open_task(local, handle.id)
            effect = await effect_of(local, handle.id, "unknown")
            if door == "decide":
                with pytest.raises(InvalidInputError, match="result"):
                    await _decide_or_read(local, handle.id, task.id)
            else:
                await local.client.resolve(effect.effect_key, "happened", result={"no": 1})
                await until(lambda: "resolution_refused" in kinds(local, handle.id))
            assert (await effect_of(local, handle.id)).state == "unknown"
            again = await open_task(local, handle.id)
            await local.client.decide(again.id, "happened", value="booked 5")
            assert await handle.result() == "booked 5"

    asyncio.run(main())


async def _decide_or_read(local: LocalExecutor, run: str, task: str) -> None:
    """A refusal is told to the person at once, or stands in the run's journal."""
    await local.client.decide(task, "happened", value={"no": 1})
    (refused,) = await until(lambda: entries_of(local, run, "resolution_refused"))
    raise InvalidInputError((refused.body or b"").decode())


def test_wrong_verdicts_are_refused(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    bank = Bank("never", loses)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            task = await open_task(local, handle.id)
            effect = await effect_of(local, handle.id, "unknown")
            with pytest.raises(InvalidInputError, match=r"'perhaps'.*happened, not_happened"):
                await local.client.resolve(effect.effect_key, "perhaps")
            with pytest.raises(InvalidInputError, match="'perhaps' is not offered"):
                await local.client.decide(task.id, "perhaps")
            assert local.store.inbox()[0].id == task.id

    asyncio.run(main())


def test_resolving_works_while_no_executor_runs(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    bank = Bank("never", loses)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            effect = await effect_of(local, handle.id, "unknown")
            await until_state(local, handle.id, "waiting")
        async with app.client() as client:
            await client.resolve(effect.effect_key, "happened", result="booked 5", by="ann")
        async with executing(app) as local:
            row = await until_state(local, handle.id, "completed")
            assert local.result_of(row, app.agents["payer"]) == "booked 5"
            assert bank.calls == 1

    asyncio.run(main())


def test_resolving_closes_the_inbox_task_at_the_door(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    bank = Bank("never", loses)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            effect = await effect_of(local, handle.id, "unknown")
            task = await open_task(local, handle.id)
            await until_state(local, handle.id, "waiting")
        async with app.client() as client:
            for _ in range(2):  # The same word twice is one word.
                await client.resolve(
                    effect.effect_key, "happened", result="booked 5", by="ann", message_id="m"
                )
            answered = client.inbox_task(task.id)
            assert (answered.state, answered.decided_by) == ("decided", "ann")
            with pytest.raises(ConflictError, match="decided by ann"):
                await client.decide(task.id, "not_happened", by="bob")
        async with executing(app) as local:
            row = await until_state(local, handle.id, "completed")
            assert local.result_of(row, app.agents["payer"]) == "booked 5"
            assert bank.calls == 1

    asyncio.run(main())


def test_a_resolution_that_does_not_fit_has_the_person_asked_again(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    bank = Bank("never", loses)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            effect = await effect_of(local, handle.id, "unknown")
            first = await open_task(local, handle.id)
            await local.client.resolve(effect.effect_key, "happened", result={"no": 1}, by="ann")

            def asked_again() -> bool:
                return [task.id for task in local.store.inbox()] not in ([], [first.id])

            await until(asked_again)
            await local.client.resolve(effect.effect_key, "happened", result="booked 5", by="ann")
            assert await handle.result() == "booked 5"
            assert local.store.inbox() == []

    asyncio.run(main())


def test_an_unknown_effect_of_a_run_that_was_parked_and_cancelled_can_be_resolved(
    tmp_path: Path,
) -> None:
    app = app_in(tmp_path)
    bank = Bank("never", loses)
    tool = bank.declare(app)

    @app.agent("payer")
    async def payer(run: Run) -> None:
        async def poll() -> None:
            await run.wait("go")
            while True:
                await asyncio.sleep(0)

        await asyncio.gather(run.call(tool, 5), poll())

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer")
            effect = await effect_of(local, handle.id, "unknown")
            await open_task(local, handle.id)
            await local.client.signal(handle.id, "go")
            await until_state(local, handle.id, "parked")
            assert local.store.inbox(), "parking does not hide what a person has to answer"
            await local.client.cancel(handle.id)
            await until_state(local, handle.id, "cancelled")
            await local.client.resolve(effect.effect_key, "happened", result="booked 5", by="ann")
            await until(lambda: local.client.effect(effect.effect_key).state == "completed")

    asyncio.run(main())


def test_effect_keys_are_never_equal_across_operations_and_generations(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    bank = Bank("key", books)
    tool = bank.declare(app)

    @app.agent("payer")
    async def payer(run: Run, turn: int) -> None:
        await run.call(tool, 5)
        await run.call(tool, 5)
        await asyncio.gather(run.call(tool, 5), run.call(tool, 5))
        if turn < 2:
            await run.continue_as_new(turn + 1)

    async def main() -> None:
        async with executing(app) as local:
            for _ in range(2):
                handle = await local.start("payer", 0)
                await handle.result()
            keys = [key for key, _ in bank.ledger.bookings]
            assert len(keys) == len(set(keys)) == 2 * 3 * 4

    asyncio.run(main())


def test_a_call_takes_no_longer_than_the_lease(tmp_path: Path) -> None:
    app, lease = app_in(tmp_path), FixedLease(0.05)

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        lease.seconds = 3600
        return asyncio.sleep(3600) if call == 1 else ledger.book(key, amount)

    bank = Bank("key", behaviour)
    agent(app, bank.declare(app, timeout=timedelta(hours=1)))

    async def main() -> None:
        async with executing(app, lease=lease) as local:
            assert await (await local.start("payer", 5)).result() == "booked 5"
            assert bank.calls == 2

    asyncio.run(main())


def test_wrong_arguments_are_refused_before_anything_happens(tmp_path: Path) -> None:
    app, bank = app_in(tmp_path), Bank("key", books)
    tool = bank.declare(app)

    @app.agent("payer")
    async def payer(run: Run) -> list[str]:
        told: list[str] = []
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
            (("many",), {}),
            ((), {}),
            ((1,), {"amount": 2}),
            ((1, 2), {}),
            ((1,), {"memo": "x"}),
            ((1,), {"key": "mine"}),
        ]
        for positional, named in calls:
            try:
                await run.call(tool, *positional, **named)
            except InvalidInputError as error:
                told.append(error.message)
        return told

    async def main() -> None:
        async with executing(app) as local:
            told = await (await local.start("payer")).result()
            assert len(told) == 6
            assert all("'pay'" in message for message in told)
            assert "amount" in told[0]
            assert local.store.effects() == []
            assert bank.calls == 0

    asyncio.run(main())


def test_a_read_may_be_repeated_and_leaves_no_effect(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    calls: list[int] = []

    @app.tool(effect="read", pause=MILLISECOND)
    async def balance(account: str) -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError
        return 12

    @app.agent("a")
    async def a(run: Run) -> int:
        value = await run.call(balance, "a")
        await run.wait("go")
        return value

    async def main() -> None:
        async with crashing(app) as local:
            handle = await local.start("a")
            await until_state(local, handle.id, "waiting")
            assert local.store.effects() == []
        async with executing(app) as local:
            await local.client.signal(handle.id, "go")
            row = await until_state(local, handle.id, "completed")
            assert local.result_of(row, app.agents["a"]) == 12
            assert len(calls) == 3

    asyncio.run(main())


def test_an_effect_that_the_code_does_not_wait_for_ends_before_the_run(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    free, began = asyncio.Event(), asyncio.Event()

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        async def slowly() -> str:
            began.set()
            await free.wait()
            return ledger.book(key, amount)

        return slowly()

    bank = Bank("key", behaviour)
    tool = bank.declare(app)

    @app.agent("payer")
    async def payer(run: Run) -> str:
        task = asyncio.create_task(run.call(tool, 5))
        await run.sleep(MILLISECOND)
        return "done" if task.done() else "left it"

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer")
            await began.wait()
            await until(lambda: "timer_fired" in kinds(local, handle.id))
            assert state_of(local, handle.id).state == "running"
            free.set()
            assert await handle.result() == "left it"
            assert (await effect_of(local, handle.id)).state == "completed"

    asyncio.run(main())


def test_a_result_that_cannot_be_recorded_leaves_the_effect_unknown(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        ledger.book(key, amount)
        return "x" * 1_000_001

    bank = Bank("never", behaviour)
    agent(app, bank.declare(app))

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", 5)
            await open_task(local, handle.id)
            (unknown,) = entries_of(local, handle.id, "effect_unknown")
            assert unknown.event.header["reason"] == "PayloadTooLargeError"
            assert b"'/pay#1' of tool 'pay'" in (unknown.body or b"")
            assert b"1,000,000" in (unknown.body or b"")

    asyncio.run(main())


def test_an_effect_fails_the_run_that_does_not_handle_it(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    def behaviour(ledger: Ledger, key: str, amount: int, call: int) -> Any:
        raise DeclinedError("no funds")

    tool = Bank("key", behaviour).declare(app, attempts=1)

    @app.agent("payer")
    async def payer(run: Run) -> str:
        return await run.call(tool, 5)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("payer")
            with pytest.raises(RunFailedError, match="DeclinedError: no funds"):
                await handle.result()
            assert state_of(local, handle.id).reason == "effect_failed"

    asyncio.run(main())
