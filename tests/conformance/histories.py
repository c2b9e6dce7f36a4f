"""Random histories: small worlds in which commits collide all the time."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from interlock.journal.event import Draft
from interlock.journal.guard import (
    Append,
    Commit,
    Guard,
    HoldsBudget,
    NewMessage,
    NoMailSince,
    RunIn,
    StreamAbsent,
    TakesMail,
    TaskOpen,
    UniqueKey,
    UsesApproval,
)
from tests.conformance.backend import START_US

RUNS = st.sampled_from(["r1", "r2"])
TASKS = st.sampled_from(["t1", "t2"])
MESSAGES = st.sampled_from(["m1", "m2", "m3"])
ACCOUNTS = st.sampled_from(["a1", "a2"])
HOLDS = st.sampled_from(["h1", "h2", "h3"])
APPROVALS = st.sampled_from(["p1", "p2"])
CALLS = st.sampled_from(["c1", "c2"])
EFFECTS = st.sampled_from(["e1", "e2"])
AMOUNTS = st.integers(0, 60)
MOMENTS = st.none() | st.integers(START_US, START_US + 5)
WORDS = st.sampled_from(["", "x", "y"])
STATES = st.sampled_from(
    ["queued", "running", "waiting", "parked", "completed", "failed", "cancelled"]
)
WAITS = st.lists(st.fixed_dictionaries({"key": WORDS, "due_at_us": MOMENTS}), max_size=2)


def _draft(kind: str, /, **header: st.SearchStrategy[Any]) -> st.SearchStrategy[Draft]:
    keys = header.pop("key", st.just("k"))
    headers = st.fixed_dictionaries(header)
    return st.builds(Draft, st.just(kind), keys, headers, st.just(None), st.just(1))


_QUEUED = _draft(
    "run_queued",
    agent=WORDS,
    priority=st.integers(-1, 1),
    start_after_us=st.sampled_from([0, START_US + 3]),
    deadline_at_us=MOMENTS,
    parent=st.sampled_from(["", "r1"]),
)
_IN_A_RUN = [
    _draft("run_claimed", worker=WORDS, claim=st.integers(1, 3)),
    _draft("run_suspended", wake_at_us=MOMENTS, waits=WAITS),
    _draft("run_completed", outcome=WORDS),
    _draft("run_failed", reason=WORDS),
    _draft("run_cancelled", reason=WORDS),
    _draft("run_parked", reason=WORDS),
    _draft("run_retried", takes=MESSAGES),
    _draft("run_released"),
    _draft("run_continued", generation=st.integers(2, 3)),
    _draft("outcome_set", outcome=WORDS),
    _draft("step_completed", takes=MESSAGES),
    _draft("step_completed", consumes=APPROVALS),
    _draft("effect_intended", effect_key=EFFECTS, tool=WORDS, recovery=WORDS),
    _draft("effect_completed", effect_key=EFFECTS),
    _draft("effect_failed", effect_key=EFFECTS, reason=WORDS),
    _draft("effect_attempt_failed", effect_key=EFFECTS, reason=WORDS, maybe_made=st.integers(0, 1)),
    _draft("effect_unknown", effect_key=EFFECTS, reason=WORDS),
    _draft(
        "effect_resolved",
        effect_key=EFFECTS,
        verdict=st.sampled_from(["happened", "not_happened", "given_up"]),
    ),
    _draft("task_opened", task=TASKS, kind=WORDS, due_at_us=MOMENTS),
    _draft("task_expired", task=TASKS),
    _draft("task_withdrawn", task=TASKS),
]
_ANYWHERE = [
    _draft("budget_set", account=ACCOUNTS, limit=st.integers(50, 100)),
    _draft("budget_raised", account=ACCOUNTS, amount=st.sampled_from([1, 40, 2**63 - 1])),
    _draft("budget_reserved", account=ACCOUNTS, hold=HOLDS, amount=AMOUNTS),
    _draft("budget_settled", hold=HOLDS, amount=AMOUNTS),
    _draft("approval_granted", approval=APPROVALS, call_hash=CALLS, expires_at_us=MOMENTS),
]
_MAIL = _draft(
    "mail_sent",
    key=MESSAGES,
    run=RUNS,
    kind=st.sampled_from(["signal", "decision", "child", "cancel", "retry", "budget_raised"]),
    name=WORDS,
    task=st.just("") | TASKS,
    by=WORDS,
)
_EPOCHS = st.sampled_from([0, 0, 1, 1, 2, 3])
_SEQS = st.sampled_from([None, None, None, 0, 1, 2])


@st.composite
def _appends(draw: st.DrawFn) -> Append:
    which = draw(st.integers(0, 9))
    if which <= 2:
        return Append(draw(RUNS), [draw(_QUEUED)], epoch=0)
    if which <= 7:
        drafts = draw(st.lists(st.one_of(_IN_A_RUN), min_size=1, max_size=3))
        claims = drafts[0].kind == "run_claimed"
        return Append(draw(RUNS), drafts, draw(_EPOCHS), claims, draw(_SEQS))
    if which == 8:
        return Append(f"mail/{draw(RUNS)}", [draw(_MAIL)], after_seq=draw(_SEQS))
    return Append("tenant/default", [draw(st.one_of(_ANYWHERE))])


_GUARDS: st.SearchStrategy[Guard] = st.one_of(
    st.builds(StreamAbsent, RUNS),
    st.builds(RunIn, RUNS, st.lists(STATES, min_size=3, max_size=5).map(tuple)),
    st.builds(TakesMail, MESSAGES),
    st.builds(NewMessage, MESSAGES),
    st.builds(NoMailSince, RUNS, st.integers(0, 12)),
    st.builds(TaskOpen, TASKS),
    st.builds(HoldsBudget, ACCOUNTS, AMOUNTS),
    st.builds(UsesApproval, APPROVALS, CALLS),
)


@st.composite
def _commits(draw: st.DrawFn) -> Commit:
    appends = draw(st.lists(_appends(), min_size=1, max_size=2))
    guards = draw(st.lists(_GUARDS, max_size=2, unique_by=lambda guard: (type(guard), guard[0])))
    if draw(st.integers(0, 5)) == 0:
        first = appends[0]
        pair = ["scope", draw(st.sampled_from(["k1", "k2"]))]
        claim = first.drafts[0]._replace(header={**first.drafts[0].header, "unique": [pair]})
        appends[0] = first._replace(drafts=[claim, *first.drafts[1:]])
        guards = [*guards, UniqueKey(pair[0], pair[1])]
    return Commit(tuple(appends), tuple(guards))


GROUPS = st.lists(st.lists(_commits(), min_size=1, max_size=5), min_size=1, max_size=12)
