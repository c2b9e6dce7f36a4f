"""Approvals hold while people race and the executor is killed: what was approved is paid, once.

A service of its own counts what was really paid, with the very bytes. It has to be exactly what the
people's words amount to: each call that was approved, as it was approved or edited, once; nothing
that was rejected, has expired, was edited away, or was said by who may not. A longer run:
`make storm`, or APPROVAL_RUNS=400 APPROVAL_KILLS=60 APPROVAL_SEED=7.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from interlock.journal import open_store
from interlock.journal.rows import InboxRow, RunFilter
from interlock.journal.store import Store
from tests.support.paying_app import body_of, furnish, order
from tests.support.payments import Payment, paid, payments_service
from tests.support.serving import Served, interlock, spawn, store_in, until
from tests.support.storm import MAY, MAY_NOT, Storm, Word

APP = "tests.support.paying_app:app"
RUNS = int(os.environ.get("APPROVAL_RUNS", "40"))
KILLS = int(os.environ.get("APPROVAL_KILLS", "6"))
SEED = int(os.environ.get("APPROVAL_SEED", "1"))
LONGEST_LIFE_SECONDS = 1.5
AMOUNTS = (3000, 9000, 60_000, 200_000)

pytestmark = [pytest.mark.alone, pytest.mark.timeout(120 + 15 * KILLS + 3 * RUNS)]


@dataclass
class Desk:
    """The served application, through all its lives."""

    folder: Path
    keys: dict[str, str]
    url: str = ""
    lives: int = 0
    # From a kill until the next life is ready, in microseconds of the clock.
    away_us: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    @contextmanager
    def life(self) -> Iterator[Served]:
        """One process, killed at the end of the block."""
        self.lives += 1
        name = f"server{self.lives}"
        keys = ("--keys", str(self.folder / "keys.json"), "--port", "0")
        process = spawn("serve", "--app", APP, *keys, folder=self.folder, name=name)
        server = Served(self.folder, process, name)
        self.url = server.url
        if self.away_us:
            self.away_us[-1] = (self.away_us[-1][0], _now_us())
        try:
            yield server
        finally:
            server.signal(signal.SIGKILL)
            self.away_us.append((_now_us(), 0))
            server.close()

    def start_all(self) -> None:
        """Start every run, whatever comes between: under a key, that is safe to repeat."""
        headers = {"authorization": f"Bearer {self.keys['ana']}"}
        for number in range(RUNS):
            body = {"input": _order(number)}
            keyed = {**headers, "idempotency-key": f"order-{number}"}
            while True:
                try:
                    path = f"{self.url}/v1/agents/payer/runs"
                    options: dict[str, Any] = {"timeout": 60, "trust_env": False}
                    answer = httpx.post(path, json=body, headers=keyed, **options)
                    assert answer.status_code in (200, 202), answer.text
                    break
                except httpx.TransportError:
                    time.sleep(0.02)
            time.sleep(0.02)

    def ended(self) -> int:
        with closing(open_store(store_in(self.folder), create=False)) as store:
            counts = store.run_counts()
        assert not counts.get("parked"), counts
        return counts.get("completed", 0) + counts.get("failed", 0)


def _order(number: int) -> dict[str, Any]:
    if number % 6 == 5:
        return order("pay_soon", f"A-{number}", 9000)
    return order("send" if number % 2 else "pay", f"A-{number}", AMOUNTS[number % len(AMOUNTS)])


def _now_us() -> int:
    return time.time_ns() // 1000


def _await_moment(desk: Desk, dice: random.Random, life: int) -> None:
    """A random moment; every other time one at which a payment is made and not yet answered."""
    end = time.monotonic() + dice.uniform(0.2, LONGEST_LIFE_SECONDS)
    made = len(paid(desk.ledger))
    while time.monotonic() < end or (life % 2 == 0 and desk.ended() < RUNS):
        if life % 2 == 0 and len(paid(desk.ledger)) > made:
            return
        time.sleep(0.002)


def _key(folder: Path, name: str) -> str:
    roles = ("--role", "read", "--role", "start", "--role", "decide")
    made = interlock("key", "new", name, *roles, "--keys", str(folder / "keys.json"), folder=folder)
    return made.stdout.strip()


def test_exactly_what_was_approved_is_paid_once(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    keys = {name: _key(tmp_path, name) for name in (*MAY, *MAY_NOT)}
    desk = Desk(tmp_path, keys)
    storm = Storm(tmp_path, keys, lambda: desk.url)
    began = time.monotonic()
    with payments_service(desk.ledger) as url:
        furnish(tmp_path, url)
        starter = threading.Thread(target=desk.start_all)
        with desk.life():
            starter.start()
            storm.begin(http=3, commands=2, seed=SEED)
            _await_moment(desk, dice, 0)
        for life in range(1, KILLS):
            with desk.life():
                _await_moment(desk, dice, life)
        with desk.life():
            try:
                until(lambda: storm.failures or desk.ended() == RUNS, "all runs have ended")
            finally:
                storm.over.set()
                starter.join()
                storm.stop()
    with closing(open_store(store_in(tmp_path), create=False)) as store:
        judged = Judge(store, storm.words, paid(desk.ledger))
        judged.check_words()
        judged.check_payments()
        assert list(store.verify()) == []
        told = judged.told(desk.away_us)
        met = judged.unknown_effects()
    told += f", {KILLS} kills in {time.monotonic() - began:.0f} s, seed {SEED}"
    sys.stdout.write(f"\n{told}\n")
    assert met, "no kill met a payment, which proves nothing"


class Judge:
    """Holds what people said, what the journal has, and what was paid, against each other."""

    def __init__(self, store: Store, words: Sequence[Word], payments: Sequence[Payment]) -> None:
        self.store = store
        self.words = words
        self.payments = payments
        self.tasks = store.inbox(("open", "decided", "expired", "withdrawn"), 100_000)
        self.runs = store.runs(RunFilter(limit=100_000))

    def check_words(self) -> None:
        """A task is decided by one word, of a person who may, and by the one that was told so."""
        assert {word.by for word in self.words if word.answer == "taken"} <= set(MAY)
        for task in self.tasks:
            said = [word for word in self.words if word.task == task.id]
            taken = [word for word in said if word.answer == "taken"]
            if task.state != "decided":
                assert taken == [], task
                continue
            assert len(taken) <= 1, taken
            decision = self._decision(task)
            possible = taken or [word for word in said if word.answer == "unknown"]
            assert (task.decided_by, decision["choice"], decision["value"]) in [
                (word.by, word.choice, word.value) for word in possible
            ], task

    def check_payments(self) -> None:
        """What was paid is what the words amount to, byte for byte and once."""
        assert len(self.runs) == RUNS
        due = {run.id: self._due(run.id) for run in self.runs}
        for run in self.runs:
            late = self._expired_after_approval(run.id)
            if run.state == "failed" and late:
                due[run.id] = None
            assert (run.state == "completed") == (due[run.id] is not None), run
        expected = Counter(body for body in due.values() if body is not None)
        assert Counter(payment.body for payment in self.payments) == expected
        assert max(expected.values()) == 1
        assert len({payment.key for payment in self.payments}) == len(self.payments)

    def _due(self, run: str) -> str | None:
        """What the words about a run amount to: the payment, or None."""
        (queued,) = self.store.read(run, limit=1)
        wanted = json.loads(queued.body or b"")
        arguments: dict[str, Any] = wanted["arguments"]
        persons: set[str] = set()
        for task in (task for task in self.tasks if task.run == run):
            card = self._body(task.position)["details"]
            assert card["arguments"] == arguments, "the card shows what would be executed"
            if task.state != "decided":
                return None
            decision = self._decision(task)
            if decision["choice"] == "reject":
                return None
            if decision["choice"] == "edit":
                arguments, persons = decision["value"], set()
            else:
                # Who acts for Ana is no second person beside her.
                persons.add("ana" if task.decided_by == "dora" else task.decided_by)
        needed = 1 if wanted["tool"] == "pay_soon" else _needed(arguments)
        return body_of(arguments) if len(persons) >= needed else None

    def _expired_after_approval(self, run: str) -> bool:
        """Whether an approval came in time and the call did not: the executor was away."""
        events = [entry.event for entry in self.store.read(run)]
        return any(e.kind == "effect_denied" and e.header["reason"] == "expired" for e in events)

    def _decision(self, task: InboxRow) -> dict[str, Any]:
        assert task.decision_position is not None
        return self._body(task.decision_position)

    def _body(self, position: int) -> dict[str, Any]:
        entry = self.store.entry(position)
        assert entry is not None
        return json.loads(entry.body or b"")

    def unknown_effects(self) -> int:
        """How often a kill left open whether a payment was made."""
        return self._count("effect_unknown")

    def _count(self, kind: str) -> int:
        return sum(event.kind == kind for event in self.store.scan(limit=10_000_000))

    def told(self, away_us: Sequence[tuple[int, int]]) -> str:
        """The figures."""
        answers = Counter((word.door, word.answer) for word in self.words)
        wrong = sum(word.by in MAY_NOT for word in self.words)
        states = Counter(task.state for task in self.tasks)
        choices = Counter(self._decision(t)["choice"] for t in self.tasks if t.state == "decided")
        dues = [task.due_at_us or 0 for task in self.tasks if task.state == "expired"]
        away = sum(any(begin < due < end for begin, end in away_us) for due in dues)
        doors = ", ".join(f"{door} {answer} {n}" for (door, answer), n in sorted(answers.items()))
        return (
            f"approvals: {len(self.runs)} runs, {len(self.payments)} paid, none doubled, none "
            f"unapproved; {len(self.tasks)} tasks ({dict(states)}, {dict(choices)}); "
            f"{len(self.words)} words ({doors}), {wrong} of them by who may not; {away} expired "
            f"while the executor was away; {self.unknown_effects()} payments met by a kill"
        )


def _needed(arguments: dict[str, Any]) -> int:
    """How many persons the policies want; more than there are where it is forbidden."""
    if arguments["account"] == "blocked":
        return len(MAY) + 1
    cents = arguments["cents"]
    return 0 if cents <= 5000 else 1 if cents <= 100_000 else 2
