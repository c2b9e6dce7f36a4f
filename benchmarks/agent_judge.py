"""The verdict on runs that ask models, from the ledgers of the model and of the counting server.

The simulated model names each answer after the whole request that it answers, and the journal keeps
that name with the answer. So each entry of the ledger is found again in the journal, or is known
not to be there.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.chaos_judge import Books
from benchmarks.model_agents import cost_micro_usd
from interlock.base.identifier import derived_id
from interlock.journal import open_store
from interlock.journal.event import Entry as JournalEntry
from interlock.journal.rows import BudgetRow, RunFilter
from interlock.testing.simulated_model import Entry, read_ledger

__all__ = ["Ended", "Paid", "Verdict", "billed_micro_usd", "judge", "paid", "read_ended"]

_ALL = 10_000_000
_RECOVERIES = ("key", "lookup", "repeatable")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a store has after all: results by input, and when each model's answer was recorded."""

    results: Mapping[str, object] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)
    recorded_us: Mapping[str, int] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    budgets: Sequence[BudgetRow] = ()
    faults: int = 0


@dataclass(frozen=True, kw_only=True)
class Paid:
    """What the ledger shows beside the journal.

    ``twice``: answers sent although one to the same request was on disk. ``unrecorded``: answers
    that were paid and lost with the process, which no protocol can prevent. ``strange``: recorded
    answers that the model never gave.
    """

    answers: int
    requests: int
    twice: int
    unrecorded: int
    strange: int
    distinct: frozenset[str] = field(repr=False, default=frozenset())


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The whole verdict over a disturbed store; the undisturbed one is the measure."""

    runs: int
    lost: int
    other_answers: int
    other_requests: int
    paid_twice: int
    unrecorded: int
    strange: int
    faults: int
    made: Mapping[str, int]
    doubled: Mapping[str, int]
    missing: Mapping[str, int]
    several_keys: Mapping[str, int]
    sent_again: Mapping[str, int]

    def to_json(self) -> dict[str, object]:
        """The fields as a JSON object."""
        return asdict(self)


def read_ended(store_folder: Path) -> Ended:
    """Read a store that nobody executes any more; ``faults`` are those of its chains and tables."""
    store = open_store(f"sqlite:///{store_folder.absolute() / 'interlock.db'}")
    try:
        results: dict[str, object] = {}
        recorded: dict[str, int] = {}
        events: Counter[str] = Counter()
        for row in store.runs(RunFilter(limit=_ALL)):
            entries = store.read(row.id)
            events.update(entry.event.kind for entry in entries)
            recorded |= dict(_answers_recorded(entries))
            ended = store.entry(row.result_position) if row.result_position else None
            result = json.loads(ended.body) if ended is not None and ended.body else None
            given = json.loads(entries[0].body or b"null")
            results[str(given)] = result if row.state == "completed" else {"state": row.state}
        return Ended(
            results=results,
            states=store.run_counts(),
            recorded_us=recorded,
            events=events,
            budgets=store.budgets(limit=_ALL),
            faults=len([*store.verify(), *store.rebuild()]),
        )
    finally:
        store.close()


def _answers_recorded(entries: Iterable[JournalEntry]) -> Iterable[tuple[str, int]]:
    for entry in entries:
        if entry.event.kind == "model_answered":
            response = json.loads(entry.body or b"{}")["response"]
            yield response["provider_response_id"], entry.event.at_us


def paid(ledger: Path, recorded_us: Mapping[str, int]) -> Paid:
    """Compare a model's ledger with the answers that a journal has."""
    entries = read_ledger(ledger)
    answered: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.answered:
            answered[derived_id("chatcmpl", entry.request_digest)].append(entry)
    twice = unrecorded = 0
    for name, given in answered.items():
        at_us = recorded_us.get(name)
        late = [each for each in given if at_us is not None and each.received_us > at_us]
        twice += len(late)
        unrecorded += len(given) - len(late) - (at_us is not None)
    return Paid(
        answers=sum(map(len, answered.values())),
        requests=len(entries),
        twice=twice,
        unrecorded=unrecorded,
        strange=sum(name not in answered for name in recorded_us),
        distinct=frozenset(answered),
    )


def billed_micro_usd(ledger: Path) -> int:
    """What the provider bills for everything in the ledger."""
    return sum(
        cost_micro_usd(entry.billed_prompt_tokens, entry.billed_completion_tokens)
        for entry in read_ledger(ledger)
    )


def judge(inputs: Sequence[str], ended: Ended, measure: Ended, paid: Paid, books: Books) -> Verdict:
    """The verdict on the runs of these inputs."""
    tallies = {
        recovery: [tally for name in inputs if (tally := books.get((name, recovery))) is not None]
        for recovery in _RECOVERIES
    }
    return Verdict(
        runs=len(inputs),
        lost=sum(name not in ended.results for name in inputs),
        other_answers=sum(ended.results.get(name) != measure.results[name] for name in inputs),
        other_requests=len(paid.distinct ^ frozenset(measure.recorded_us)),
        paid_twice=paid.twice,
        unrecorded=paid.unrecorded,
        strange=paid.strange,
        faults=ended.faults,
        made={each: sum(t.made > 0 for t in found) for each, found in tallies.items()},
        doubled={each: sum(t.made > 1 for t in found) for each, found in tallies.items()},
        missing={
            each: len(inputs) - sum(t.made > 0 for t in found) for each, found in tallies.items()
        },
        several_keys={each: sum(t.keys > 1 for t in found) for each, found in tallies.items()},
        sent_again={each: sum(t.requested > 1 for t in found) for each, found in tallies.items()},
    )
