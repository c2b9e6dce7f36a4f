"""SIGKILLs at random in 300 runs of an agent: nothing recorded is paid twice, nothing is doubled.

Each run asks a model four times or more and calls five tools: reads, and writes of the recoveries
`key`, `lookup` and `repeatable`, several of them in one answer; its output does not fit the first
time; every fifth run falls back to another model, and every seventh meets a server in trouble. The
model and the counting server are processes of their own, whose ledgers are the evidence
(:mod:`agent_judge`). The same runs without a kill are the measure.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agent_judge import Ended, Verdict, judge, paid, read_ended
from benchmarks.agent_worker import open_agent_worker
from benchmarks.chaos import counting_server
from benchmarks.chaos_judge import Books
from benchmarks.model_server import open_model
from benchmarks.report import Target
from benchmarks.scenario import Outcome, play, say, scenario_arguments
from benchmarks.worker_process import Child

_POLL_SECONDS = 0.2
_STUCK_SECONDS = 90.0
_PROGRESS_KILLS = 10
_UNFINISHED = ("queued", "running", "waiting", "parked")


@dataclass(frozen=True, kw_only=True)
class Played:
    """What became of all runs, how often they were killed, and the two ledgers."""

    ended: Ended
    books: Books
    ledger: Path
    kills: int
    seconds: float


async def agent_chaos(options: argparse.Namespace, directory: Path) -> Outcome:
    """Play the runs undisturbed, then under fire, and compare."""
    inputs = [f"ticket-{number}" for number in range(1, options.runs + 1)]
    measure = await _play(options, directory / "undisturbed", inputs, kills=0)
    say(f"undisturbed: {measure.seconds:.0f} s")
    disturbed = await _play(options, directory / "disturbed", inputs, kills=options.kills)
    found = paid(disturbed.ledger, disturbed.ended.recorded_us)
    verdict = judge(inputs, disturbed.ended, measure.ended, found, disturbed.books)
    return _outcome(options, measure, disturbed, verdict)


async def _play(
    options: argparse.Namespace, folder: Path, inputs: Sequence[str], *, kills: int
) -> Played:
    folder.mkdir()
    ledger = folder / "model.jsonl"
    began = time.perf_counter()
    async with open_model("clerk", ledger) as url, counting_server(options, folder) as counting:
        arguments = ["--model", url, "--counting", counting.url]
        arguments += ["--concurrency", options.concurrency]
        killed = await _crash(options, folder, arguments, inputs, kills) if kills else 0
        async with open_agent_worker(folder, *arguments) as worker:
            await _begin(worker, inputs)
            await _until_at_rest(worker)
        books = await counting.books()
    return Played(
        ended=read_ended(folder),
        books=books,
        ledger=ledger,
        kills=killed,
        seconds=time.perf_counter() - began,
    )


async def _begin(worker: Child, inputs: Sequence[str]) -> None:
    await worker.event("ready")
    await worker.ask("start", agent="clerk", inputs=list(inputs))


async def _crash(
    options: argparse.Namespace,
    folder: Path,
    arguments: Sequence[object],
    inputs: Sequence[str],
    kills: int,
) -> int:
    """Lives of the executor, each ended by SIGKILL at random; how many, while runs were going."""
    draw = random.Random(options.seed)
    for killed in range(kills):
        async with open_agent_worker(folder, *arguments) as worker:
            await _begin(worker, inputs)
            counts = await worker.ask("counts")
            unfinished = sum(counts.get(state, 0) for state in _UNFINISHED)
            if not unfinished:
                return killed
            await asyncio.sleep(draw.uniform(0, options.life_seconds))
            await worker.kill()
        if (killed + 1) % _PROGRESS_KILLS == 0:
            say(f"{killed + 1} kills, {unfinished} runs unfinished before the last")
    return kills


async def _until_at_rest(worker: Child) -> None:
    """Wait until every run is finished, or nothing has moved for long."""
    before, moved = None, time.perf_counter()
    while True:
        counts = await worker.ask("counts")
        if not any(counts.get(state, 0) for state in _UNFINISHED):
            return
        if counts != before:
            before, moved = counts, time.perf_counter()
        elif time.perf_counter() - moved > _STUCK_SECONDS:
            say(f"nothing has moved for {_STUCK_SECONDS:.0f} s: {counts}")
            return
        await asyncio.sleep(_POLL_SECONDS)


def _outcome(
    options: argparse.Namespace, measure: Played, disturbed: Played, verdict: Verdict
) -> Outcome:
    heads = ["recovery", "made", "doubled", "missing", "sent again", "several keys"]
    rows = [
        [
            each,
            f"{verdict.made[each]:,}",
            f"{verdict.doubled[each]:,}" + (" (harmless)" if each == "repeatable" else ""),
            f"{verdict.missing[each]:,}",
            f"{verdict.sent_again[each]:,}",
            f"{verdict.several_keys[each]:,}",
        ]
        for each in verdict.made
    ]
    events = disturbed.ended.events
    title = (
        f"{verdict.runs:,} runs, {disturbed.kills} kills, {disturbed.seconds:.0f} s, seed "
        f"{options.seed}: {events.get('model_answered', 0):,} answers recorded, "
        f"{verdict.unrecorded} paid and lost with the process, "
        f"{events.get('model_attempt_failed', 0):,} attempts failed"
    )
    answer = {
        "verdict": verdict.to_json(),
        "kills": disturbed.kills,
        "seconds": disturbed.seconds,
        "undisturbed_seconds": measure.seconds,
        "events": dict(events),
        "states": dict(disturbed.ended.states),
        "options": {name: str(value) for name, value in vars(options).items()},
    }
    targets = _targets(options, measure, disturbed, verdict)
    return Outcome(title=title, heads=heads, rows=rows, targets=targets, answer=answer)


def _targets(
    options: argparse.Namespace, measure: Played, disturbed: Played, verdict: Verdict
) -> list[Target]:
    completed = measure.ended.states.get("completed", 0)
    counted = {
        "runs lost": verdict.lost,
        "answers other than undisturbed": verdict.other_answers,
        "requests other than undisturbed": verdict.other_requests,
        "answers paid again once recorded": verdict.paid_twice,
        "answers recorded that were never given": verdict.strange,
        "effects doubled, key": verdict.doubled["key"],
        "effects doubled, lookup": verdict.doubled["lookup"],
        "effects missing": sum(verdict.missing.values()),
        "effects under several keys": sum(verdict.several_keys.values()),
        "faults of the journal": verdict.faults,
    }
    return [
        Target(
            name="runs completed when undisturbed",
            wanted=f"{verdict.runs:,}",
            measured=f"{completed:,}",
            met=completed == verdict.runs,
        ),
        Target(
            name="kills while runs were going",
            wanted=f"at least {options.kills_min}",
            measured=str(disturbed.kills),
            met=disturbed.kills >= options.kills_min,
        ),
        *(
            Target(name=name, wanted="0", measured=f"{count:,}", met=count == 0)
            for name, count in counted.items()
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenario from the command line."""
    parser = scenario_arguments("agent_chaos", __doc__ or "", engines=("interlock",))
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=100, help="at most as many")
    parser.add_argument("--kills-min", type=int, default=40, help="fewer prove too little")
    parser.add_argument("--life-seconds", type=float, default=1.5, help="the longest life")
    parser.add_argument("--concurrency", type=int, default=20, help="runs at once")
    parser.add_argument("--seed", type=int, default=1)
    return play(parser.parse_args(arguments), agent_chaos)


if __name__ == "__main__":
    sys.exit(main())
