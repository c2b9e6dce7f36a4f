"""Processor time of a permitted call through the gateway, with a policy set of 200 policies.

The same tool is called by itself (bare), as its two commits alone (intent and outcome in our own
journal, with no engine around them), through the gateway without policies, and with them. All in
turn, in one process and on one store each, over several rounds; processor time is that of all
threads. Differences and ratios are taken within a round, and the median over the rounds is judged.

What is judged is what a call through the gateway costs beside bare and beside its two commits; the
table has each part, so the whole can be read too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from benchmarks.gateway_policies import AGENTS, POLICIES, TOOLS, policy_text
from benchmarks.report import Target
from benchmarks.scenario import Outcome, play, say, scenario_arguments
from interlock import App, EffectKey, LocalExecutor, Run, Tool
from interlock.clock import SystemClock
from interlock.journal import Journal, open_store
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit, Committed
from interlock.orchestrator.client import Client
from interlock.orchestrator.gateway import Call
from interlock.tools.provenance import Sources

OVERHEAD_MS_MAX: Final = 1.0
_TOOLS: Final = [f"pay_{number}" for number in range(TOOLS)]
_AGENTS: Final = [f"clerk-{number}" for number in range(AGENTS)]
_CALLED: Final = _TOOLS[7]
_CALLER: Final = _AGENTS[-1]
BARE: Final = "the function alone (bare)"
COMMITS: Final = "two commits alone"
WITHOUT: Final = "through the gateway, no policies"
WITH: Final = f"through the gateway, {POLICIES} policies"

Calls = Callable[[int], Awaitable[None]]
"""Make so many calls, one after the other."""


class Payment(BaseModel):
    """The arguments of the call, about 600 bytes."""

    ticket: str
    account: str
    cents: int
    currency: str
    note: str


class Work(BaseModel):
    """How often to make which call. As the run's input, it is what grounds the account."""

    calls: int
    call: Payment


_CALL: Final = Payment(
    ticket="T-2041",
    account="FR7630006000011234567890189",
    cents=4_500,
    currency="EUR",
    note="Broken on arrival, photographs attached. " * 12,
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What one contestant took for a call in one round."""

    processor_ms: float
    passed_ms: float


async def pay(
    ticket: str, account: str, cents: int, currency: str, note: str, key: EffectKey
) -> dict[str, str]:
    """Stand for a system that is paid with; it takes no time of its own."""
    return {"payment": f"{ticket}:{cents}:{currency}:{key}", "account": account, "note": note}


def _app(directory: Path, *, policies: bool, name: str) -> tuple[App, Tool[..., Any]]:
    folder = directory / name
    folder.mkdir()
    if policies:
        (folder / "company.cedar").write_text(policy_text(_TOOLS, _AGENTS))
    app = App(
        name,
        store=f"sqlite:///{folder / 'interlock.db'}",
        policies=folder if policies else None,
    )
    tools = [
        app.tool(
            tool,
            effect="irreversible",
            recovery="key",
            amount="cents",
            resource=("ticket",),
            destinations=("account",) if policies else (),
        )(pay)
        for tool in _TOOLS
    ]
    called = tools[_TOOLS.index(_CALLED)]

    async def clerk(run: Run, work: Work) -> int:
        """Make the same call so many times, one after the other."""
        for _ in range(work.calls):
            await run.call(called, **work.call.model_dump())
        return work.calls

    for agent in _AGENTS:
        app.agent(agent)(clerk)
    return app, called


async def gateway(options: argparse.Namespace, directory: Path) -> Outcome:
    """Warm each contestant up, then measure all in turn in each round."""
    shown: dict[str, list[Shown]] = {}
    deciding: list[float] = []
    async with (
        _through(directory, policies=False) as (without, _),
        _through(directory, policies=True) as (with_policies, executor),
        _commits(directory) as commits,
    ):
        contestants: Mapping[str, Calls] = {
            BARE: _bare,
            COMMITS: commits,
            WITHOUT: without,
            WITH: with_policies,
        }
        for calls in contestants.values():
            await calls(options.calls // 4 or 1)
        for number in range(options.rounds):
            order = list(contestants) if number % 2 == 0 else list(reversed(contestants))
            for name in order:
                shown.setdefault(name, []).append(await _measure(contestants[name], options.calls))
            deciding.append(_decision_ms(executor, options.calls))
            say(f"round {number + 1}: {_line(shown)}, decision {deciding[-1]:.3f} ms")
    return _outcome(options, shown, deciding)


async def _measure(calls: Calls, count: int) -> Shown:
    processor, passed = time.process_time(), time.perf_counter()
    await calls(count)
    return Shown(
        processor_ms=(time.process_time() - processor) / count * 1e3,
        passed_ms=(time.perf_counter() - passed) / count * 1e3,
    )


async def _bare(count: int) -> None:
    key = EffectKey("bare")
    for _ in range(count):
        await pay(**_CALL.model_dump(), key=key)


@asynccontextmanager
async def _commits(directory: Path) -> AsyncIterator[Calls]:
    """Intent and outcome as our journal writes them for such a call, and nothing around them."""
    clock = SystemClock()
    store = open_store(f"sqlite:///{directory / 'commits.db'}", clock)
    journal = Journal(store, mode="split")
    intent = _CALL.model_dump_json().encode()
    outcome = json.dumps(await pay(**_CALL.model_dump(), key=EffectKey("e" * 32))).encode()
    made = itertools.count()

    # A run that nobody executes, since such events belong to one.
    app, _ = _app(directory, policies=False, name="commits")
    client = Client(journal, clock, app.agents, app.version)
    handle = await client.start(_CALLER, Work(calls=0, call=_CALL))

    async def commit(kind: str, key: str, header: dict[str, str], body: bytes) -> None:
        draft = Draft(kind, key, header, body)
        answer = await journal.commit(Commit((Append(handle.run, (draft,), 0),)))
        assert isinstance(answer, Committed), answer

    async def calls(count: int) -> None:
        for number in itertools.islice(made, count):
            effect = f"{number:032x}"
            header = {"effect_key": effect, "tool": _CALLED, "tool_version": "1"}
            key = f"/1/{_CALLED}#{number}"
            await commit("effect_intended", key, header | {"recovery": "key"}, intent)
            await commit("effect_completed", key, {"effect_key": effect}, outcome)

    try:
        yield calls
    finally:
        await journal.close()
        store.close()


@asynccontextmanager
async def _through(
    directory: Path, *, policies: bool
) -> AsyncIterator[tuple[Calls, LocalExecutor]]:
    app, _ = _app(directory, policies=policies, name="with" if policies else "without")
    async with app.executor() as executor:

        async def calls(count: int) -> None:
            handle = await executor.start(_CALLER, Work(calls=count, call=_CALL))
            assert await handle.result() == count

        yield calls, executor


def _decision_ms(executor: LocalExecutor, count: int) -> float:
    """What judging alone takes of the processor: the policies and the grounds of values."""
    found = executor.executor.gateway
    call = Call(
        agent=_CALLER,
        tenant="default",
        tool=executor.app.tools[_CALLED],
        arguments=_CALL.model_dump(),
    )
    sources = Sources()
    sources.add("input", _CALL.model_dump())
    now_us = SystemClock().now_us()
    decided = found.judge(call, sources, now_us)
    assert decided.verdict == "allow", decided
    before = time.process_time()
    for _ in range(count):
        found.judge(call, sources, now_us)
    passed = time.process_time() - before
    return passed / count * 1e3


def _line(shown: Mapping[str, Sequence[Shown]]) -> str:
    return ", ".join(f"{name} {each[-1].processor_ms:.3f} ms" for name, each in shown.items())


def _outcome(
    options: argparse.Namespace, shown: Mapping[str, Sequence[Shown]], deciding: Sequence[float]
) -> Outcome:
    def over(name: str, *others: str) -> float:
        """By how much it takes more of the processor than the others together."""
        rounds = zip(shown[name], *(shown[other] for other in others), strict=True)
        return statistics.median(
            first.processor_ms - sum(each.processor_ms for each in rest) for first, *rest in rounds
        )

    bare_ms = statistics.median(each.processor_ms for each in shown[BARE])
    rows: list[list[str]] = []
    for name, each in shown.items():
        processor_ms = statistics.median(one.processor_ms for one in each)
        passed_ms = statistics.median(one.passed_ms for one in each)
        more = "" if name == BARE else f"{processor_ms - bare_ms:.3f} ms"
        rows.append([name, f"{processor_ms:.3f} ms", more, f"{passed_ms:.2f} ms"])
    decision_ms = statistics.median(deciding)
    rows.append(["the judgement alone", f"{decision_ms:.3f} ms", "", ""])
    overhead_ms = over(WITH, BARE, COMMITS)
    return Outcome(
        title=(
            f"a permitted call of one of {TOOLS} tools by one of {AGENTS} agents, {POLICIES} "
            f"policies, median of {options.rounds} rounds of {options.calls} calls"
        ),
        heads=["what", "processor a call", "over bare", "passed a call"],
        rows=rows,
        targets=[
            Target(
                name=f"processor time over bare, beside the two commits, {POLICIES} policies",
                wanted=f"at most {OVERHEAD_MS_MAX:g} ms",
                measured=f"{overhead_ms:.3f} ms ({over(WITH, BARE):.3f} ms with the commits)",
                met=overhead_ms <= OVERHEAD_MS_MAX,
            )
        ],
        answer={
            "calls": options.calls,
            "overhead_ms": overhead_ms,
            "overhead_with_commits_ms": over(WITH, BARE),
            "policies_ms": over(WITH, WITHOUT),
            "judgement_ms": list(deciding),
            "rounds": {name: [asdict(one) for one in each] for name, each in shown.items()},
        },
    )


def main() -> int:
    """Run the scenario from the command line."""
    parser = scenario_arguments("gateway", __doc__ or "", engines=["interlock"])
    parser.add_argument("--calls", type=int, default=400, help="calls of one measurement")
    parser.add_argument("--rounds", type=int, default=7)
    return play(parser.parse_args(), gateway)


if __name__ == "__main__":
    sys.exit(main())
