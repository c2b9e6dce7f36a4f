"""Generated agents: trees of concurrent branches over durable operations.

A tree is plain data, so that it can be the input of a run. `Branches.run` interprets it with the
run's operations. A *settled* tree has one possible result whatever finishes first, and `expected`
computes it without a run; other trees race real time, and only their own journal knows the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
from hypothesis import strategies as st

from interlock import App, EffectKey, Run, StepFailedError

__all__ = ["Branches", "expected", "racing_trees", "settled_trees"]

Tree = dict[str, Any]
DAY = timedelta(days=1)
_NUMBERS = st.integers(min_value=0, max_value=9)
_MANY = ("gather", "group", "as_completed", "anyio", "sequence")


def _leaf(kind: str) -> st.SearchStrategy[Tree]:
    return _NUMBERS.map(lambda n: {"kind": kind, "n": n})


def _leaves() -> st.SearchStrategy[Tree]:
    return st.one_of([_leaf(k) for k in ("step", "thread", "fails", "effect", "sleep", "child")])


def _settled(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    several = st.lists(inner, min_size=1, max_size=4)
    many = st.builds(
        lambda kind, of: {"kind": kind, "of": of}, kind=st.sampled_from(_MANY), of=several
    )
    kinds = ("cut_off", "in_time", "cancelled", "beats", "shielded", "anyio_cut_off")
    one = st.builds(
        lambda kind, of: {"kind": kind, "of": [of]}, kind=st.sampled_from(kinds), of=inner
    )
    return many | one


def _racing(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    several = st.lists(inner, min_size=2, max_size=4)
    kinds = st.sampled_from(("race", "first_completed", "gather", "group", "as_they_come"))
    many = st.builds(lambda kind, of: {"kind": kind, "of": of}, kind=kinds, of=several)
    one = st.builds(lambda n, of: {"kind": "timeout", "n": n, "of": [of]}, n=_NUMBERS, of=inner)
    return many | one


def settled_trees() -> st.SearchStrategy[Tree]:
    """Trees with one possible result."""
    return _settled(st.recursive(_leaves(), _settled, max_leaves=12))


def racing_trees() -> st.SearchStrategy[Tree]:
    """Trees whose result depends on what is first."""
    return _racing(st.recursive(_leaves(), _racing, max_leaves=12))


def expected(tree: Tree) -> Any:  # noqa: PLR0911 - one for each kind
    """The result of a settled tree."""
    of = [expected(inner) for inner in tree.get("of", ())]
    match tree["kind"]:
        case "step" | "thread" | "effect" | "child" as kind:
            return f"{kind} {tree['n']}"
        case "fails":
            return "failed"
        case "sleep":
            return "slept"
        case "as_completed" | "as_they_come":
            return sorted(map(repr, of))
        case "cut_off" | "anyio_cut_off":
            return "cut off"
        case "cancelled":
            return "cancelled"
        case "in_time" | "shielded":
            return of[0]
        case "beats":
            return [0, of[0]]
        case _:
            return of


class Branches:
    """The agent `branches` of an app, and how often each of its functions was called."""

    def __init__(self, app: App) -> None:
        self.calls = 0
        self.made: dict[str, int] = {}

        async def step(n: int) -> str:
            self.calls += 1
            await asyncio.sleep(n / 3000)
            return f"step {n}"

        def thread(n: int) -> str:
            self.calls += 1
            return f"thread {n}"

        async def fails(n: int) -> str:
            self.calls += 1
            await asyncio.sleep(n / 3000)
            raise ConnectionError

        @app.tool(effect="write", recovery="key")
        async def effect(n: int, *, key: EffectKey) -> str:
            self.calls += 1
            self.made[key] = self.made.get(key, 0) + 1
            await asyncio.sleep(n / 3000)
            return f"effect {n}"

        self._step, self._thread, self._fails, self._effect = step, thread, fails, effect

        @app.agent("leaf")
        async def leaf(run: Run, n: int) -> str:
            await run.sleep(timedelta(milliseconds=n / 3))
            return f"child {n}"

        @app.agent("branches")
        async def branches(run: Run, tree: Tree) -> Any:
            return await self.run(run, tree)

    async def run(self, run: Run, tree: Tree) -> Any:
        """Interpret a tree."""
        if "of" not in tree:
            return await self._leaf(run, tree["kind"], tree["n"])
        of: list[Callable[[], Awaitable[Any]]] = [
            lambda inner=inner: self.run(run, inner) for inner in tree["of"]
        ]
        forms: dict[str, Any] = {
            "gather": _gather, "group": _group, "as_completed": _as_completed, "anyio": _anyio,
            "sequence": _sequence, "as_they_come": _as_they_come,
            "first_completed": _first_completed, "in_time": _in_time, "shielded": _shielded,
        }  # fmt: skip
        if tree["kind"] in forms:
            return await forms[tree["kind"]](of)
        return await self._bounded(run, tree, of)

    async def _leaf(self, run: Run, kind: str, n: int) -> Any:  # noqa: PLR0911 - one for each kind
        match kind:
            case "step":
                return await run.step(self._step, n)
            case "thread":
                return await run.step(self._thread, n)
            case "effect":
                return await run.call(self._effect, n)
            case "child":
                return await (await run.start("leaf", n)).result()
            case "fails":
                try:
                    return await run.step(self._fails, n)
                except StepFailedError:
                    return "failed"
            case _:
                await run.sleep(timedelta(milliseconds=n / 3))
                return "slept"

    async def _bounded(self, run: Run, tree: Tree, of: Any) -> Any:
        match tree["kind"]:
            case "race":
                return list(await run.race(*[inner() for inner in of]))
            case "beats":
                return list(await run.race(of[0](), run.sleep(DAY)))
            case "cancelled":
                return await _cancelled(of[0], run)
            case "anyio_cut_off":
                with anyio.move_on_after(0.002):
                    await asyncio.gather(of[0](), run.sleep(DAY))
                return "cut off"
            case _:
                seconds = 0.002 if tree["kind"] == "cut_off" else tree["n"] / 1000
                try:
                    async with asyncio.timeout(seconds):
                        result = await of[0]()
                        if tree["kind"] == "cut_off":
                            await run.sleep(DAY)
                        return result
                except TimeoutError:
                    return "cut off"


async def _gather(of: Any) -> list[Any]:
    return list(await asyncio.gather(*[inner() for inner in of]))


async def _sequence(of: Any) -> list[Any]:
    return [await inner() for inner in of]


async def _group(of: Any) -> list[Any]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(inner()) for inner in of]
    return [task.result() for task in tasks]


async def _as_they_come(of: Any) -> list[str]:
    return [repr(await done) for done in asyncio.as_completed([inner() for inner in of])]


async def _as_completed(of: Any) -> list[str]:
    return sorted(await _as_they_come(of))


async def _anyio(of: Any) -> list[Any]:
    results: list[Any] = [None] * len(of)

    async def keep(index: int) -> None:
        results[index] = await of[index]()

    async with anyio.create_task_group() as group:
        for index in range(len(of)):
            group.start_soon(keep, index)
    return results


async def _first_completed(of: Any) -> list[Any]:
    tasks = [asyncio.ensure_future(inner()) for inner in of]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return [task.result() if task in done else "late" for task in tasks]


async def _in_time(of: Any) -> Any:
    return await asyncio.wait_for(of[0](), DAY.total_seconds())


async def _shielded(of: Any) -> Any:
    return await asyncio.shield(asyncio.ensure_future(of[0]()))


async def _cancelled(inner: Any, run: Run) -> str:
    async def endless() -> None:
        await inner()
        await run.sleep(DAY)

    task = asyncio.ensure_future(endless())
    await run.sleep(timedelta(milliseconds=2))
    task.cancel()
    # Not `await task`: that would take a cancellation from outside for the task's own.
    await asyncio.wait({task})
    return "cancelled" if task.cancelled() else "ended"
