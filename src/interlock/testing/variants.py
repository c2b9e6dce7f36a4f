"""Deliberately broken engines. A simulator that does not catch them proves nothing.

Each is made by putting a broken part in the place of the real one (see `variant.Variant`): a store
that leaves out a guard, a session that forgets to record, a tool that is declared wrongly. The
engine itself is never patched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, Final

from interlock.errors import StorageError
from interlock.journal.event import Draft, Entry
from interlock.journal.guard import (
    Append,
    Commit,
    Committed,
    Guard,
    NewMessage,
    NoMailSince,
    Result,
    TaskOpen,
    UniqueKey,
)
from interlock.journal.journal import Done
from interlock.orchestrator.calls import EffectOperation
from interlock.orchestrator.history import History
from interlock.orchestrator.operation import UNSET, Operation
from interlock.orchestrator.session import Session
from interlock.testing.crashing import SimulatedStore
from interlock.testing.latency import SimulatedJournal
from interlock.testing.variant import Variant
from interlock.tools.effects import EffectKey
from interlock.tools.tool import Tool

__all__ = ["VARIANTS"]


# Stores that leave something out.


class _EpochBlindStore(SimulatedStore):
    """Takes events from whoever sends them."""

    def stage(self, items: Sequence[Commit], *, patient: bool = True) -> list[Result]:
        return super().stage([self._unfenced(item) for item in items], patient=patient)

    def _unfenced(self, item: Commit) -> Commit:
        return item._replace(appends=[self._current(append) for append in item.appends])

    def _current(self, append: Append) -> Append:
        head = self.head(append.stream)
        if head is None or append.epoch is None:
            return append
        return append._replace(epoch=head.epoch, after_seq=None)


def _without(kind: type[Guard]) -> type[SimulatedStore]:
    class UnguardedStore(SimulatedStore):
        """Leaves out one kind of guard."""

        def stage(self, items: Sequence[Commit], *, patient: bool = True) -> list[Result]:
            """As the real one, with fewer guards."""
            unguarded = [
                item._replace(guards=[g for g in item.guards if not isinstance(g, kind)])
                for item in items
            ]
            return super().stage(unguarded, patient=patient)

    return UnguardedStore


class _TornStore(SimulatedStore):
    """Writes what a commit says to other streams in a transaction of its own, right after it."""

    def commit(self, items: Sequence[Commit]) -> list[Result]:
        results = super().commit([item._replace(appends=item.appends[:1]) for item in items])
        accepted = zip(items, results, strict=True)
        rest = [Commit(i.appends[1:]) for i, r in accepted if _has_more(i, r)]
        others = iter(super().commit(rest) if rest else ())
        return [
            _joined(r, next(others)) if _has_more(i, r) else r
            for i, r in zip(items, results, strict=True)
        ]


def _has_more(item: Commit, result: Result) -> bool:
    return len(item.appends) > 1 and isinstance(result, Committed)


def _joined(first: Result, rest: Result) -> Result:
    if isinstance(first, Committed) and isinstance(rest, Committed):
        return first._replace(places=[*first.places, *rest.places])
    return first


class _HastyJournal(SimulatedJournal):
    """Answers before the group is on disk, and writes it a little later."""

    def submit(self, item: Commit, done: Done) -> None:
        heads = [self.store.head(append.stream) for append in item.appends]
        if item.guards or any(a.raise_epoch or a.after_seq is not None for a in item.appends):
            super().submit(item, done)
            return
        places = [(0, head.seq + 1 if head else 1) for head in heads]
        loop = asyncio.get_running_loop()
        loop.call_soon(done, Committed(places, self._now_us()))
        loop.call_later(0.002, super().submit, item, _nobody)

    def _now_us(self) -> int:
        return 1_767_225_600_000_000


def _nobody(_: Result | StorageError) -> None:
    """Nobody waits for this answer any more."""


# Sessions that break their word.


class _Forgetful(Session):
    """Delivers outcomes of `kinds` to the code without recording them."""

    kinds: frozenset[str] = frozenset()

    def record(self, operation: Operation, draft: Draft, **how: Any) -> None:
        if draft.kind not in self.kinds:
            super().record(operation, draft, **how)
            return
        self._uncommitted += 1
        answer = Committed([(0, 0)], self.clock.now_us())
        value = how.get("value", UNSET)
        self.host.call_soon(self._recorded, operation, draft, value, (), answer)


class _ResultNotRecorded(_Forgetful):
    kinds = frozenset({"step_completed"})


class _TimerNotRecorded(_Forgetful):
    kinds = frozenset({"timer_fired"})


class _CancellationNotRecorded(_Forgetful):
    kinds = frozenset({"operation_cancelled"})


class _IntentLate(_Forgetful):
    """Calls first and writes the intent down afterwards."""

    kinds = frozenset({"effect_intended"})

    def record(self, operation: Operation, draft: Draft, **how: Any) -> None:
        super().record(operation, draft, **how)
        if draft.kind in self.kinds:
            self.host.call_later(0.03, self._write, draft)

    def _write(self, draft: Draft) -> None:
        if not self.closed:
            append = Append(self.run_id, (draft,), self.epoch)
            self.services.journal.submit(Commit((append,)), lambda _: None)


class _OutcomeEarly(Session):
    """Writes down that a call succeeded before it is made."""

    def record(self, operation: Operation, draft: Draft, **how: Any) -> None:
        if draft.kind == "effect_intended" and isinstance(operation, EffectOperation):
            header = {"effect_key": operation.effect_key}
            body = f'"made {operation.arguments["name"]}"'.encode()
            how["also"] = (Draft("effect_completed", draft.key, header, body),)
        super().record(operation, draft, **how)


class _MailNotTaken(Session):
    """Applies a message without marking it as taken."""

    def record(self, operation: Operation, draft: Draft, **how: Any) -> None:
        header = {name: value for name, value in draft.header.items() if name != "takes"}
        super().record(operation, draft._replace(header=header), **how)


class _Resender(Session):
    """After a restart, sends what was intended as if nothing had left before."""

    def issue(self, operation: Operation, named: Callable[[str], None] | None = None) -> Any:
        future = super().issue(operation, named)
        if isinstance(operation, EffectOperation) and not self.live:
            self._sent_before.append(operation)
        return future

    def _go_live(self) -> None:
        for operation in self._sent_before:
            operation.fresh = operation.open and operation.log.state == "intended"
        super()._go_live()

    def __init__(self, *args: Any) -> None:
        self._sent_before: list[EffectOperation] = []
        super().__init__(*args)


class _Shuffled(Session):
    """Replays outcomes in the order of their keys and not in that of the journal."""

    def __init__(
        self, services: Any, row: Any, agent: Any, epoch: int, history: History, *rest: Any
    ) -> None:
        super().__init__(services, row, agent, epoch, _ByKey(history), *rest)


class _ByKey(History):
    """Another's history, with its outcomes in the order of their keys."""

    def __init__(self, history: History) -> None:
        vars(self).update(vars(history))

    def outcomes(self) -> Iterator[Entry]:
        yield from sorted(super().outcomes(), key=lambda entry: entry.event.key)


class _Sleeper(Session):
    """Suspends without saying when it has to be woken."""

    def _finish_session(self, drafts: tuple[Draft, ...], *rest: Any, **named: Any) -> None:
        if drafts[0].kind == "run_suspended":
            header = {**drafts[0].header, "wake_at_us": None}
            drafts = (drafts[0]._replace(header=header), *drafts[1:])
        super()._finish_session(drafts, *rest, **named)


class _Impatient(Session):
    """Ends a run while the outcome of its effects is not known."""

    def _unsettled(self) -> bool:
        return False


# Tools that are not what they say.


def _unstable(tool: Tool[..., Any]) -> Tool[..., Any]:
    if tool.effect == "read":
        return tool
    values = {f.name: getattr(tool, f.name) for f in fields(tool)}
    counter = iter(range(1_000_000_000))

    class UnstableTool(Tool[Any, Any]):
        """Sends another key at every call."""

        def hidden(self, key: EffectKey) -> dict[str, Any]:
            """Another key."""
            return super().hidden(EffectKey(f"{key}-{next(counter)}"))

    return UnstableTool(**values)


def _unsettled(tool: Tool[..., Any]) -> Tool[..., Any]:
    return replace(tool, settle=timedelta(0))


def _never_as_repeatable(tool: Tool[..., Any]) -> Tool[..., Any]:
    return replace(tool, recovery="repeatable") if tool.recovery == "never" else tool


VARIANTS: Final[Mapping[str, Variant]] = {
    variant.name: variant
    for variant in (
        Variant(
            name="epoch-unchecked",
            broken="the store takes events of a process that has lost the run",
            breaks=("5",),
            store=_EpochBlindStore,
        ),
        Variant(
            name="key-unstable",
            broken="every call of an effect carries another key",
            breaks=("2",),
            tool=_unstable,
        ),
        Variant(
            name="intent-after-call",
            broken="an effect is called before its intent is on disk",
            breaks=("2",),
            session=_IntentLate,
        ),
        Variant(
            name="outcome-before-call",
            broken="an effect is recorded as made before it is called",
            breaks=("2",),
            session=_OutcomeEarly,
        ),
        Variant(
            name="replay-out-of-order",
            broken="a replay delivers outcomes in another order",
            breaks=("6",),
            session=_Shuffled,
        ),
        Variant(
            name="mail-not-taken",
            broken="a message is applied without being marked as taken",
            breaks=("10", "2"),
            session=_MailNotTaken,
        ),
        Variant(
            name="suspend-unguarded",
            broken="a run suspends without looking at its mail",
            breaks=("4",),
            store=_without(NoMailSince),
        ),
        Variant(
            name="lookup-too-early",
            broken="a negative lookup is believed while the call is under way",
            breaks=("2",),
            tool=_unsettled,
        ),
        Variant(
            name="resend-after-crash",
            broken="an effect that was intended is sent again after a crash",
            breaks=("2", "3"),
            session=_Resender,
        ),
        Variant(
            name="never-retried",
            broken="an unknown effect is retried although a person has to decide",
            breaks=("3",),
            tool=_never_as_repeatable,
        ),
        Variant(
            name="timer-without-wake-up",
            broken="a run suspends without its wake-up",
            breaks=("4",),
            session=_Sleeper,
        ),
        Variant(
            name="timer-not-recorded",
            broken="a timer fires without an event",
            breaks=("6",),
            session=_TimerNotRecorded,
        ),
        Variant(
            name="result-not-recorded",
            broken="a step's result reaches the code and not the journal",
            breaks=("6",),
            session=_ResultNotRecorded,
        ),
        Variant(
            name="cancellation-not-recorded",
            broken="a cancellation reaches the code and not the journal",
            breaks=("6",),
            session=_CancellationNotRecorded,
        ),
        Variant(
            name="start-unguarded",
            broken="an idempotency key starts as many runs as it is used",
            breaks=("1",),
            store=_without(UniqueKey),
        ),
        Variant(
            name="decision-unguarded",
            broken="an inbox task can be decided twice",
            breaks=("10",),
            store=_without(TaskOpen),
        ),
        Variant(
            name="message-unguarded",
            broken="a message id can be sent twice",
            breaks=("10",),
            store=_without(NewMessage),
        ),
        Variant(
            name="torn-commit",
            broken="a run's end and what it tells others are two transactions",
            breaks=("4",),
            store=_TornStore,
        ),
        Variant(
            name="answer-before-disk",
            broken="a commit is acknowledged before it is durable",
            breaks=("1", "2", "6", "10"),
            journal=_HastyJournal,
        ),
        Variant(
            name="end-before-outcome",
            broken="a run finishes while an effect's outcome is open",
            breaks=("3",),
            session=_Impatient,
        ),
    )
}
