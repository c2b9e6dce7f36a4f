"""Rounds of all contestants in turn, and the ratios between them.

Figures of one machine drift within minutes, so a ratio is taken within a round, between
contestants that ran next to one another, and the median over the rounds is reported. Every other
round runs in reverse order.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.figures import Bounds, Entry, Figures
from benchmarks.machine import syncs_per_second
from benchmarks.processes import ProcessFailedError
from benchmarks.report import Target

__all__ = ["Comparison", "Round", "compare", "targets"]

LIMIT_SHARE_MIN = 0.35
PEER_FACTOR_MIN = 10.0
ALONE_FACTOR_MAX = 2.0
_SYNC_PROBE_SECONDS = 0.5

Round = Mapping[str, Figures]


@dataclass(kw_only=True)
class Comparison:
    """What the rounds showed, and who is missing from it and why."""

    entries: Sequence[Entry]
    rounds: list[Round] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    syncs_per_second: list[float] = field(default_factory=list)
    """What the disk did at the start of each round: a disk busy with other work shows here."""

    @property
    def limit(self) -> str:
        """The limit that ratios are against: the given script where there is one that ran."""
        names = [each.name for each in self.entries if each.role == "limit"]
        ran = [name for name in names if any(name in each for each in self.rounds)]
        return ran[-1] if ran else names[-1]

    @property
    def peers(self) -> list[str]:
        """The peers' names."""
        return [each.name for each in self.entries if each.role == "peer"]

    def names(self) -> list[str]:
        """The contestants that showed figures in some round."""
        return [each.name for each in self.entries if any(each.name in one for one in self.rounds)]

    def median(self, name: str, figure: Callable[[Figures], float | None]) -> float | None:
        """The median over the rounds in which the contestant showed the figure, if any."""
        shown = (figure(each[name]) for each in self.rounds if name in each)
        return _middle([value for value in shown if value is not None])

    def last(self, name: str) -> Figures:
        """The figures of the last round in which the contestant took part."""
        return [each[name] for each in self.rounds if name in each][-1]

    def ratio(self, ratio: Callable[[Round], float | None]) -> float | None:
        """The median over the rounds of a ratio within a round; None when no round has it."""
        return _middle([value for each in self.rounds if (value := ratio(each)) is not None])

    def share_of_limit(self, name: str) -> float | None:
        """Steps a second as a share of the limit's."""
        return self.ratio(lambda each: _quotient(each, name, self.limit, _steps_per_second))

    def product_factor(self, name: str) -> float | None:
        """How many times the contestant's steps a second the product reaches."""
        return self.ratio(lambda each: _quotient(each, "interlock", name, _steps_per_second))

    def best_peer_factor(self) -> float | None:
        """How many times the steps a second of each round's best peer the product reaches."""
        return self.ratio(self._against_best_peer)

    def alone_factor(self) -> float | None:
        """One run alone: the product's median latency as a multiple of the limit's."""
        return self.ratio(
            lambda each: _quotient(
                each, "interlock", self.limit, lambda figures: figures.alone_p50_ms
            )
        )

    def to_json(self) -> dict[str, object]:
        """Everything: each round's figures, the medians and the absent."""
        return {
            "limit": self.limit,
            "rounds": [
                {name: asdict(figures) for name, figures in each.items()} for each in self.rounds
            ],
            "share_of_limit": {name: self.share_of_limit(name) for name in self.names()},
            "interlock_factor": {name: self.product_factor(name) for name in self.names()},
            "best_peer_factor": self.best_peer_factor(),
            "alone_factor": self.alone_factor(),
            "absent": self.absent,
            "syncs_per_second": self.syncs_per_second,
        }

    def _against_best_peer(self, each: Round) -> float | None:
        present = [name for name in self.peers if name in each]
        if "interlock" not in each or not present:
            return None
        return _steps_per_second(each["interlock"]) / max(
            _steps_per_second(each[name]) for name in present
        )


def compare(
    entries: Sequence[Entry],
    bounds: Bounds,
    *,
    rounds: int,
    directory: Path,
    say: Callable[[str], None],
) -> Comparison:
    """Run every contestant that can, ``rounds`` times in turn, each time on an empty store."""
    comparison = Comparison(entries=entries)
    comparison.absent.update({each.name: each.skipped for each in entries if each.skipped})
    taking_part = [each for each in entries if not each.skipped]
    for number in range(rounds):
        comparison.syncs_per_second.append(syncs_per_second(directory, _SYNC_PROBE_SECONDS))
        say(f"round {number + 1}: {comparison.syncs_per_second[-1]:,.0f} syncs/s")
        order = taking_part if number % 2 == 0 else list(reversed(taking_part))
        comparison.rounds.append(
            _one_round(order, bounds, number, directory, comparison.absent, say)
        )
    return comparison


def _one_round(
    order: Sequence[Entry],
    bounds: Bounds,
    number: int,
    directory: Path,
    absent: dict[str, str],
    say: Callable[[str], None],
) -> Round:
    shown: dict[str, Figures] = {}
    for entry in order:
        if entry.name in absent:
            continue  # it failed in an earlier round and would again
        with tempfile.TemporaryDirectory(dir=directory, ignore_cleanup_errors=True) as store:
            try:
                shown[entry.name] = entry.measure(Path(store), bounds)
            except ProcessFailedError as error:
                absent[entry.name] = f"failed: {error}"
        say(f"round {number + 1}: {entry.name}: {_said(shown.get(entry.name))}")
    return shown


def _said(figures: Figures | None) -> str:
    if figures is None:
        return "failed"
    return f"{figures.runs_per_second:,.1f} runs/s, alone {figures.alone_p50_ms:.1f} ms"


def _middle(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _steps_per_second(figures: Figures) -> float:
    return figures.steps_per_second


def _quotient(
    each: Round, above: str, below: str, figure: Callable[[Figures], float]
) -> float | None:
    if above not in each or below not in each:
        return None
    return figure(each[above]) / figure(each[below])


def targets(comparison: Comparison) -> list[Target]:
    """What the product must show, beside what it showed."""
    share = comparison.share_of_limit("interlock")
    factor = comparison.best_peer_factor()
    alone = comparison.alone_factor()
    return [
        Target(
            name=f"50 at once, share of {comparison.limit}",
            wanted=f"at least {LIMIT_SHARE_MIN}",
            measured=_number(share),
            met=None if share is None else share >= LIMIT_SHARE_MIN,
        ),
        Target(
            name="50 at once, times the best peer",
            wanted=f"at least {PEER_FACTOR_MIN:.0f}",
            measured=_number(factor),
            met=None if factor is None else factor >= PEER_FACTOR_MIN,
        ),
        Target(
            name=f"one alone, times the median of {comparison.limit}",
            wanted=f"at most {ALONE_FACTOR_MAX:.0f}",
            measured=_number(alone),
            met=None if alone is None else alone <= ALONE_FACTOR_MAX,
        ),
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
