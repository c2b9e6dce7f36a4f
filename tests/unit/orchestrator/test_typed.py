"""Typed input and output: wrong input never becomes a run, a wrong result is kept and told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from interlock import Run, RunFailedError, StartOptions
from interlock.errors import (
    DeclarationError,
    InvalidInputError,
    NotFoundError,
    NotRecordableError,
    PayloadTooLargeError,
)
from interlock.journal.rows import RunFilter
from tests.support.local import app_in, crashing, executing, until_state


class Line(BaseModel):
    sku: str
    count: Annotated[int, Field(gt=0)]


class Order(BaseModel):
    customer: str
    lines: list[Line]


def test_every_wrong_field_is_named_and_no_run_exists(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("order")
    async def order(run: Run, given: Order) -> None: ...

    async def main() -> None:
        async with executing(app) as local:
            wrong = {"lines": [{"sku": 3, "count": 0}, {"count": "two"}]}
            with pytest.raises(InvalidInputError, match="input of agent 'order'") as caught:
                await local.start("order", wrong)
            fields = {problem["field"] for problem in caught.value.fields["problems"]}
            assert fields == {
                "customer", "lines.0.sku", "lines.0.count", "lines.1.sku", "lines.1.count",
            }  # fmt: skip
            assert all(field in caught.value.message for field in fields)
            assert local.store.runs(RunFilter()) == []

    asyncio.run(main())


@pytest.mark.parametrize("form", ["model", "dict"])
def test_input_arrives_as_its_type_live_and_on_replay(tmp_path: Path, form: str) -> None:
    app = app_in(tmp_path)
    seen: list[Order] = []

    @app.agent("order")
    async def order(run: Run, given: Order) -> Order:
        seen.append(given)
        await run.wait("go")
        return given

    given = Order(customer="ann", lines=[Line(sku="a", count=2)])

    async def main() -> Order:
        async with crashing(app) as local:
            handle = await local.start("order", given if form == "model" else given.model_dump())
            await until_state(local, handle.id, "waiting")
        async with executing(app) as local:
            await local.client.signal(handle.id, "go")
            row = await until_state(local, handle.id, "completed")
            return local.result_of(row, app.agents["order"])

    assert asyncio.run(main()) == given
    assert seen == [given, given]


def test_an_agent_without_input_takes_none(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> int:
        return 1

    async def main() -> None:
        async with executing(app) as local:
            assert await (await local.start("a")).result() == 1
            with pytest.raises(InvalidInputError):
                await local.start("a", 5)

    asyncio.run(main())


def test_an_unknown_agent_is_refused_with_those_there_are(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("billing")
    async def billing(run: Run) -> None: ...

    async def main() -> None:
        async with executing(app) as local:
            with pytest.raises(NotFoundError, match=r"no agent 'triage' is declared.*billing"):
                await local.start("triage")

    asyncio.run(main())


@pytest.mark.parametrize("result", ["three", None, {"sku": 1}, object()])
def test_a_result_that_does_not_fit_fails_the_run_and_is_kept(tmp_path: Path, result: Any) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> Line:
        return result

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            with pytest.raises(RunFailedError, match="result of agent 'a'"):
                await handle.result()
            row = await handle.row()
            assert (row.state, row.reason) == ("failed", "invalid_output")
            assert local.client.result(row)["value"] == repr(result)

    asyncio.run(main())


def test_a_result_that_only_looks_like_its_type_fails_the_run(tmp_path: Path) -> None:
    """`model_construct` and friends: what a reader could not read back is no result."""
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> Line:
        return Line.model_construct(sku="a", count=-5)

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            row = await handle.row()
            assert (row.state, row.reason) == ("failed", "invalid_output")
            assert "count" in local.client.result(row)["message"]

    asyncio.run(main())


def test_a_result_over_the_limit_fails_the_run_with_its_beginning_kept(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> str:
        return "x" * 1_000_001

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a")
            with pytest.raises(RunFailedError, match=r"result of agent 'a'.*1,000,000.*reference"):
                await handle.result()
            kept = local.client.result(await handle.row())["value"]
            assert kept.startswith("'xxx")
            assert len(kept) <= 10_000

    asyncio.run(main())


def test_an_input_over_the_limit_is_refused_by_name(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run, text: str) -> None: ...

    async def main() -> None:
        async with executing(app) as local:
            with pytest.raises(PayloadTooLargeError, match=r"input of agent 'a'.*limit.*reference"):
                await local.start("a", "x" * 1_000_001)
            assert local.store.runs(RunFilter()) == []
            handle = await local.start("a", "x")
            with pytest.raises(PayloadTooLargeError, match=r"signal 'n'.*limit.*reference"):
                await local.client.signal(handle.id, "n", "x" * 1_000_001)

    asyncio.run(main())


def test_declarations_that_cannot_work_are_refused(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    def not_async(run: Run) -> None: ...

    async def no_parameters() -> None: ...

    async def too_many(run: Run, one: int, two: int) -> None: ...

    async def good(run: Run) -> None: ...

    with pytest.raises(DeclarationError, match=r"'x'.*async def"):
        app.agent("x")(not_async)  # type: ignore[type-var]
    with pytest.raises(DeclarationError, match="takes 0 parameters"):
        app.agent("x")(no_parameters)
    with pytest.raises(DeclarationError, match="takes 3 parameters"):
        app.agent("x")(too_many)
    for name in ("", "a/b", "n" * 201):
        with pytest.raises(DeclarationError, match="1 to 200 characters"):
            app.agent(name)(good)
    with pytest.raises(DeclarationError, match="concurrency=0"):
        app.agent("x", concurrency=0)(good)
    app.agent("x")(good)
    with pytest.raises(DeclarationError, match="'x' is declared twice"):
        app.agent("x")(good)


def test_a_type_that_cannot_be_recorded_is_refused_at_the_declaration(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    class Plain:
        pass

    async def takes(run: Run, given: Plain) -> None: ...

    takes.__annotations__["given"] = Plain
    with pytest.raises(NotRecordableError, match="Plain"):
        app.agent("x")(takes)


def test_options_are_taken_with_an_input(tmp_path: Path) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run, n: int) -> list[Any]:
        run.outcome("resolved")
        return [n, run.tenant, run.id]

    async def main() -> None:
        async with executing(app) as local:
            handle = await local.start("a", 3, StartOptions(tenant="acme", priority=4))
            assert await handle.result() == [3, "acme", handle.id]
            row = await handle.row()
            assert (row.outcome, row.priority) == ("resolved", 4)

    asyncio.run(main())


@pytest.mark.parametrize("outcome", ["", "o" * 101])
def test_outcomes_out_of_range_are_refused(tmp_path: Path, outcome: str) -> None:
    app = app_in(tmp_path)

    @app.agent("a")
    async def a(run: Run) -> None:
        run.outcome(outcome)

    async def main() -> None:
        async with executing(app) as local:
            with pytest.raises(RunFailedError, match="1 to 100 characters"):
                await (await local.start("a")).result()

    asyncio.run(main())
