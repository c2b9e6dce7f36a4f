"""What each command prints, for people and for machines, and how it ends."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from interlock.cli import app
from tests.support.serving import APP, store_in

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs a command in this process, on a journal of the test's own."""

    def invoke(*arguments: str) -> Result:
        needs_app = ["--app", APP] if arguments[0] == "run" else []
        return CliRunner().invoke(app, [*arguments, *needs_app, "--store", store_in(tmp_path)])

    return invoke


def ok(result: Result) -> str:
    """The output of a command that went well."""
    assert result.exit_code == 0, (result.stderr, result.exception)
    return result.stdout


def wrong(result: Result, exit_code: int, code: str) -> str:
    """The message of a command that did not go well."""
    assert result.exit_code == exit_code, (result.output, result.exception)
    assert result.stderr.splitlines()[-1].startswith(f"error [{code}]: "), result.stderr
    assert "Traceback" not in result.output
    return result.stderr


def start(command: Command, agent: str, value: Any = None, *more: str) -> dict[str, Any]:
    """Queue or execute a run."""
    return json.loads(ok(command("run", agent, "--input", json.dumps(value), "--json", *more)))


# run


def test_run_prints_the_result_and_how_it_goes_apart(command: Command) -> None:
    done = command("run", "echo", "--input", '{"text": "größe"}')
    assert json.loads(ok(done)) == {"answer": "GRÖSSE"}
    assert "executes here" in done.stderr


def test_run_as_json_shows_the_run(command: Command) -> None:
    run = start(command, "echo", {"text": "a"})
    assert (run["state"], run["outcome"], run["created"]) == ("completed", "resolved", True)
    assert run["result"] == {"answer": "A"}


def test_a_run_that_fails_or_is_parked_ends_with_1(command: Command) -> None:
    assert "it cannot be done" in wrong(command("run", "failer"), 1, "run_failed")
    assert "interlock retry" in wrong(command("run", "stuck"), 1, "run_failed")
    failed = command("run", "failer", "--json")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["error"]["type"] == "ValueError"


def test_wrong_input_names_every_field_and_ends_with_2(command: Command) -> None:
    said = wrong(command("run", "echo", "--input", '{"priority": -1}'), 2, "invalid_input")
    assert "text" in said
    assert "priority" in said


def test_no_wait_queues_and_the_same_key_finds_it(command: Command) -> None:
    first = ok(command("run", "waiter", "--no-wait", "--idempotency-key", "k")).strip()
    again = start(command, "waiter", None, "--no-wait", "--idempotency-key", "k")
    assert (again["id"], again["created"], again["state"]) == (first, False, "queued")
    taken = command("run", "echo", "--no-wait", "--idempotency-key", "e", "--input", '{"text":"a"}')
    ok(taken)
    other = command("run", "echo", "--no-wait", "--idempotency-key", "e", "--input", '{"text":"b"}')
    wrong(other, 2, "idempotency_conflict")


def test_options_reach_the_run(command: Command) -> None:
    options = ("--tenant", "acme", "--priority", "9", "--start-after", "2h", "--deadline", "3d")
    run = start(command, "waiter", None, "--no-wait", *options)
    assert (run["tenant"], run["priority"]) == ("acme", 9)
    assert "not before" in run["explanation"]
    assert "it is cancelled" in run["explanation"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("run", "nobody"), 1, "not_found"),
        (("run", "echo", "--input", "{text: 1}"), 2, "invalid_input"),
        (("run", "echo", "--input", "@absent.json"), 2, "invalid_input"),
        (("run", "echo", "--start-after", "soon"), 2, "invalid_input"),
        (("run", "echo", "--deadline", "2026-05-01T00:00:00"), 2, "invalid_input"),
    ],
)
def test_wrong_use_of_run(
    command: Command, arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    wrong(command(*arguments), exit_code, code)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("absent_module:app", "absent_module"),
        ("tests.support.served_app:nothing", "nothing"),
        ("tests.support.served_app:echo", "App is needed"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_explained(spec: str, says: str) -> None:
    assert says in wrong(
        CliRunner().invoke(app, ["run", "echo", "--app", spec]), 2, "invalid_input"
    )


def test_an_app_is_asked_for_where_it_is_needed() -> None:
    assert "--app" in wrong(CliRunner().invoke(app, ["run", "echo"]), 2, "invalid_input")
    assert "--app" in wrong(CliRunner().invoke(app, ["serve"]), 2, "invalid_input")


# runs, show, explain


def test_runs_are_listed_filtered_and_paged(command: Command) -> None:
    ids = [start(command, "waiter", None, "--no-wait")["id"] for _ in range(3)]
    start(command, "echo", {"text": "a"}, "--tenant", "acme")
    listed = json.loads(ok(command("runs", "--agent", "waiter", "--limit", "2", "--json")))
    assert [run["id"] for run in listed["runs"]] == [ids[2], ids[1]]
    before = ("--before", listed["next"])
    rest = json.loads(ok(command("runs", "--agent", "waiter", *before, "--json")))
    assert ([run["id"] for run in rest["runs"]], rest["next"]) == ([ids[0]], None)
    text = ok(command("runs", "--tenant", "acme"))
    assert "echo" in text
    assert "waiter" not in text
    assert "interlock runs --before" in ok(command("runs", "--limit", "1"))
    assert "no runs" in ok(command("runs", "--state", "failed"))
    wrong(command("runs", "--state", "lost"), 2, "invalid_input")
    wrong(command("runs", "--before", "run_x"), 1, "not_found")


def test_show_leaves_bodies_out_unless_asked(command: Command) -> None:
    run = start(command, "echo", {"text": "hush"})["id"]
    plain = ok(command("show", run))
    assert "run_completed" in plain
    assert "hush" not in plain.lower()
    assert '"text": "hush"' in ok(command("show", run, "--bodies"))
    shown = json.loads(ok(command("show", run, "--json")))
    assert shown["run"]["result"] == {"answer": "HUSH"}
    assert all("body" not in event for event in shown["events"])
    full = json.loads(ok(command("show", run, "--json", "--bodies")))
    assert full["events"][0]["body"]["text"] == "hush"
    cut = ok(command("show", run, "--limit", "1"))
    assert f"({len(shown['events']) - 1} earlier events" in cut


def test_explain_tells_the_sentence_and_every_event(command: Command) -> None:
    run = start(command, "echo", {"text": "why"})["id"]
    told = json.loads(ok(command("explain", run, "--json")))
    events = json.loads(ok(command("show", run, "--json")))["events"]
    assert [line["seq"] for line in told["story"]] == [event["seq"] for event in events]
    text = ok(command("explain", run))
    assert text.splitlines()[0] == told["sentence"]
    assert 'Answer: "WHY"' in text
    assert "why" not in ok(command("explain", run, "--no-bodies")).lower()


def test_explain_shows_what_waits_in_the_mailbox(command: Command) -> None:
    run = start(command, "waiter", None, "--no-wait")["id"]
    ok(command("signal", run, "later", "1", "--by", "ana"))
    assert "signal 'later' from ana" in ok(command("explain", run))


def test_show_and_explain_have_the_state_of_each_step_of_a_plan(command: Command) -> None:
    run = start(command, "planner", 5)
    assert run["result"] == 20
    states = {"first": "done", "second": "done"}
    for reading in ("show", "explain"):
        (plan,) = json.loads(ok(command(reading, run["id"], "--json")))["plans"]
        assert {step["id"]: step["state"] for step in plan["steps"]} == states
        text = ok(command(reading, run["id"]))
        assert "plan 1" in text
        assert [line.split()[-1] for line in text.splitlines() if "double  " in line][:2] == [
            "done", "done",
        ]  # fmt: skip


# What others write is shown harmlessly.


def test_control_characters_do_not_reach_the_terminal(command: Command) -> None:
    nasty = "\x1b[2J\x9b31m\u202eevil\r[red]bold[/red]"
    run = start(command, "echo", {"text": nasty})["id"]
    ok(command("cancel", start(command, "waiter", None, "--no-wait")["id"], "--by", nasty))
    for arguments in (("show", run, "--bodies"), ("explain", run), ("runs",)):
        shown = ok(command(*arguments))
        assert not set(shown) & set("\x1b\x9b\u202e\r")
    assert "[red]" in ok(command("explain", run))
    as_json = ok(command("show", run, "--bodies", "--json"))
    assert not set(as_json) & set("\x1b\x9b\u202e\r")
    assert json.loads(as_json)["events"][0]["body"]["text"] == nasty


# Messages


def test_a_message_with_an_id_is_sent_once(command: Command) -> None:
    run = start(command, "waiter", None, "--no-wait")["id"]
    for _ in range(2):
        sent = json.loads(ok(command("signal", run, "go", "--message-id", "m1", "--json")))
        assert sent == {"run": run, "message": "m1"}
    assert len(json.loads(ok(command("explain", run, "--json")))["unread"]) == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("cancel", "run_x"), 1, "not_found"),
        (("signal", "run_x", "go"), 1, "not_found"),
        (("signal", "run_x", "go", "not json"), 2, "invalid_input"),
        (("retry", "run_x"), 1, "not_found"),
        (("decide", "task_x", "yes"), 1, "not_found"),
        (("decide", "task_x", "yes", "--value", "nonsense"), 2, "invalid_input"),
        (("show", "run_x"), 1, "not_found"),
        (("explain", "run_x"), 1, "not_found"),
        (("effects", "--state", "lost"), 2, "invalid_input"),
        (("inbox", "--state", "lost"), 2, "invalid_input"),
    ],
)
def test_what_is_not_there_or_does_not_fit(
    command: Command, arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    start(command, "waiter", None, "--no-wait")
    wrong(command(*arguments), exit_code, code)


def test_a_run_that_is_not_parked_is_not_retried(command: Command) -> None:
    run = start(command, "echo", {"text": "a"})["id"]
    for arguments in (("retry", run), ("cancel", run), ("signal", run, "go")):
        assert "completed" in wrong(command(*arguments), 1, "conflict")


def test_empty_lists_say_so(command: Command) -> None:
    start(command, "waiter", None, "--no-wait")
    assert ok(command("inbox")) == "nothing to decide\n"
    assert ok(command("effects")) == "no effects\n"
    assert json.loads(ok(command("inbox", "--json"))) == {"tasks": [], "next": None}
    assert json.loads(ok(command("effects", "--json"))) == {"effects": [], "next": None}


@pytest.mark.parametrize(
    "flags", [(), ("--happened", "--give-up"), ("--not-happened", "--result", "1")]
)
def test_a_resolution_is_one_word(tmp_path: Path, flags: tuple[str, ...]) -> None:
    arguments = ["effects", "resolve", "effect_x", *flags, "--store", store_in(tmp_path)]
    wrong(CliRunner().invoke(app, arguments), 2, "invalid_input")


def test_an_unknown_effect_is_not_resolved(command: Command, tmp_path: Path) -> None:
    start(command, "waiter", None, "--no-wait")
    arguments = ["effects", "resolve", "effect_x", "--happened", "--store", store_in(tmp_path)]
    wrong(CliRunner().invoke(app, arguments), 1, "not_found")


# verify, and stores that are not there


def test_verify_is_honest(command: Command, tmp_path: Path) -> None:
    start(command, "echo", {"text": "a"})
    assert "sound" in ok(command("verify", "--rebuild"))
    sound = json.loads(ok(command("verify", "--json")))
    assert (sound["sound"], sound["problems"]) == (True, [])
    _tamper(tmp_path / "journal.db")
    assert command("verify", "--rebuild").exit_code == 1
    found = json.loads(command("verify", "--rebuild", "--json").stdout)
    assert not found["sound"]
    assert found["problems"]


def test_verify_sees_a_cut_tail_by_its_checkpoint(command: Command, tmp_path: Path) -> None:
    start(command, "echo", {"text": "a"})
    # The executor that ran it signed one when it ended.
    assert "1 checkpoints" in ok(command("verify"))
    database = tmp_path / "journal.db"
    with closing(sqlite3.connect(database)) as journal, journal:
        journal.execute("DELETE FROM events WHERE position = (SELECT max(position) FROM events)")
    result = command("verify")
    assert result.exit_code == 1
    assert "checkpoint" in result.stdout


def _tamper(database: Path) -> None:
    with closing(sqlite3.connect(database)) as journal, journal:
        journal.execute("UPDATE events SET kind = 'run_failed' WHERE kind = 'run_completed'")


@pytest.mark.parametrize(
    "arguments", [("runs",), ("inbox",), ("effects",), ("verify",), ("show", "run_x")]
)
def test_reading_makes_no_journal(command: Command, tmp_path: Path, arguments: Any) -> None:
    wrong(command(*arguments), 1, "not_found")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_journal_is_said(command: Command, tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_text("something else entirely, and long enough to be read")
    result = command("runs")
    assert result.exit_code in (2, 3)
    assert result.stderr.startswith("error [")
    assert "journal.db" in result.stderr


def test_the_version_is_told() -> None:
    assert ok(CliRunner().invoke(app, ["--version"])).startswith("interlock ")
