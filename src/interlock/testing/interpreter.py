"""The agent that executes generated programs, and its tools: ordinary code over a `Run`.

One app serves every program. What its tools reach is put on its `Stage`, so that the declarations
are checked once per process and not once per program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel

from interlock.app import App
from interlock.errors import ChildFailedError, OutcomeError
from interlock.orchestrator.retry import Retry
from interlock.orchestrator.run import Run
from interlock.testing.external import SETTLE_MS, TIMEOUT_MS, Outside
from interlock.testing.program import Node
from interlock.tools.effects import EffectKey, LookupResult, Recovery
from interlock.tools.tool import Tool

__all__ = ["AGENT", "Notes", "Stage", "ToolMaker", "generated_app"]

AGENT: Final = "generated"
_SETTLE: Final = timedelta(milliseconds=SETTLE_MS)
_TIMEOUT: Final = timedelta(milliseconds=TIMEOUT_MS)
_PAUSE: Final = timedelta(milliseconds=20)

ToolMaker = Callable[[Tool[..., Any]], Tool[..., Any]]


class Notes(BaseModel):
    """The agent's state: what it was given, in order."""

    notes: list[str] = []


class Stage:
    """What the tools reach at the moment, and the functions that are executed as steps."""

    outside: Outside

    async def work(self, name: str, ms: int, fails: int) -> str:
        """A step that takes time."""
        await asyncio.sleep(ms / 1000)
        return self.outside.attempt(name, fails)

    def work_in_thread(self, name: str, _ms: int, fails: int) -> str:
        """A step that runs in a thread, which takes its own time."""
        return self.outside.attempt(name, fails)

    async def stamp(self, name: str, *_parts: str) -> str:
        """A step whose arguments must be the same at every replay."""
        return self.outside.attempt(name, 0)


class GeneratedError(Exception):
    """Raised by a program's `raise` node."""


def generated_app(stage: Stage, change: ToolMaker = lambda tool: tool) -> App:
    """The app whose one agent executes programs. `change` may exchange its tools."""
    app = App("simulation", store="sqlite:///nowhere.db")
    tools = {name: change(tool) for name, tool in _tools(app, stage).items()}
    app.tools.update({tool.name: tool for tool in tools.values()})

    @app.agent(AGENT, state=Notes)
    async def generated(run: Run, program: Node) -> Any:
        return await Interpreter(run, stage, tools).whole(program)

    return app


def _tools(app: App, stage: Stage) -> dict[str, Tool[..., Any]]:
    async def look_up(name: str) -> LookupResult[str]:
        return await stage.outside.look_up(name)

    async def call(name: str, *, key: EffectKey) -> str:
        return await stage.outside.call(name, key)

    def call_now(name: str, *, key: EffectKey) -> str:
        return stage.outside.call_now(name, key)

    async def ask(name: str, fails: int) -> str:
        return stage.outside.attempt(name, fails)

    tools: dict[str, Tool[..., Any]] = {"read": app.tool("read", effect="read", pause=_PAUSE)(ask)}
    for sync, function in ((False, call), (True, call_now)):
        for recovery in _RECOVERIES:
            name = f"{recovery}{'_sync' if sync else ''}"
            tools[name] = app.tool(
                name,
                effect="write",
                recovery=recovery,
                lookup=look_up if recovery == "lookup" else None,
                settle=_SETTLE if recovery == "lookup" else timedelta(0),
                timeout=_TIMEOUT,
                pause=_PAUSE,
            )(function)
    return tools


_RECOVERIES: Final[tuple[Recovery, ...]] = ("key", "lookup", "repeatable", "never")


class Interpreter:
    """Executes one run's program. It only computes, besides what it asks of `run`."""

    def __init__(self, run: Run, stage: Stage, tools: dict[str, Tool[..., Any]]) -> None:
        self._run = run
        self._stage = stage
        self._tools = tools

    async def whole(self, program: Node) -> Any:
        """Execute a run's program, and begin its next generation if it has one."""
        label = program.get("label", "root")
        self._stage.outside.introduce(label, self._run.id)
        result = await self.perform(program["of"])
        following = program["of"].get("next")
        if following is not None:
            await self._run.continue_as_new({"label": label, "of": following})
        self._run.outcome("finished")
        return result

    async def perform(self, node: Node) -> Any:
        """Execute one node and answer its result."""
        return await getattr(self, f"do_{node['do']}")(node)

    # Leaves.

    async def do_step(self, node: Node) -> Any:
        """A function of the outside."""
        timeout_ms = node.get("timeout_ms")
        return await self._run.step(
            self._stage.work_in_thread if node["sync"] else self._stage.work,
            node["name"],
            node["ms"],
            node["fails"],
            name="step",
            retry=Retry(attempts=node["attempts"], base=_PAUSE, cap=timedelta(milliseconds=80)),
            timeout=None if timeout_ms is None else timedelta(milliseconds=timeout_ms),
        )

    async def do_read(self, node: Node) -> Any:
        """A tool that reads."""
        return await self._run.call(self._tools["read"], node["name"], node["fails"])

    async def do_write(self, node: Node) -> Any:
        """A tool that writes."""
        tool = self._tools[node["recovery"] + ("_sync" if node["sync"] else "")]
        return await self._run.call(tool, node["name"])

    async def do_sleep(self, node: Node) -> Any:
        """Time."""
        if node["plain"]:
            await asyncio.sleep(node["ms"] / 1000)
        else:
            await self._run.sleep(timedelta(milliseconds=node["ms"]))
        return "slept"

    async def do_wait(self, node: Node) -> Any:
        """A signal."""
        timeout_ms = node.get("timeout_ms")
        timeout = None if timeout_ms is None else timedelta(milliseconds=timeout_ms)
        token = await self._run.wait(node["signal"], type=str, timeout=timeout, default="none")
        self._note(f"signal {token}")
        return token

    async def do_ask(self, node: Node) -> Any:
        """A person."""
        deadline_ms = node.get("deadline_ms")
        deadline = None if deadline_ms is None else timedelta(milliseconds=deadline_ms)
        decision = await self._run.escalate(
            f"What about {node['name']}?", to="somebody", choices=["yes", "no"], deadline=deadline
        )
        self._note(f"decision {node['name']} {decision.choice}")
        return "expired" if decision.expired else "decided"

    async def do_stamp(self, node: Node) -> Any:
        """A step whose arguments are the run's own time and random values."""
        run = self._run
        parts = (run.now().isoformat(), str(run.uuid()), repr(run.random()))
        return await run.step(self._stage.stamp, node["name"], *parts)

    async def do_note(self, node: Node) -> Any:
        """A change of the state."""
        self._note(f"note {node['name']}")
        return "noted"

    async def do_raise(self, _node: Node) -> Any:
        """An exception of the agent's own."""
        raise GeneratedError("as generated")

    def _note(self, text: str) -> None:
        self._run.state.notes.append(text)

    # Branches.

    async def do_seq(self, node: Node) -> Any:
        """One after the other."""
        return [await self.perform(inner) for inner in node["of"]]

    async def do_gather(self, node: Node) -> Any:
        """All at once; an exception leaves the others behind."""
        return await asyncio.gather(*map(self.perform, node["of"]))

    async def do_group(self, node: Node) -> Any:
        """All at once; an exception cancels the others."""
        tasks: list[asyncio.Task[Any]] = []
        failed = False
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.perform(inner)) for inner in node["of"]]
        except* (OutcomeError, GeneratedError):
            failed = True
        return "failed" if failed else [task.result() for task in tasks]

    async def do_sorted(self, node: Node) -> Any:
        """As they complete, in an order that does not depend on it."""
        return sorted([repr(await next_one) for next_one in self._completed(node)])

    async def do_completed(self, node: Node) -> Any:
        """As they complete."""
        return [await next_one for next_one in self._completed(node)]

    def _completed(self, node: Node) -> Any:
        return asyncio.as_completed([self.perform(inner) for inner in node["of"]])

    async def do_first(self, node: Node) -> Any:
        """The first; the others are cancelled and waited for."""
        tasks = [asyncio.create_task(self.perform(inner)) for inner in node["of"]]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        return [_ending(task) for task in tasks if task in done]

    async def do_race(self, node: Node) -> Any:
        """The first, the product's own way."""
        index, result = await self._run.race(*map(self.perform, node["of"]))
        return [index, result]

    async def do_within(self, node: Node) -> Any:
        """In time, or not at all."""
        duration = timedelta(milliseconds=node["ms"])
        scope: Any = asyncio.timeout(node["ms"] / 1000)
        if not node["plain"]:
            scope = self._run.timeout(duration)
        try:
            async with scope:
                return await self.perform(node["of"])
        except TimeoutError:
            return "too late"

    async def do_cancelled(self, node: Node) -> Any:
        """Cancelled from inside after a while."""
        task = asyncio.create_task(self.perform(node["of"]))
        await self._run.sleep(timedelta(milliseconds=node["ms"]))
        task.cancel()
        await asyncio.wait({task})
        return _ending(task)

    async def do_catch(self, node: Node) -> Any:
        """An exception becomes a result."""
        try:
            return await self.perform(node["of"])
        except (OutcomeError, GeneratedError, TimeoutError) as error:
            return type(error).__name__

    async def do_guarded(self, node: Node) -> Any:
        """Durable work in a `finally` block."""
        try:
            return await self.perform(node["of"])
        finally:
            await self.perform(node["finally"])

    async def do_handshake(self, node: Node) -> Any:
        """A branch that waits for another by an `asyncio.Event`."""
        ready = asyncio.Event()

        async def give() -> Any:
            try:
                return await self.perform(node["of"])
            finally:
                ready.set()

        return await asyncio.gather(ready.wait(), give())

    async def do_child(self, node: Node) -> Any:
        """A child run."""
        program = {"label": node["label"], "of": node["of"]}
        child = await self._run.start(AGENT, program, close=node["close"])
        results: list[Any] = []
        for _ in range(node["awaits"]):
            try:
                results.append(await child.result())
            except ChildFailedError:
                results.append("child failed")
        return results


def _ending(task: asyncio.Task[Any]) -> Any:
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    return type(error).__name__ if error is not None else task.result()
