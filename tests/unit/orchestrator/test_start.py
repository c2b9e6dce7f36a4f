"""Starting a run is idempotent under a key, within a tenant and an agent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from interlock import Run, StartOptions
from interlock.errors import IdempotencyConflictError, InterlockError
from interlock.journal.rows import RunFilter
from tests.support.local import app_in, executing


def keyed(key: str = "order-7", tenant: str = "default") -> StartOptions:
    return StartOptions(idempotency_key=key, tenant=tenant)


def echo(app: Any, name: str = "a") -> None:
    @app.agent(name)
    async def agent(run: Run, given: Any) -> Any:
        return given


def test_the_same_key_is_the_same_run(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    echo(app)

    async def main() -> None:
        async with executing(app) as local:
            first = await local.start("a", {"n": 1, "m": [1, 2]}, keyed())
            again = await local.start("a", {"m": [1, 2], "n": 1}, keyed())
            assert (first.created, again.created) == (True, False)
            assert first.id == again.id
            assert await again.result() == {"n": 1, "m": [1, 2]}
            later = await local.start("a", {"n": 1, "m": [1, 2]}, keyed())
            assert later.id == first.id
            assert len(local.store.runs(RunFilter())) == 1

    asyncio.run(main())


@pytest.mark.parametrize("other", [{"n": 2}, {"n": "1"}, {"n": True}, {"n": 1, "m": None}, None])
def test_the_same_key_with_another_input_is_an_error(tmp_path: Path, other: Any) -> None:
    app = app_in(tmp_path)
    echo(app)

    async def main() -> None:
        async with executing(app) as local:
            first = await local.start("a", {"n": 1}, keyed())
            with pytest.raises(IdempotencyConflictError, match=f"'order-7'.*{first.id}"):
                await local.start("a", other, keyed())
            assert len(local.store.runs(RunFilter())) == 1

    asyncio.run(main())


def test_keys_are_apart_by_tenant_and_agent(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    echo(app)
    echo(app, "b")

    async def main() -> None:
        async with executing(app) as local:
            started = [
                await local.start("a", 1, keyed()),
                await local.start("b", 2, keyed()),
                await local.start("a", 3, keyed(tenant="acme")),
                await local.start("a", 4, keyed("order-8")),
            ]
            assert len({handle.id for handle in started}) == 4
            assert [await h.result() for h in started] == [1, 2, 3, 4]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("one", "other"),
    [(("t", "a", "b:k"), ("t", "a:b", "k")), (("t:a", "b", "k"), ("t", "a:b", "k"))],
)
def test_keys_whose_parts_run_together_stay_apart(
    tmp_path: Path, one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    app = app_in(tmp_path)
    for name in {one[1], other[1]}:
        echo(app, name)

    async def main() -> None:
        async with executing(app) as local:
            ids = set()
            for tenant, agent, key in (one, other):
                handle = await local.start(agent, tenant, keyed(key, tenant))
                assert handle.created
                ids.add(handle.id)
            assert len(ids) == 2

    asyncio.run(main())


def test_many_starts_at_once_with_one_key_make_one_run(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    echo(app)

    async def main() -> None:
        async with executing(app) as local:
            handles = await asyncio.gather(*[local.start("a", 1, keyed()) for _ in range(50)])
            assert len({h.id for h in handles}) == 1
            assert sum(h.created for h in handles) == 1
            assert [await h.result() for h in handles] == [1] * 50

    asyncio.run(main())


def test_many_starts_at_once_with_one_key_and_different_inputs(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    echo(app)

    async def main() -> None:
        async with executing(app) as local:
            ends = await asyncio.gather(
                *[local.start("a", i, keyed()) for i in range(20)], return_exceptions=True
            )
            refused = [end for end in ends if isinstance(end, IdempotencyConflictError)]
            assert len(refused) == 19
            assert len(local.store.runs(RunFilter())) == 1

    asyncio.run(main())


@pytest.mark.parametrize("text", ["\ud800", "a\0b"])
def test_options_that_no_database_takes_are_refused_and_stop_nothing(
    tmp_path: Path, text: str
) -> None:
    app = app_in(tmp_path)
    echo(app)

    async def main() -> None:
        async with executing(app) as local:
            for options in (keyed(text), keyed(tenant=text)):
                with pytest.raises(InterlockError):
                    await asyncio.wait_for(local.start("a", 1, options), 10)
            with pytest.raises(InterlockError):
                await asyncio.wait_for(local.start("a", "\ud800", keyed()), 10)
            assert await (await local.start("a", 1, keyed())).result() == 1
            assert local.executor.failure is None

    asyncio.run(main())


def test_started_by_a_process_that_executes_nothing(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    echo(app)

    async def main() -> None:
        async with app.client() as client:
            before = await client.start("a", 1)
        async with executing(app) as local, app.client() as client:
            during = await client.start("a", 2, keyed())
            again = await local.start("a", 2, keyed())
            assert not again.created
            assert again.id == during.run
            assert await again.result() == 2
            row = (await local.executor.when_ended(before.run)).row
            assert local.result_of(row, app.agents["a"]) == 1

    asyncio.run(main())
