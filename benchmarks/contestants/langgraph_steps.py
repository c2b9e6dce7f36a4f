# pyright: basic, reportMissingImports=false
"""LangGraph: a graph of ten nodes in a row with ``durability="sync"``, on SQLite or PostgreSQL."""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from benchmarks.contestants.entry import Durability, arguments, run
from benchmarks.load import STEP_RESULT, STEPS_PER_RUN

_SQLITE_SYNCED = {2, 3}  # FULL, EXTRA: https://www.sqlite.org/pragma.html#pragma_synchronous
POOL_SIZE = 20


class State(TypedDict):
    """What the nodes hand on."""

    out: str
    count: int


async def one_step(state: State) -> State:
    return {"out": STEP_RESULT, "count": state["count"] + 1}


def ten_nodes() -> StateGraph:
    """START, ten nodes, END."""
    graph = StateGraph(State)
    names = [f"step{index}" for index in range(STEPS_PER_RUN)]
    for name in names:
        graph.add_node(name, one_step)
    for before, after in itertools.pairwise([START, *names, END]):
        graph.add_edge(before, after)
    return graph


class LanggraphSteps:
    """Ten-node runs, each a thread of its own, each checkpoint written before the next node."""

    version = importlib.metadata.version("langgraph")

    def __init__(self, saver: Any, durability: Durability) -> None:
        self._graph = ten_nodes().compile(checkpointer=saver)
        self._durability = durability
        self._numbers = itertools.count()

    async def run_once(self) -> None:
        thread = {"configurable": {"thread_id": f"run{next(self._numbers)}"}}
        await self._graph.ainvoke({"out": "", "count": 0}, thread, durability="sync")

    async def durability(self) -> Durability:
        return self._durability


@asynccontextmanager
async def _on_sqlite(options: argparse.Namespace) -> AsyncIterator[LanggraphSteps]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncSqliteSaver.from_conn_string(str(options.directory / "langgraph.db")) as saver:
        await saver.setup()
        values = []
        for name in ("journal_mode", "synchronous"):
            async with saver.conn.execute(f"PRAGMA {name}") as cursor:
                values.append((await cursor.fetchone())[0])
        mode, synchronous = values
        setting = f"{mode}, synchronous={synchronous}, durability=sync"
        yield LanggraphSteps(
            saver, Durability(setting=setting, synced=synchronous in _SQLITE_SYNCED)
        )


@asynccontextmanager
async def _on_postgres(options: argparse.Namespace) -> AsyncIterator[LanggraphSteps]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(
        options.database_url, max_size=POOL_SIZE, kwargs=settings
    ) as pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        async with pool.connection() as connection:
            fsync = (await (await connection.execute("SHOW fsync")).fetchone())["fsync"]
            cursor = await connection.execute("SHOW synchronous_commit")
            commit = (await cursor.fetchone())["synchronous_commit"]
        setting = f"fsync={fsync}, synchronous_commit={commit}, durability=sync"
        yield LanggraphSteps(
            saver, Durability(setting=setting, synced=(fsync, commit) == ("on", "on"))
        )


def open_langgraph(
    options: argparse.Namespace,
) -> AbstractAsyncContextManager[LanggraphSteps]:
    """LangGraph on PostgreSQL when a URL is given, otherwise on a new SQLite file."""
    return _on_postgres(options) if options.database_url else _on_sqlite(options)


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument(
        "--database-url", help="a PostgreSQL URL; without it, SQLite in the directory"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run(open_langgraph, _options())
