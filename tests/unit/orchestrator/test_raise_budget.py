"""Raising a budget: it counts once for each message, and who waits for it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from interlock.clock import SystemClock
from interlock.errors import IdempotencyConflictError, InvalidInputError, NotFoundError
from interlock.journal import Journal, open_store
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit, Committed
from interlock.journal.rows import BudgetRow
from interlock.journal.store import Store
from interlock.limits.budget import Account, opening, raising
from interlock.orchestrator.client import Client

DAY = "agent/triage/2026-11-25/usd"
OTHER = "tenant/acme/2026-11-25/tokens"


def on_a_store(folder: Path, play: Callable[[Client, Store], Awaitable[None]]) -> None:
    """Play on a store with two accounts."""
    store = open_store(f"sqlite:///{folder / 'journal.db'}", synchronous="OFF")
    try:
        store.commit(opening([Account(DAY, "usd", 100), Account(OTHER, "tokens", 7)]))

        async def main() -> None:
            journal = Journal(store, mode="inline")
            await play(Client(journal, SystemClock(), {}, ""), store)
            await journal.close()

        asyncio.run(main())
    finally:
        store.close()


def write(store: Store, stream: str, *drafts: Draft, epoch: int = 0, claim: bool = False) -> None:
    (result,) = store.commit([Commit((Append(stream, drafts, epoch, claim),))])
    assert isinstance(result, Committed), result


def waiting(store: Store, run: str, account: str, kind: str = "budget") -> None:
    """A run that waits for a person to raise an account."""
    question = json.dumps({"question": "Raise it?", "account": account}).encode()
    opened = Draft("task_opened", "/ask#1", {"task": f"task-{run}", "kind": kind}, question)
    suspended = Draft("run_suspended", header={"wake_at_us": None})
    write(store, run, Draft("run_queued", header={"agent": "triage"}))
    claimed = Draft("run_claimed", header={"worker": "w", "claim": 1})
    write(store, run, claimed, opened, suspended, claim=True)


def limit(store: Store, account: str = DAY) -> int:
    row = store.budget(account)
    assert row is not None
    return row.limit


def test_raises_of_two_people_add_up_and_a_repeat_does_not(tmp_path: Path) -> None:
    async def play(client: Client, store: Store) -> None:
        raised = await client.raise_budget(DAY, 50, by="ada", message_id="m1")
        assert raised == (BudgetRow(DAY, limit=150, held=0, spent=0), "m1", ())
        await client.raise_budget(DAY, 50, by="bob")
        await client.raise_budget(DAY, 50, by="ada", message_id="m1")
        assert limit(store) == 200
        await client.raise_budget(OTHER, 1, message_id="m1")
        assert limit(store, OTHER) == 8
        events = [entry.event for entry in store.read(f"budget/{DAY}")]
        assert [event.header.get("by") for event in events] == [None, "ada", "bob"]
        with pytest.raises(IdempotencyConflictError, match="'m1' raised agent/triage"):
            await client.raise_budget(DAY, 51, message_id="m1")
        assert list(store.rebuild()) == []

    on_a_store(tmp_path, play)


def test_those_who_wait_for_the_account_are_told_and_woken(tmp_path: Path) -> None:
    async def play(client: Client, store: Store) -> None:
        for run in ("run_1", "run_2"):
            waiting(store, run, DAY)
        waiting(store, "run_3", OTHER)
        waiting(store, "run_4", DAY, kind="escalation")
        waiting(store, "run_5", DAY)
        await client.decide("task-run_5", "stop", by="ada")
        raised = await client.raise_budget(DAY, 50, by="ada", message_id="m1")
        assert raised.runs == ("run_1", "run_2")
        for run in raised.runs:
            (mail,) = store.mail(run)
            assert (mail.kind, mail.name, mail.header["by"]) == ("budget_raised", DAY, "ada")
            assert json.loads(mail.body or b"") == {"account": DAY, "amount": 50}
        assert [row.id for row in store.due(1, 9)] == ["run_1", "run_2", "run_5"]
        assert store.mail("run_3") == store.mail("run_4") == []

    on_a_store(tmp_path, play)


def test_a_repeat_tells_those_who_were_not_told(tmp_path: Path) -> None:
    """The process that raised it was killed before it told anybody."""

    async def play(client: Client, store: Store) -> None:
        waiting(store, "run_1", DAY)
        store.commit([raising(DAY, 50, message_id="m1")])
        for _ in range(2):
            assert (await client.raise_budget(DAY, 50, message_id="m1")).runs == ("run_1",)
        assert limit(store) == 150
        assert len(store.mail("run_1")) == 1

    on_a_store(tmp_path, play)


def test_a_signal_with_the_same_id_does_not_stand_for_the_raise(tmp_path: Path) -> None:
    async def play(client: Client, store: Store) -> None:
        waiting(store, "run_1", DAY)
        await client.signal("run_1", "go", message_id="m1")
        await client.raise_budget(DAY, 50, message_id="m1")
        assert [mail.kind for mail in store.mail("run_1")] == ["signal", "budget_raised"]

    on_a_store(tmp_path, play)


def test_an_unknown_account_is_told_with_those_there_are(tmp_path: Path) -> None:
    async def play(client: Client, store: Store) -> None:
        with pytest.raises(NotFoundError) as found:
            await client.raise_budget("agent/triage/usd", 5)
        assert "no budget account 'agent/triage/usd'" in found.value.message
        assert f"there are: {DAY}." in found.value.message
        store.commit(opening([Account(f"run/{n}/usd", "usd", 1) for n in range(20)]))
        with pytest.raises(NotFoundError, match=f"there are: {OTHER}."):
            client.budget("tenant/acme/2026-11-26/tokens")
        with pytest.raises(NotFoundError, match=r"run/14/usd, … \(`interlock budget list`"):
            client.budget("nobody")
        for amount in (0, -5):
            with pytest.raises(InvalidInputError, match="by more than 0"):
                await client.raise_budget(DAY, amount)
        assert limit(store) == 100

    on_a_store(tmp_path, play)
