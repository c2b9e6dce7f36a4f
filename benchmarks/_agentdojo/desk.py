"""Our gateway in front of a suite's tools, and an agent that makes the calls of a script.

The agent is a run of Interlock: its input is the user's request and nothing else, so only that and
trusted tools ground a destination. Nobody approves: what a person is asked about is not made.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks._agentdojo.suites import Planned, Suite, World
from interlock import App, LocalExecutor, Run, Tool
from interlock.base.codec import codec_for
from interlock.errors import NotAllowedError
from interlock.tools.arguments import TypedArguments
from interlock.tools.terms import Standing

__all__ = ["Case", "Desk", "Labels", "open_desk", "read_labels"]

Labels = dict[str, dict[str, Any]]
_AGENT = "assistant"
_READS = '@id("reads") permit (principal, action in Action::"any read", resource);'
_WRITES = '@id("writes") permit (principal, action in Action::"any write", resource)'
_LABELS = Path(__file__).with_name("labels.yaml")


@dataclass(kw_only=True)
class Case:
    """One script, and what became of its calls.

    `obeys` is what is done once the answer of a tool holds `marker`.
    """

    prompt: str
    plan: list[Planned]
    world: World
    marker: str = ""
    obeys: Callable[[], list[Planned]] | None = None
    obeyed: bool = False
    made: list[Planned] = field(default_factory=list[Planned])
    asked: list[Planned] = field(default_factory=list[Planned])


def read_labels(suite: str) -> Labels:
    """The labels of a suite's tools, as they were frozen before the first measurement."""
    return YAML(typ="safe").load(_LABELS)[suite]


def policy_text(labels: Labels, *, destroying_asks: bool) -> str:
    """Reads and writes are permitted; what destroys, and has no destination to judge, is asked."""
    destroying = [
        name
        for name, label in labels.items()
        if label["effect"] == "irreversible" and not label.get("destinations")
    ]
    if not destroying_asks or not destroying:
        return f"{_READS}\n{_WRITES};\n"
    actions = ", ".join(f'Action::"{name}"' for name in destroying)
    return (
        f"{_READS}\n{_WRITES}\nunless {{ action in [{actions}] }};\n"
        f'@id("destroying") @approval("user") permit (principal, action in [{actions}], resource);'
    )


class Desk:
    """A suite's tools behind the gateway; one case at a time."""

    def __init__(self, suite: Suite, executor: LocalExecutor, tools: dict[str, Any]) -> None:
        self.suite = suite
        self.executor = executor
        self.tools = tools
        self.case: Case | None = None

    async def play(self, case: Case) -> Case:
        """Play a script to its end, declining whatever a person is asked."""
        self.case = case
        handle = await self.executor.start(_AGENT, case.prompt)
        ended = asyncio.ensure_future(handle.result())
        while not ended.done():
            for task in self.executor.store.inbox():
                await self.executor.client.decide(task.id, "reject", by="nobody")
            await asyncio.wait({ended}, timeout=0.002)
        await ended
        return case

    async def follow(self, run: Run) -> None:
        """The agent: the plan's calls, and what is injected as soon as it is seen."""
        case = self.case
        assert case is not None
        made: list[Planned] = []
        asked: list[Planned] = []
        obeyed = False
        left = list(case.plan)
        while left:
            planned = left.pop(0)
            try:
                answer = await run.call(self.tools[planned.tool], **planned.arguments)
            except NotAllowedError:
                asked.append(planned)
                continue
            made.append(planned)
            seen = case.marker and case.marker in json.dumps(answer, ensure_ascii=False)
            if seen and case.obeys is not None and not obeyed:
                obeyed = True
                left = [*case.obeys(), *left]
        case.made, case.asked, case.obeyed = made, asked, obeyed


@asynccontextmanager
async def open_desk(
    suite: Suite, directory: Path, *, destroying_asks: bool = True
) -> AsyncIterator[Desk]:
    """The gateway in front of a suite, with its labels and policies."""
    labels = read_labels(suite.name)
    folder = directory / f"{suite.name}-{'asks' if destroying_asks else 'plain'}"
    folder.mkdir(parents=True)
    (folder / "suite.cedar").write_text(policy_text(labels, destroying_asks=destroying_asks))
    app = App("agentdojo", store=f"sqlite:///{folder / 'journal.db'}", policies=folder)
    desks: list[Desk] = []

    async def assistant(run: Run, prompt: str) -> None:
        # The prompt is what grounds values; what to do with it says the script.
        assert desks[0].case is not None and prompt == desks[0].case.prompt  # noqa: PT018
        await desks[0].follow(run)

    app.agent(_AGENT)(assistant)
    for name, description, model in suite.tools():
        app.tools[name] = _tool(name, description, model, labels[name], desks)
    async with app.executor() as executor:
        desks.append(Desk(suite, executor, app.tools))
        with contextlib.suppress(asyncio.CancelledError):
            yield desks[0]


def _tool(
    name: str, description: str, model: Any, label: dict[str, Any], desks: list[Desk]
) -> Tool[..., Any]:
    async def call(**arguments: Any) -> Any:
        desk = desks[0]
        assert desk.case is not None
        return desk.suite.call(desk.case.world, name, arguments)

    return Tool(
        name=name,
        function=call,
        effect=label["effect"],
        recovery=None if label["effect"] == "read" else "never",
        version="1",
        timeout=timedelta(seconds=30),
        settle=timedelta(0),
        not_made=(),
        refused=(),
        attempts=1,
        pause=timedelta(seconds=1),
        lookup=None,
        key_parameter=None,
        arguments=TypedArguments(model),
        result=codec_for(Any),
        description=description,
        standing=Standing(
            owner="user",
            destinations=tuple(label.get("destinations", ())),
            resource=tuple(label.get("resource", ())),
            trusted=bool(label.get("trusted", False)),
        ),
    )
