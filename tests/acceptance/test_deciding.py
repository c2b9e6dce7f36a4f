"""Who may not decide is told so at every door, and the task stays open; with the server up or not.

Also what must void an approval: time that passes while no process is there, a delegation that ends,
a dry run that says something else. A service that counts says what was really paid.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from interlock.journal import open_store
from interlock.journal.rows import InboxRow
from tests.support.paying_app import body_of, furnish, order, people
from tests.support.payments import paid, payments_service
from tests.support.serving import Served, interlock, served, store_in, until

APP = "tests.support.paying_app:app"
REFUSED = 1


class Place:
    """A folder with the application, and what was really paid."""

    def __init__(self, folder: Path, payments: str) -> None:
        self.folder = folder
        self.payments = payments
        furnish(folder, payments)

    def paid(self) -> list[str]:
        return [payment.body for payment in paid(self.folder / "ledger.jsonl")]

    def task(self, run: str, *, after: str = "") -> InboxRow:
        """The open task of a run."""

        def found() -> InboxRow | None:
            with closing(open_store(store_in(self.folder), create=False)) as store:
                tasks = store.inbox(limit=1000)
                return next((t for t in tasks if t.run == run and t.id != after), None)

        task = until(found, f"{run} asks")
        assert task is not None
        return task

    def state(self, task: str) -> str:
        with closing(open_store(store_in(self.folder), create=False)) as store:
            row = store.inbox_task(task)
            assert row is not None
            return row.state

    def decide(self, task: str, choice: str, by: str, *more: str) -> tuple[int, str]:
        """Decide on the command line: the exit code, and what it says of an error."""
        done = interlock("decide", task, choice, "--by", by, *more, folder=self.folder)
        return done.returncode, done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with payments_service(tmp_path / "ledger.jsonl") as url:
        yield Place(tmp_path, url)


def ask(server: Served, cents: int = 9000, tool: str = "pay") -> tuple[str, dict[str, Any]]:
    """A run whose payment somebody has to approve, and the payment's arguments."""
    wanted = order(tool, "DE1", cents)
    return server.start("payer", wanted)["id"], wanted["arguments"]


def test_the_command_line_refuses_who_does_not_hold_the_role(place: Place) -> None:
    with served(place.folder, app=APP) as server:
        run, arguments = ask(server)
        task = place.task(run).id
        for by in ("mallory", "eve", ""):
            code, said = place.decide(task, "approve", by)
            assert code == REFUSED
            assert "error [forbidden]" in said
            assert "does not hold the role 'billing'; ana, bela, chidi do" in said
        answer = server.post(f"/v1/inbox/{task}/decision", {"choice": "approve", "by": "mallory"})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "ana, bela, chidi do" in answer.json()["detail"]
        assert place.state(task) == "open"
    code, said = place.decide(task, "approve", "eve")
    assert code == REFUSED
    assert "what bela delegated to eve ended with 2001-01-01" in said
    assert place.state(task) == "open"
    assert place.decide(task, "approve", "dora")[0] == 0
    with served(place.folder, app=APP) as server:
        server.until_state(run, "completed")
    assert place.paid() == [body_of(arguments)]


def test_one_person_is_not_two_at_any_door(place: Place) -> None:
    with served(place.folder, app=APP) as server:
        run, arguments = ask(server, 200_000)
        first = place.task(run).id
        assert place.decide(first, "approve", "ana")[0] == 0
        second = place.task(run, after=first).id
        for by in ("ana", "dora"):
            code, said = place.decide(second, "approve", by)
            assert code == REFUSED
            assert "ana has approved it already: another person is asked" in said
            choice = {"choice": "approve", "by": by}
            assert server.post(f"/v1/inbox/{second}/decision", choice).status_code == 403
        assert place.paid() == []
        assert place.decide(second, "approve", "chidi")[0] == 0
        server.until_state(run, "completed")
    assert place.paid() == [body_of(arguments)]


def test_a_decision_is_used_once(place: Place) -> None:
    with served(place.folder, app=APP) as server:
        run, arguments = ask(server)
        task = place.task(run).id
        assert place.decide(task, "approve", "ana")[0] == 0
        code, said = place.decide(task, "approve", "ana")
        assert code == REFUSED
        assert "is not open any more: decided by ana" in said
        server.until_state(run, "completed")
        again = server.post(f"/v1/inbox/{task}/decision", {"choice": "approve", "by": "bela"})
        assert again.status_code == 409
    assert place.paid() == [body_of(arguments)]


def test_time_that_passes_while_no_process_is_there_is_over(place: Place) -> None:
    with served(place.folder, app=APP) as server:
        run, _ = ask(server, tool="pay_soon")
        other, _ = ask(server, tool="pay_soon")
        early, late = place.task(run), place.task(other)
    # One is approved in time, but nobody is there to make the call before the time is over.
    approved, said = place.decide(early.id, "approve", "ana")
    assert early.due_at_us is not None
    assert late.due_at_us is not None
    over_us = max(early.due_at_us, late.due_at_us)
    until(lambda: time.time_ns() // 1000 > over_us, "the time is over")
    code, told = place.decide(late.id, "approve", "ana")
    assert code == REFUSED
    assert "its time to approve is over" in told
    with served(place.folder, app=APP) as server:
        for each in (run, other):
            ended = server.until_state(each, "failed")
            assert "approve" in ended["error"]["message"] or "approval" in ended["error"]["message"]
    assert place.paid() == []
    # A machine that is too slow to start a command in two seconds refuses it, which is right too.
    assert approved in (0, REFUSED), said


def test_a_delegation_that_ends_before_the_word_is_taken_does_not_count(place: Place) -> None:
    with served(place.folder, app=APP) as server:
        run, arguments = ask(server)
        task = place.task(run).id
    assert place.decide(task, "approve", "dora")[0] == 0
    (place.folder / "policies" / "people.yaml").write_text(people(dora_until="2001-01-01"))
    with served(place.folder, app=APP) as server:
        second = place.task(run, after=task).id
        assert place.paid() == []
        code, said = place.decide(second, "approve", "dora")
        assert code == REFUSED
        assert "what ana delegated to dora ended with 2001-01-01" in said
        assert place.decide(second, "approve", "ana")[0] == 0
        server.until_state(run, "completed")
    assert place.paid() == [body_of(arguments)]


def test_a_dry_run_that_says_something_else_voids_the_approval(place: Place) -> None:
    """The first approval is for another hash by then: neither it nor a repetition of it counts."""
    with served(place.folder, app=APP) as server:
        run, arguments = ask(server)
        task = place.task(run)
    assert place.decide(task.id, "approve", "ana")[0] == 0
    quote = {"params": {"account": "DE1"}, "content": "the account was closed"}
    httpx.put(f"{place.payments}/quote", trust_env=False, **quote).raise_for_status()
    with served(place.folder, app=APP) as server:
        second = place.task(run, after=task.id)
        assert place.paid() == []
        assert place.decide(task.id, "approve", "bela")[0] == REFUSED
        shown = server.http.get(f"/v1/inbox/{second.id}").json()
        assert shown["details"]["dry_run"] == "the account was closed"
        assert place.decide(second.id, "approve", "bela")[0] == 0
        server.until_state(run, "completed")
    assert place.paid() == [body_of(arguments)]


def test_an_edited_call_is_sent_as_it_was_edited_and_only_once_approved(place: Place) -> None:
    with served(place.folder, app=APP) as server:
        run, arguments = ask(server)
        edited = {**arguments, "cents": 7000, "note": "weniger – „7000“"}
        first = place.task(run).id
        assert place.decide(first, "edit", "ana", "--value", json.dumps(edited))[0] == 0
        second = place.task(run, after=first).id
        assert place.paid() == []
        assert place.decide(second, "approve", "ana")[0] == 0
        server.until_state(run, "completed")
    assert place.paid() == [body_of(edited)]


def test_a_question_is_shown_in_full(place: Place) -> None:
    with served(place.folder, app=APP) as server:
        run, arguments = ask(server)
        task = place.task(run).id
        shown = interlock("inbox", "show", task, folder=place.folder)
        assert shown.returncode == 0, shown.stderr
        for words in ("May agent 'payer' call 'pay'", '"cents": 9000', "dry run: pays into DE1"):
            assert words in shown.stdout
        told = json.loads(interlock("inbox", "show", task, "--json", folder=place.folder).stdout)
        assert told == server.http.get(f"/v1/inbox/{task}").json()
        assert told["details"]["arguments"] == arguments
        assert interlock("inbox", "show", "task_none", folder=place.folder).returncode == REFUSED
