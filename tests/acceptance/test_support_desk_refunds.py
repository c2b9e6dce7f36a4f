"""The refund service of the example: a process of its own that pays each time it is asked."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.support_desk.helpdesk import RefusedError, UnreachableError
from examples.support_desk.helpdesk.process import RunningService
from examples.support_desk.refunds import RefundService, ensure_refunds, read_token

PAYMENT: dict[str, Any] = {"reference": "r", "ticket": "7", "account": "DE1", "cents": 1990}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningService]:
    running = ensure_refunds(tmp_path / "refunds")
    yield running
    running.stop()


def use(running: RunningService, work: Callable[[RefundService], Awaitable[None]]) -> None:
    async def scene() -> None:
        async with RefundService(running.url, read_token(running.home)) as service:
            await work(service)

    asyncio.run(scene())


async def pay(service: RefundService, reference: str, ticket: str = "7") -> str:
    return await service.pay(ticket, account="DE1", cents=1990, reference=reference)


def test_it_pays_each_time_and_says_what_it_paid(running: RunningService) -> None:
    async def work(service: RefundService) -> None:
        first, again = [await pay(service, "once/1#2") for _ in range(2)]
        assert first != again
        await pay(service, "other", ticket="8")
        assert [one.id for one in await service.find(reference="once/1#2")] == [first, again]
        assert await service.find(reference="once/1#") == []
        (about,) = await service.find(ticket="8")
        assert (about.reference, about.account, about.cents) == ("other", "DE1", 1990)
        assert len(await service.find()) == 3

    use(running, work)


def test_what_was_answered_survives_a_kill(running: RunningService) -> None:
    async def work(service: RefundService) -> None:
        await asyncio.gather(*(pay(service, f"r{n}") for n in range(20)))

    use(running, work)
    os.kill(running.pid, signal.SIGKILL)
    assert running.child is not None
    running.child.wait()

    async def away(service: RefundService) -> None:
        with pytest.raises(UnreachableError):
            await pay(service, "late")

    use(running, away)
    again = ensure_refunds(running.home)

    async def look(service: RefundService) -> None:
        assert len(await service.find()) == 20

    use(again, look)
    again.stop()


@pytest.mark.parametrize(
    "wrong",
    [{"cents": 0}, {"cents": 19.9}, {"cents": "1990"}, {"cents": True}, {"account": ""}, {"a": 1}],
)
def test_what_is_no_payment_is_refused(running: RunningService, wrong: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {read_token(running.home)}"}
    with httpx.Client(base_url=running.url, headers=headers, trust_env=False) as client:
        assert client.post("/refunds", json={**PAYMENT, **wrong}).status_code == 422
        assert client.get("/refunds").json() == {"refunds": []}


def test_a_stranger_neither_pays_nor_reads(running: RunningService) -> None:
    assert (running.home / "token").stat().st_mode & 0o077 == 0
    with httpx.Client(base_url=running.url, trust_env=False) as client:
        assert client.post("/refunds", json=PAYMENT).status_code == 401
        assert client.get("/refunds").status_code == 401

    async def work(service: RefundService) -> None:
        assert await service.find() == []

    use(running, work)

    async def guess() -> None:
        async with RefundService(running.url, "guessed") as service:
            with pytest.raises(RefusedError, match="401"):
                await pay(service, "r")

    asyncio.run(guess())


def test_its_log_names_no_account(running: RunningService) -> None:
    async def work(service: RefundService) -> None:
        await pay(service, "r")

    use(running, work)
    assert "DE1" not in (running.home.with_name("refunds.log")).read_text()
