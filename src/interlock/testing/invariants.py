"""The invariants of the design, judged from the journal and the external system's truth alone.

Nothing here asks the engine how it did. Each violation begins with the invariant's number:

1. An acknowledged run is never lost.
2. A completed effect is never made again.
3. An unknown effect whose recovery is `never` is not silently retried, and a person sees it.
4. Every unfinished run has a wake-up or an owner.
5. Events of a stream are gapless, and only the current epoch appends to a run.
6. Replaying a journal makes no external call and reaches the same state.
10. A decision is applied at most once; no signal is lost or applied twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from interlock.app import App
from interlock.journal.event import Entry
from interlock.journal.rows import RunFilter, RunRow
from interlock.journal.store import Store
from interlock.testing.external import ExternalSystem, Operation, Sending
from interlock.testing.interpreter import Stage
from interlock.testing.people import Acknowledged
from interlock.testing.program import Program
from interlock.testing.replaying import replay_problems

__all__ = ["Evidence", "examine", "examine_rest"]

_ENDS: Final = frozenset({"run_completed", "run_failed", "run_cancelled"})
_FINISHED: Final = frozenset({"completed", "failed", "cancelled"})
_LONG_AGO_US: Final = 100_000
# Events after which an operation has its outcome: there is one for each operation.
_OUTCOMES: Final = frozenset(
    {
        "child_completed",
        "child_started",
        "effect_completed",
        "effect_failed",
        "read_completed",
        "read_failed",
        "signal_received",
        "step_completed",
        "step_failed",
        "task_decided",
        "task_expired",
        "timer_fired",
        "wait_timed_out",
    }
)


@dataclass(kw_only=True)
class Evidence:
    """All that an examination looks at. `thorough`: fold and verify the whole journal as well."""

    store: Store
    external: ExternalSystem
    promised: Acknowledged
    program: Program
    app: App
    stage: Stage
    thorough: bool = True
    rows: list[RunRow] = field(default_factory=list[RunRow])
    entries: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])

    def __post_init__(self) -> None:
        self.rows = self.store.runs(RunFilter(limit=1000))
        self.entries = {row.id: self.store.read(row.id) for row in self.rows}

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len(self.rows)

    @property
    def events(self) -> int:
        """How many events the runs have."""
        return sum(map(len, self.entries.values()))

    def notes(self, run: str) -> list[str]:
        """The last recorded state of a run."""
        for entry in reversed(self.entries[run]):
            if entry.event.kind == "state_changed":
                return json.loads(entry.body or b"{}")["notes"]
        return []


def examine(evidence: Evidence) -> list[str]:
    """Every violation that a finished simulation left behind."""
    checks = (_runs, _streams, _outcomes, _effects, _visible, _mail, _decisions, _replays, _store)
    return [problem for check in checks for problem in check(evidence)]


def examine_rest(store: Store) -> list[str]:
    """Violations that are seen while no process runs: what would wake the unfinished runs?"""
    return [*_wake_ups(store), *_unseen_effects(store)]


def _wake_ups(store: Store) -> Iterator[str]:
    for row in store.runs(RunFilter(states=("waiting",), limit=1000)):
        if row.wake_at_us is None and not row.waits:
            yield f"4: {row.id} waits for nothing, without a wake-up or an owner"
        timers = [wait["due_at_us"] for wait in row.waits if wait["due_at_us"] is not None]
        if timers and (row.wake_at_us is None or row.wake_at_us > min(timers)):
            yield f"4: {row.id} waits until {min(timers)} and wakes at {row.wake_at_us}"
        if row.wake_at_us is None and _wanted_mail(store, row):
            yield f"4: {row.id} waits for mail that is there, without a wake-up"


def _wanted_mail(store: Store, row: RunRow) -> bool:
    wanted = {wait["what"] for wait in row.waits}
    return any(
        mail.kind == "cancel" or f"signal {mail.name!r}" in wanted for mail in store.mail(row.id)
    )


def _unseen_effects(store: Store) -> Iterator[str]:
    asked = {row.run for row in store.inbox(("open", "decided")) if row.kind == "effect"}
    for effect in store.effects(("unknown",)):
        row = store.run(effect.run)
        waits = row is not None and row.state == "waiting"
        if waits and effect.recovery == "never" and effect.run not in asked:
            yield f"3: nobody is asked about the unknown effect {effect.effect_key}"


# 1 and 4.


def _runs(evidence: Evidence) -> Iterator[str]:
    known = {row.id for row in evidence.rows}
    for run in evidence.promised.runs - known:
        yield f"1: the acknowledged run {run} is lost"
    roots = [row.id for row in evidence.rows if not row.parent]
    if len(roots) > 1:
        yield f"1: one idempotency key started {len(roots)} runs"
    for row in evidence.rows:
        if row.state == "parked":
            yield f"6: {row.id} is parked: {_reason(evidence, row)}"
        if evidence.program.settled and row.state in ("failed", "cancelled"):
            yield f"6: {row.id} is {row.state} in a settled program: {_reason(evidence, row)}"


def _reason(evidence: Evidence, row: RunRow) -> str:
    bodies = [e.body for e in evidence.entries[row.id] if e.event.position == row.result_position]
    return f"{row.reason} {bodies[0].decode() if bodies and bodies[0] else ''}"


# 5.


def _streams(evidence: Evidence) -> Iterator[str]:
    for run, entries in evidence.entries.items():
        # A run that is started where a place is free is queued and claimed in one commit.
        epoch, ended = entries[0].event.epoch, ""
        for number, entry in enumerate(entries, 1):
            event = entry.event
            if event.seq != number:
                yield f"5: {run} has event {event.seq} where {number} is expected"
            epoch += event.kind == "run_claimed" and (number, epoch) != (2, 1)
            if event.epoch != epoch:
                yield f"5: {run} has {event.kind} of epoch {event.epoch} after {epoch} claims"
            if ended and event.kind != "state_changed":
                yield f"5: {run} has {event.kind} after {ended}"
            ended = event.kind if event.kind in _ENDS else ended


def _outcomes(evidence: Evidence) -> Iterator[str]:
    for run, entries in evidence.entries.items():
        counts: Counter[tuple[int, str]] = Counter()
        generation = 1
        for entry in entries:
            generation += entry.event.kind == "run_continued"
            if entry.event.kind in _OUTCOMES:
                counts[generation, entry.event.key] += 1
        for (generation, key), count in counts.items():
            if count > 1:
                yield f"2: {run} has {count} outcomes of {key} in generation {generation}"


# 2 and 3.


def _effects(evidence: Evidence) -> Iterator[str]:
    by_key: dict[str, list[Entry]] = {}
    for entries in evidence.entries.values():
        for entry in entries:
            if "effect_key" in entry.event.header:
                by_key.setdefault(entry.event.header["effect_key"], []).append(entry)
    for operation in evidence.external.operations.values():
        sendings = [s for s in evidence.external.sendings if s.name == operation.name]
        keys = {sending.effect_key for sending in sendings}
        if len(keys) > 1:
            yield f"2: {operation.name} was sent under {len(keys)} keys"
        recorded = sorted(
            (entry for key in keys for entry in by_key.get(key, [])),
            key=lambda entry: entry.event.position,
        )
        yield from _sent_with_leave(operation, sendings, recorded)
        yield from _made_as_recorded(operation, recorded)


def _sent_with_leave(
    operation: Operation, sendings: Sequence[Sending], recorded: Sequence[Entry]
) -> Iterator[str]:
    """Each sending needs an intent of its own on disk, and leave when it is not the first."""
    before = 0
    for number, sending in enumerate(sendings, 1):
        known = [e for e in recorded if e.event.position <= sending.position]
        if sum(e.event.kind == "effect_intended" for e in known) < number:
            yield f"2: sending {number} of {operation.name} had no intent on disk"
        if any(_is_settled(e) for e in known):
            yield f"2: {operation.name} was sent again after its outcome was recorded"
        since = [e for e in known if e.event.position > before]
        if number > 1 and not any(_gives_leave(e, operation.recovery) for e in since):
            invariant = 3 if operation.recovery == "never" else 2
            yield f"{invariant}: sending {number} of {operation.name} had no leave"
        before = sending.position


def _is_settled(entry: Entry) -> bool:
    event = entry.event
    if event.kind == "effect_resolved":
        return event.header["verdict"] != "not_happened"
    return event.kind in ("effect_completed", "effect_failed")


def _gives_leave(entry: Entry, recovery: str) -> bool:
    event = entry.event
    if event.kind == "effect_unknown":
        return recovery in ("key", "repeatable")
    # Looked up, told by a thread that answered late, or by a person.
    found_out = event.kind in ("effect_looked_up", "effect_resolved")
    by_verdict = found_out and event.header.get("verdict") == "not_happened"
    return event.kind == "effect_attempt_failed" or by_verdict


def _made_as_recorded(operation: Operation, recorded: Sequence[Entry]) -> Iterator[str]:
    made = len(operation.made)
    if made > 1 and operation.recovery != "repeatable":
        yield f"2: {operation.name} ({operation.recovery}) was made {made} times"
    for entry in recorded:
        event = entry.event
        happened = event.kind == "effect_completed" or event.header.get("verdict") == "happened"
        if happened and not made:
            yield f"2: {operation.name} is recorded as made and never was"
        if event.kind == "effect_failed" and made:
            yield f"2: {operation.name} is recorded as not made and was: {event.header}"
    if made and not recorded:
        yield f"2: {operation.name} was made and the journal does not know it"


def _visible(evidence: Evidence) -> Iterator[str]:
    states = {row.id: row.state for row in evidence.rows}
    for effect in evidence.store.effects(("intended", "unknown")):
        if states[effect.run] in _FINISHED:
            yield f"3: {effect.run} is finished and its effect {effect.key} is {effect.state}"
    for task in evidence.store.inbox(("open",)):
        if states[task.run] in _FINISHED:
            yield f"3: {task.run} is finished and its inbox task {task.key} is still open"


# 10.


def _mail(evidence: Evidence) -> Iterator[str]:
    taken: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    for row in evidence.rows:
        for entry in evidence.entries[row.id]:
            if "takes" in entry.event.header:
                taken[entry.event.header["takes"]] += 1
        sent.update(entry.event.key for entry in evidence.store.read(f"mail/{row.id}"))
    yield from (f"10: message {m} was taken {n} times" for m, n in taken.items() if n > 1)
    yield from (f"10: message {m} was sent {n} times" for m, n in sent.items() if n > 1)
    noted = Counter(n for row in evidence.rows for n in evidence.notes(row.id))
    for note, count in noted.items():
        if note.startswith("signal t") and count > 1:
            yield f"10: {note} was applied {count} times"
    for token, run in evidence.promised.signals.items():
        message = f"{run}:{token}"
        if not sent[message]:
            yield f"10: the acknowledged signal {token} to {run} is lost"
        if taken[message] and not noted[f"signal {token}"]:
            yield from _swallowed(evidence, run, message)


def _swallowed(evidence: Evidence, run: str, message: str) -> Iterator[str]:
    """A signal was taken and the code never got it: right only when nobody waited any more."""
    entries = evidence.entries[run]
    takings = [e.event for e in entries if e.event.header.get("message") == message]
    last = takings[-1]
    for entry in entries:
        event = entry.event
        late = event.kind == "wait_timed_out" and event.at_us > last.at_us + _LONG_AGO_US
        if late and f"/wait:{last.header['signal']}#" in event.key:
            yield f"10: signal {message} was taken by {last.key}, and {event.key} never got it"


def _decisions(evidence: Evidence) -> Iterator[str]:
    for task, deciders in evidence.promised.decisions.items():
        row = evidence.store.inbox_task(task)
        if row is None:
            yield f"10: the decided inbox task {task} is lost"
        elif row.kind != "effect" and len(deciders) > 1:
            yield f"10: inbox task {task} was decided {len(deciders)} times: {deciders}"
        elif row.kind != "effect":
            yield from _applied_as_decided(evidence, row.run, task, row.decided_by)


def _applied_as_decided(evidence: Evidence, run: str, task: str, by: str) -> Iterator[str]:
    applied: list[dict[str, Any]] = [
        dict(entry.event.header)
        for entry in evidence.entries[run]
        if entry.event.kind == "task_decided" and entry.event.header["task"] == task
    ]
    if len(applied) > 1:
        yield f"10: the decision of {task} was applied {len(applied)} times"
    if applied and applied[0]["by"] != by:
        yield f"10: {task} was decided by {by} and applied as by {applied[0]['by']}"


# 6, and the journal as a whole.


def _replays(evidence: Evidence) -> Iterator[str]:
    for row in evidence.rows:
        if row.state in _FINISHED:
            yield from replay_problems(evidence.store, row, evidence.app, evidence.stage)


def _store(evidence: Evidence) -> Iterator[str]:
    if not evidence.thorough:
        return
    yield from (f"5: verify: {problem}" for problem in evidence.store.verify())
    yield from (f"5: rebuild: {problem}" for problem in evidence.store.rebuild())
