"""Why a run is where it is: one sentence, then everything that happened, in plain language."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from interlock.errors import NotFoundError
from interlock.journal.rows import RunRow, RunState
from interlock.journal.store import Store
from interlock.observe.cost import CostView, cost_view
from interlock.observe.moment import at
from interlock.observe.plan import PlanView, plan_views
from interlock.observe.sentence import sentence
from interlock.observe.shown import shown_text
from interlock.observe.story import is_told, tell, tell_unread

__all__ = ["Explanation", "StoryLine", "explain", "find_run"]


class StoryLine(BaseModel):
    """What one event means."""

    model_config = ConfigDict(frozen=True)

    seq: int
    at: datetime
    kind: str
    text: str


class Explanation(BaseModel):
    """A run explained. `unread` are messages that no wait has taken yet; `plans` its plans.

    The story has every event but those that keep a budget's books: what they say is told with the
    call that they were written with. `cost` is what its own models took.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    agent: str
    state: RunState
    outcome: str
    sentence: str = Field(description="what it waits for, since when, who can unblock it")
    story: list[StoryLine]
    unread: list[str]
    plans: list[PlanView] = []
    cost: CostView


def explain(
    store: Store, run: str, now_us: int, *, bodies: bool = False, reveal: bool = False
) -> Explanation:
    """Explain a run as of `now_us`; with excerpts of the payloads when `bodies`.

    Secrets and personal data are masked unless `reveal`.

    Reads only. Raises `NotFoundError`.
    """
    row = find_run(store, run)
    entries = store.read(run)
    return Explanation(
        run=row.id,
        agent=row.agent,
        state=row.state,
        outcome=row.outcome,
        sentence=shown_text(sentence(store, row, now_us), reveal=reveal),
        story=[
            StoryLine(
                seq=entry.event.seq,
                at=at(entry.event.at_us),
                kind=entry.event.kind,
                text=tell(entry, bodies=bodies, reveal=reveal),
            )
            for entry in entries
            if is_told(entry.event.kind)
        ],
        unread=[tell_unread(mail) for mail in store.mail(run)],
        plans=plan_views(entries),
        cost=cost_view(entries),
    )


def find_run(store: Store, run: str) -> RunRow:
    """A run's row. Raises `NotFoundError`."""
    row = store.run(run)
    if row is None:
        raise NotFoundError(f"no run {run!r} in this store.", run=run)
    return row
