"""300 SIGKILLs at random over at least 3,000 runs whose effects a separate server counts.

Each run makes one effect of each recovery. The executor is killed at random moments and started
again; in some lives it is frozen (SIGSTOP) exactly between the intent of an effect and its
sending, for longer than its lease, then killed or thawed; and while it is frozen a second
executor is started on its store, which must refuse. When the crashes are over, what is unknown is
answered truthfully, as a person would who looks at the other system, and everything must come to
its end. The counting server's books are the evidence (:mod:`chaos_judge`).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.chaos_judge import Acknowledged, Books, Tally, Verdict, judge
from benchmarks.engine import RECOVERIES, UnknownEffect
from benchmarks.processes import module_command
from benchmarks.report import Target
from benchmarks.scenario import Outcome, play, say, scenario_arguments
from benchmarks.worker import HELD_EXIT_CODE
from benchmarks.worker_process import Child, open_child, open_worker

_POLL_SECONDS = 0.02
_FROZEN_SECONDS = 10.0
_STUCK_SECONDS = 30.0
_ANSWERING_ROUNDS = 20
_PROGRESS_LIVES = 25


class CountingPart:
    """The harness's side of the counting server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.AsyncClient(base_url=url, timeout=60.0)

    async def arm(self, pid: int, recovery: str) -> None:
        """Freeze this process at its next effect of this recovery; pid 0 disarms."""
        response = await self._client.post("/freeze", params={"pid": pid, "recovery": recovery})
        response.raise_for_status()

    async def frozen(self) -> bool:
        """Whether a process was frozen since the last arming."""
        return (await self._client.get("/freeze")).json() is not None

    async def books(self) -> Books:
        """Everything that happened to the server."""
        rows = (await self._client.get("/effects")).json()
        return {
            (run, recovery): Tally(made=made, requested=requested, keys=keys)
            for run, recovery, made, requested, keys in rows
        }

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


@dataclass(kw_only=True)
class Campaign:
    """One chaos run: what was acknowledged and what was done to the executor."""

    options: argparse.Namespace
    store: Path
    counting: CountingPart
    draw: random.Random
    runs: dict[str, Acknowledged] = field(default_factory=dict)
    next_number: int = 0
    kills: int = 0
    frozen_then_thawed: int = 0
    frozen_then_killed: int = 0
    second_refused: int = 0
    second_accepted: int = 0

    def worker(self, role: str, *, backlog: int, quiet: bool = False):  # noqa: ANN201
        """An executor of the store."""
        options = self.options
        arguments: list[object] = ["--runs", backlog, "--first", self.next_number]
        arguments += ["--counting", self.counting.url, "--concurrency", options.concurrency]
        arguments += [
            "--lease-seconds",
            options.lease_seconds,
            "--settle-seconds",
            options.settle_seconds,
        ]
        return open_worker(role, options.engine, self.store, *arguments, quiet=quiet)

    def note(self, events: Sequence[dict[str, Any]]) -> None:
        """Remember the runs that were acknowledged."""
        for event in events:
            if event["event"] == "acknowledged":
                run = Acknowledged(run_id=event["run"], argument=event["argument"])
                self.runs[run.run_id] = run
                self.next_number = max(self.next_number, event["number"] + 1)

    def interventions(self) -> dict[str, int]:
        """What was done to the executor."""
        names = (
            "kills",
            "frozen_then_thawed",
            "frozen_then_killed",
            "second_refused",
            "second_accepted",
        )
        return {name: getattr(self, name) for name in names}


async def chaos(options: argparse.Namespace, directory: Path) -> Outcome:
    """Crash, let it come to rest, answer, judge."""
    store = directory / "store"
    store.mkdir()
    async with counting_server(options, directory) as counting:
        draw = random.Random(options.seed)
        campaign = Campaign(options=options, store=store, counting=counting, draw=draw)
        began = time.perf_counter()
        await _crash(campaign)
        verdict = await _settle(campaign)
        return _outcome(campaign, verdict, time.perf_counter() - began)


@asynccontextmanager
async def counting_server(
    options: argparse.Namespace, directory: Path
) -> AsyncIterator[CountingPart]:
    """The counting server in a process of its own, until the block ends."""
    arguments = ["--ledger", str(directory / "ledger.db"), "--seed", str(options.seed)]
    async with open_child(module_command("benchmarks.counting_server", *arguments)) as server:
        port = (await server.event("ready"))["port"]
        counting = CountingPart(f"http://127.0.0.1:{port}")
        try:
            yield counting
        finally:
            await counting.close()


async def _crash(campaign: Campaign) -> None:
    """Lives of the executor, each ended by SIGKILL, until both figures are reached."""
    options = campaign.options
    freezing = set(campaign.draw.sample(range(options.kills), min(options.freezes, options.kills)))
    while campaign.kills < options.kills or len(campaign.runs) < options.runs:
        async with campaign.worker("chaos", backlog=options.backlog) as worker:
            await worker.event("ready")
            if campaign.kills in freezing:
                await _freeze(campaign, worker)
            await asyncio.sleep(campaign.draw.uniform(0, options.life_seconds))
            await worker.kill()
            campaign.kills += 1
            campaign.note(await worker.rest())
        if campaign.kills % _PROGRESS_LIVES == 0:
            say(f"{campaign.kills} kills, {len(campaign.runs):,} runs acknowledged")


async def _freeze(campaign: Campaign, worker: Child) -> None:
    """Freeze the executor between an intent and its sending, and try a second one meanwhile."""
    await campaign.counting.arm(worker.pid, campaign.draw.choice(RECOVERIES))
    try:
        async with asyncio.timeout(_FROZEN_SECONDS):
            while not (await campaign.counting.frozen() and worker.stopped()):
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        await campaign.counting.arm(0, "key")
        raise RuntimeError(
            "no effect was made in time, so the executor could not be frozen"
        ) from None
    await _try_second(campaign)
    if campaign.draw.random() < 0.5:
        campaign.frozen_then_killed += 1
        return
    await asyncio.sleep(campaign.options.lease_seconds * 1.5)
    worker.send(signal.SIGCONT)
    campaign.frozen_then_thawed += 1


async def _try_second(campaign: Campaign) -> None:
    async with campaign.worker("serve", backlog=0, quiet=True) as second:
        started = asyncio.create_task(second.event("started"))
        ended = asyncio.create_task(second.wait())
        await asyncio.wait({started, ended}, return_when=asyncio.FIRST_COMPLETED)
        refused = ended.done() and ended.result() == HELD_EXIT_CODE
        if ended.done() and not refused and not started.done():
            raise RuntimeError(
                f"the second executor ended with {ended.result()}, not with a refusal"
            )
        campaign.second_refused += refused
        campaign.second_accepted += not refused
        await second.kill()
        await asyncio.gather(started, ended, return_exceptions=True)


async def _settle(campaign: Campaign) -> Verdict:
    """An undisturbed life: come to rest, be answered, come to the end; the verdict."""
    shown: dict[str, UnknownEffect] = {}
    async with (
        campaign.worker("chaos", backlog=0) as worker,
        open_worker("desk", campaign.options.engine, campaign.store) as desk,
    ):
        await worker.event("ready")
        await desk.event("ready")
        unknown = await _until_at_rest(worker, desk)
        before = await desk.ask("finished")
        say(f"at rest: {len(before):,} finished, {len(unknown):,} effects unknown")
        for _ in range(_ANSWERING_ROUNDS):
            if not unknown:
                break
            shown |= {each.effect_id: each for each in unknown}
            await _answer(campaign, desk, unknown)
            unknown = await _until_at_rest(worker, desk)
        finished = await desk.ask("finished")
    return judge(
        list(campaign.runs.values()),
        await campaign.counting.books(),
        finished=finished,
        finished_before_answers=before,
        unknown=list(shown.values()),
    )


async def _until_at_rest(worker: Child, desk: Child) -> list[UnknownEffect]:
    """The unknown effects, once every unfinished run waits for a person or nothing moves."""
    before, moved = None, time.perf_counter()
    while True:
        counts = await worker.ask("counts")
        unknown = [UnknownEffect(**each) for each in await desk.ask("unknown")]
        people = len({each.run_id for each in unknown})
        if counts["active"] == 0 and counts["waiting"] <= people:
            return unknown
        if counts != before:
            before, moved = counts, time.perf_counter()
        elif time.perf_counter() - moved > _STUCK_SECONDS:
            say(f"nothing has moved for {_STUCK_SECONDS:.0f} s: {counts}, {people} with a person")
            return unknown
        await asyncio.sleep(10 * _POLL_SECONDS)


async def _answer(campaign: Campaign, desk: Child, unknown: Sequence[UnknownEffect]) -> None:
    """Answer each unknown effect with what the counting server knows."""
    books = await campaign.counting.books()
    for effect in unknown:
        tally = books.get((effect.argument, effect.recovery))
        await desk.ask(
            "resolve", effect=effect.effect_id, happened=tally is not None and tally.made > 0
        )


def _outcome(campaign: Campaign, verdict: Verdict, seconds: float) -> Outcome:
    heads = [
        "recovery",
        "once",
        "doubled",
        "missing",
        "sent again",
        "several keys",
        "unknown",
        "answered no",
        "kept",
    ]
    rows = [
        [
            each.recovery,
            f"{each.once:,}",
            f"{each.doubled:,}" + (" (harmless)" if each.recovery == "repeatable" else ""),
            f"{each.missing:,}",
            f"{each.requested_again:,}",
            f"{each.several_keys:,}",
            f"{each.unknown:,}",
            f"{each.answered_not_made:,}",
            "yes" if each.kept else "NO",
        ]
        for each in verdict.recoveries
    ]
    done = campaign.interventions()
    title = (
        f"{campaign.options.engine}, {seconds:.0f} s, seed {campaign.options.seed}: "
        f"{verdict.acknowledged:,} runs, {done['kills']} kills, "
        f"{done['frozen_then_thawed']} frozen and thawed, "
        f"{done['frozen_then_killed']} frozen and killed"
    )
    answer = {"verdict": verdict.to_json(), "interventions": done, "seconds": seconds}
    answer["options"] = {name: str(value) for name, value in vars(campaign.options).items()}
    return Outcome(
        title=title, heads=heads, rows=rows, targets=_targets(campaign, verdict), answer=answer
    )


def _targets(campaign: Campaign, verdict: Verdict) -> list[Target]:
    doubled = {
        each.recovery: each.doubled for each in verdict.recoveries if each.recovery != "repeatable"
    }
    missing = sum(each.missing for each in verdict.recoveries)
    refused, accepted = campaign.second_refused, campaign.second_accepted
    return [
        _none("runs lost", verdict.lost),
        _none("unfinished without a visible unknown", verdict.hidden),
        *(_none(f"effects doubled, {recovery}", count) for recovery, count in doubled.items()),
        _none("effects missing", missing),
        Target(
            name="a second executor on a held store",
            wanted="always refused",
            measured=f"{refused} refused, {accepted} accepted",
            met=accepted == 0 if refused + accepted else None,
        ),
    ]


def _none(name: str, count: int) -> Target:
    return Target(name=name, wanted="0", measured=f"{count:,}", met=count == 0)


def main() -> int:
    """Run the scenario from the command line."""
    parser = scenario_arguments("chaos", __doc__ or "")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3_000, help="at least as many are acknowledged")
    parser.add_argument(
        "--freezes", type=int, default=20, help="lives with a freeze, among the kills"
    )
    parser.add_argument(
        "--life-seconds", type=float, default=1.0, help="the longest life of the executor"
    )
    parser.add_argument("--backlog", type=int, default=40, help="runs kept unfinished")
    parser.add_argument("--concurrency", type=int, default=20, help="runs at once")
    parser.add_argument("--lease-seconds", type=float, default=2.0)
    parser.add_argument(
        "--settle-seconds", type=float, default=1.0, help="of the tool with the lookup"
    )
    parser.add_argument("--seed", type=int, default=1)
    return play(parser.parse_args(), chaos)


if __name__ == "__main__":
    sys.exit(main())
