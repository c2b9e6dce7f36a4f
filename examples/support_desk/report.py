"""What came of a demo: counted at the help desk, and told in plain words."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .agent import Triage
from .helpdesk import Tally
from .home import HOME_VARIABLE, DeskHome
from .model_use import ModelUse
from .refunds import Refund
from .script import Approvals

__all__ = ["Report", "tell"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The figures of a demo.

    `triages` are the results of completed runs, by run; `waiting` the runs that wait for a person's
    word on a ticket; `stuck` those that failed, are parked, or wait for a person's word on an
    unknown outcome. `tally` and `tags` (the tag by ticket) are the help desk's word, `labels` the
    right category by ticket. `refunds` are the refund service's word, `approvals` how the demo's
    script answered. `use` is what the model took. `seconds` are this process's alone.
    """

    triages: Mapping[str, Triage]
    waiting: tuple[str, ...]
    stuck: tuple[str, ...]
    tally: Tally
    refunds: Sequence[Refund]
    approvals: Approvals
    tags: Mapping[str, str]
    labels: Mapping[str, str]
    use: ModelUse
    seconds: float

    @property
    def answered(self) -> dict[str, Triage]:
        """What the agent answered by itself, by run."""
        return {run: t for run, t in self.triages.items() if t.decided_by == "model"}

    @property
    def escalated(self) -> int:
        """How many tickets a person decides, or has decided."""
        return len(self.waiting) + len(self.triages) - len(self.answered)

    @property
    def right(self) -> int:
        """How many of the answered carry, at the help desk, the tag that their label says."""
        ids = [triage.ticket for triage in self.answered.values()]
        return sum(self.tags.get(ticket) == self.labels.get(ticket) for ticket in ids)

    @property
    def doubled_refunds(self) -> int:
        """Refunds beyond the first for a ticket, or under one reference."""
        tickets = {refund.ticket for refund in self.refunds}
        references = {refund.reference for refund in self.refunds}
        return len(self.refunds) - min(len(tickets), len(references))

    @property
    def sound(self) -> bool:
        """Whether every ticket was answered or is a person's, and nothing was done twice."""
        return not (self.stuck or self.tally.doubled or self.doubled_refunds)


def tell(console: Console, report: Report, home: DeskHome) -> None:
    """Print the figures, which model decided, and what to type next."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for name, figure, remark in _rows(report):
        table.add_row(name, figure, remark)
    console.print(table)
    console.print(f"\n{report.use.sentence()}", soft_wrap=True, markup=False)
    for purpose, command in _commands(report, home):
        console.print(f"\n{purpose}")
        # A command is to be pasted: never wrapped, never marked up.
        console.print(f"  {command}", soft_wrap=True, markup=False, highlight=False)


def _rows(report: Report) -> Iterator[tuple[str, str, str]]:
    tally, answered = report.tally, len(report.answered)
    waiting = len(report.waiting)
    yield "tickets", str(len(tally.tickets)), f"and {tally.follow_ups} follow-up tickets"
    yield "answered", str(answered), f"{tally.replies} replies, {tally.drafts} drafts in Roundup"
    yield "escalated", str(report.escalated), f"{waiting} of them wait for a person's decision"
    accuracy = f"{report.right / answered:.1%}" if answered else "none"
    yield "accuracy", accuracy, f"of the answered: {report.right} tags in Roundup are the label"
    yield "doubled actions", str(tally.doubled), "counted in Roundup, not in our journal"
    yield from _refund_rows(report)
    yield "seconds", f"{report.seconds:.1f}", ""
    if report.stuck:
        yield "stuck", str(len(report.stuck)), "neither answered nor escalated; see below"


def _refund_rows(report: Report) -> Iterator[tuple[str, str, str]]:
    paid, asked = report.refunds, report.approvals
    euros = sum(refund.cents for refund in paid) / 100
    yield "refunds made", str(len(paid)), f"{euros:,.2f} euros, by the refund service's books"
    script = f"{asked.approved} approved, {asked.rejected} rejected"
    yield "refunds asked", str(asked.asked), f"{script}, by a script: no person answered"
    stopped = sum(t.not_refunded is not None for t in report.triages.values())
    yield "refunds stopped", str(stopped), "to where the customer directory knows nobody"
    yield "doubled refunds", str(report.doubled_refunds), "counted in the refund service"


def _commands(report: Report, home: DeskHome) -> Iterator[tuple[str, str]]:
    store = f"--store {shlex.quote(_shown(home.journal))}"
    for run in report.stuck[:3]:
        yield "Why a run is stuck:", f"{_interlock()} explain {run} {store}"
    if report.answered:
        # One with a follow-up ticket has the most to tell.
        run = max(report.answered, key=lambda run: report.answered[run].follow_up is not None)
        yield (
            "Why one of the tickets was answered as it was:",
            f"{_interlock()} explain {run} {store}",
        )
    if report.waiting:
        yield "What waits for a person, and how to decide it:", f"{_interlock()} inbox {store}"
        variable = f"{HOME_VARIABLE}={shlex.quote(_shown(home.folder))}"
        serve = f"{variable} {_interlock()} serve --app examples.support_desk.app:app"
        yield "To let the agent go on with what was decided:", serve


def _interlock() -> str:
    return shlex.quote(_shown(Path(sys.executable).with_name("interlock")))


def _shown(path: Path) -> str:
    """The path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
