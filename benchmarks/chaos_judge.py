"""The verdict on a chaos run, from the counting server's books and the promises made.

What an engine's journal says is not evidence here, but for two questions only it can answer:
which runs it calls finished, and which effects it shows a person as unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from benchmarks.engine import RECOVERIES, Recovery, UnknownEffect

__all__ = ["Acknowledged", "Books", "RecoveryVerdict", "Tally", "Verdict", "judge"]


@dataclass(frozen=True, kw_only=True)
class Acknowledged:
    """A run that the engine said was on disk."""

    run_id: str
    argument: str


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What the counting server has for one run and recovery."""

    made: int
    requested: int
    keys: int


Books = Mapping[tuple[str, str], Tally]
"""By argument of the run, and recovery."""

_NOTHING = Tally(made=0, requested=0, keys=0)


@dataclass(frozen=True, kw_only=True)
class RecoveryVerdict:
    """One recovery over all acknowledged runs.

    ``doubled``: made more than once, which only ``repeatable`` may. ``missing``: its run is
    finished and it was never made, though no person was told so. ``several_keys``: requested
    under more than one key.
    """

    recovery: Recovery
    once: int
    doubled: int
    missing: int
    several_keys: int
    requested_again: int
    unknown: int
    answered_not_made: int

    @property
    def kept(self) -> bool:
        """Whether the recovery did what it promises."""
        return self.missing == 0 and (self.doubled == 0 or self.recovery == "repeatable")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The whole verdict.

    ``lost``: acknowledged, not finished in the end. ``hidden``: unfinished when the crashes were
    over, without an unknown effect that a person could see.
    """

    acknowledged: int
    lost: int
    hidden: int
    recoveries: Sequence[RecoveryVerdict] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether everything promised held."""
        return not self.lost and not self.hidden and all(each.kept for each in self.recoveries)

    def to_json(self) -> dict[str, object]:
        """The fields as a JSON object."""
        return asdict(self)


def judge(
    runs: Sequence[Acknowledged],
    books: Books,
    *,
    finished: Iterable[str],
    finished_before_answers: Iterable[str],
    unknown: Sequence[UnknownEffect],
) -> Verdict:
    """The verdict over the acknowledged runs.

    ``unknown`` are all effects a person was shown; ``finished_before_answers`` the runs that were
    finished when the person had answered nothing yet.
    """
    done = set(finished)
    seen = {each.run_id for each in unknown} | set(finished_before_answers)
    return Verdict(
        acknowledged=len(runs),
        lost=sum(run.run_id not in done for run in runs),
        hidden=sum(run.run_id not in seen for run in runs),
        recoveries=[
            _judge_recovery(recovery, runs, books, done, unknown) for recovery in RECOVERIES
        ],
    )


def _judge_recovery(
    recovery: Recovery,
    runs: Sequence[Acknowledged],
    books: Books,
    done: set[str],
    unknown: Sequence[UnknownEffect],
) -> RecoveryVerdict:
    asked = {each.run_id for each in unknown if each.recovery == recovery}
    tallies = [(run, books.get((run.argument, recovery), _NOTHING)) for run in runs]
    absent = [run for run, tally in tallies if tally.made == 0 and run.run_id in done]
    return RecoveryVerdict(
        recovery=recovery,
        once=sum(tally.made == 1 for _, tally in tallies),
        doubled=sum(tally.made > 1 for _, tally in tallies),
        missing=sum(run.run_id not in asked for run in absent),
        several_keys=sum(tally.keys > 1 for _, tally in tallies),
        requested_again=sum(tally.requested > 1 for _, tally in tallies),
        unknown=len(asked),
        answered_not_made=sum(run.run_id in asked for run in absent),
    )
