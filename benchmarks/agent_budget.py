"""64 runs race for one daily budget, are killed in flight, paused, topped up and go on: 50 times.

The money that a provider bills is read from the simulated model's ledger, and compared with the cap
whenever the runs have come to rest; the journal's own account is compared as well. Each repeat has
a store and a ledger of its own. The first executor is killed with requests in flight. The second
one comes to rest with runs that have finished and runs that ask a person about the account. Then
the budget is raised from another process, after that a person decides one of the tasks, and the
rest is raised until all have finished.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path

from benchmarks.agent_judge import billed_micro_usd, read_ended
from benchmarks.agent_worker import open_agent_worker
from benchmarks.model_agents import build_app
from benchmarks.model_server import open_model
from benchmarks.report import Target
from benchmarks.scenario import Outcome, play, say, scenario_arguments
from benchmarks.worker_process import Child
from interlock import Client
from interlock.journal.rows import BudgetRow, InboxRow, RunFilter
from interlock.testing.simulated_model import read_ledger

_POLL_SECONDS = 0.05
_STUCK_SECONDS = 60.0
_MICRO = 1_000_000
_ALL = 1_000_000
_MOST_ROUNDS = 20


@dataclass(kw_only=True)
class Race:
    """What one repeat has shown. Amounts are micro-USD.

    ``over``: the most that was billed above the cap at any rest; below 0 it stayed under it.
    """

    runs: int
    over: int = -(10**15)
    over_in_journal: int = -(10**15)
    unaccounted: int = 0
    paused: int = 0
    strays: int = 0
    held_at_rest: int = 0
    unfinished: int = 0
    wrong_answers: int = 0
    faults: int = 0
    in_flight_at_kill: int = 0
    raises: int = 0
    decisions: int = 0
    worst_call: int = 0
    rests: list[str] = field(default_factory=list)


async def agent_budget(options: argparse.Namespace, directory: Path) -> Outcome:
    """Race again and again."""
    draw = random.Random(options.seed)
    began = time.perf_counter()
    races: list[Race] = []
    for repeat in range(options.repeats):
        folder = directory / f"repeat-{repeat}"
        folder.mkdir()
        races.append(await _race(options, folder, draw))
        if (repeat + 1) % 5 == 0:
            say(f"{repeat + 1} repeats, {races[-1].rests}")
    return _outcome(options, races, time.perf_counter() - began)


async def _race(options: argparse.Namespace, folder: Path, draw: random.Random) -> Race:
    race = Race(runs=options.runs)
    ledger = folder / "model.jsonl"
    inputs = [f"ticket-{number}" for number in range(options.runs)]
    async with open_model("racer", ledger) as url:
        arguments = ["--model", url, "--day-usd", options.day_usd, "--concurrency", options.runs]
        async with open_agent_worker(folder, *arguments) as worker:
            await _begin(worker, inputs)
            await _until_spending(ledger, draw.randint(1, max(1, options.runs // 2)))
            await worker.kill()
        race.in_flight_at_kill = sum(e.outcome in ("open", "caller_left") for e in _read(ledger))
        async with open_agent_worker(folder, *arguments) as worker, _desk(folder) as client:
            await _begin(worker, inputs)
            await _pay_until_done(options, race, worker, client, ledger)
    ended = read_ended(folder)
    race.wrong_answers = sum(ended.results.get(name) != f"done: {name}" for name in inputs)
    race.faults = ended.faults
    return race


def _desk(folder: Path):  # noqa: ANN202
    return build_app(folder).client()


async def _begin(worker: Child, inputs: Sequence[str]) -> None:
    await worker.event("ready")
    await worker.ask("start", agent="racer", inputs=list(inputs))


async def _until_spending(ledger: Path, requests: int) -> None:
    """Wait until so many requests have left, or nothing more does."""
    began = time.perf_counter()
    while len(_read(ledger)) < requests and time.perf_counter() - began < _STUCK_SECONDS / 10:
        await asyncio.sleep(_POLL_SECONDS)


def _read(ledger: Path):  # noqa: ANN202
    return read_ledger(ledger) if ledger.exists() else ()


async def _pay_until_done(
    options: argparse.Namespace, race: Race, worker: Child, client: Client, ledger: Path
) -> None:
    for number in range(_MOST_ROUNDS):
        await _until_at_rest(worker)
        account, tasks = _look(race, client, ledger)
        if account is None or not tasks:
            break
        if number == 1:
            # A person answers one task; all that wait for the account go on.
            await client.decide(tasks[0].id, "top_up", value=str(options.day_usd), by="ann")
            race.decisions += 1
        else:
            amount = int(options.day_usd * _MICRO)
            raised = await client.raise_budget(account.account, amount, by="bob")
            race.raises += 1
            race.strays += len(raised.runs) != len({task.run for task in tasks})
        await _until_heard(client, tasks)
    counts = await worker.ask("counts")
    race.unfinished = race.runs - counts.get("completed", 0)


async def _until_heard(client: Client, tasks: Sequence[InboxRow]) -> None:
    """Wait until everybody who asked has heard that there is money, for a while."""
    began = time.perf_counter()
    while time.perf_counter() - began < _STUCK_SECONDS:
        if all(client.inbox_task(task.id).state != "open" for task in tasks):
            return
        await asyncio.sleep(_POLL_SECONDS)


def _look(race: Race, client: Client, ledger: Path) -> tuple[BudgetRow | None, list[InboxRow]]:
    """Compare what was billed and what is accounted with the cap, now that nothing moves."""
    store = client.journal.store
    account = next(iter(store.budgets(prefix="agent/racer/")), None)
    tasks = store.inbox(("open",), _ALL)
    if account is None:
        return None, tasks
    billed = billed_micro_usd(ledger)
    race.over = max(race.over, billed - account.limit)
    race.over_in_journal = max(race.over_in_journal, account.spent + account.held - account.limit)
    race.unaccounted = max(race.unaccounted, billed - account.spent)
    race.held_at_rest = max(race.held_at_rest, account.held)
    race.paused = max(race.paused, len(tasks))
    race.rests.append(f"{account.limit / _MICRO:g}: {account.spent / _MICRO:.2f} {len(tasks)}")
    for task in tasks:
        asked = client.question(task)
        race.strays += task.kind != "budget" or asked.get("account") != account.account
        race.worst_call = max(race.worst_call, int(str(asked.get("detail", "0")).split()[-3]))
    waiting = {row.id for row in _unfinished(client)}
    race.strays += len(waiting ^ {task.run for task in tasks})
    return account, tasks


def _unfinished(client: Client):  # noqa: ANN202
    states = ("queued", "running", "waiting", "parked")
    return client.journal.store.runs(RunFilter(states=states, limit=_ALL))


async def _until_at_rest(worker: Child) -> None:
    """Wait until every run is finished or has asked a person, or nothing has moved for long."""
    before, moved = None, time.perf_counter()
    while True:
        counts = await worker.ask("counts")
        going = sum(counts.get(state, 0) for state in ("queued", "running"))
        if not going and counts.get("waiting", 0) == counts["with a person"]:
            return
        if counts != before:
            before, moved = counts, time.perf_counter()
        elif time.perf_counter() - moved > _STUCK_SECONDS:
            say(f"nothing has moved for {_STUCK_SECONDS:.0f} s: {counts}")
            return
        await asyncio.sleep(_POLL_SECONDS)


def _outcome(options: argparse.Namespace, races: Sequence[Race], seconds: float) -> Outcome:
    heads = ["over all repeats", "least", "most"]
    shown = {
        "billed above the cap, USD": [race.over / _MICRO for race in races],
        "accounted above the cap, USD": [race.over_in_journal / _MICRO for race in races],
        "runs paused at a rest": [race.paused for race in races],
        "requests in flight at the kill": [race.in_flight_at_kill for race in races],
        "raises from another process": [race.raises for race in races],
        "decisions on a task": [race.decisions for race in races],
    }
    rows = [[name, f"{min(values):,.2f}", f"{max(values):,.2f}"] for name, values in shown.items()]
    worst = max(race.worst_call for race in races)
    title = (
        f"{options.repeats} repeats of {options.runs} runs on {options.day_usd} USD a day, "
        f"{seconds:.0f} s, seed {options.seed}; a call may cost {worst / _MICRO:.2f} USD"
    )
    answer = {
        "races": [asdict(race) for race in races],
        "seconds": seconds,
        "options": {name: str(value) for name, value in vars(options).items()},
    }
    return Outcome(
        title=title, heads=heads, rows=rows, targets=_targets(races, worst), answer=answer
    )


def _targets(races: Sequence[Race], worst: int) -> list[Target]:
    over = max(max(race.over, race.over_in_journal) for race in races)
    counted = {
        "billed and not accounted, micro-USD": max(race.unaccounted for race in races),
        "held when nothing moves, micro-USD": max(race.held_at_rest for race in races),
        "unfinished runs without a task that names the account": sum(r.strays for r in races),
        "runs unfinished after the top-ups": sum(race.unfinished for race in races),
        "answers that are not right": sum(race.wrong_answers for race in races),
        "faults of the journal": sum(race.faults for race in races),
    }
    killed = sum(race.in_flight_at_kill > 0 for race in races)
    paused = sum(race.paused > 0 and race.decisions > 0 for race in races)
    return [
        Target(
            name="spent above the cap",
            wanted=f"at most one call, {worst / _MICRO:.2f} USD",
            measured=f"{over / _MICRO:,.2f} USD",
            met=over <= worst,
        ),
        Target(
            name="repeats killed with requests in flight",
            wanted="most",
            measured=f"{killed} of {len(races)}",
            met=2 * killed > len(races),
        ),
        Target(
            name="repeats with pauses, a raise and a decision",
            wanted="all",
            measured=f"{paused} of {len(races)}",
            met=paused == len(races),
        ),
        *(
            Target(name=name, wanted="0", measured=f"{count:,}", met=count <= 0)
            for name, count in counted.items()
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenario from the command line."""
    parser = scenario_arguments("agent_budget", __doc__ or "", engines=("interlock",))
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--runs", type=int, default=64, help="that race for one budget")
    parser.add_argument("--day-usd", type=Decimal, default=Decimal(10), help="the cap")
    parser.add_argument("--seed", type=int, default=1)
    return play(parser.parse_args(arguments), agent_budget)


if __name__ == "__main__":
    sys.exit(main())
