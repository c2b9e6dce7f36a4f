"""`python -m examples.support_desk demo`, as a person runs it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.support_desk.__main__ import main
from examples.support_desk.helpdesk import find_running
from examples.support_desk.home import ELSEWHERE, DeskHome
from examples.support_desk.intake import PURCHASES
from examples.support_desk.refunds.ledger import Ledger

ROOT = Path(__file__).parents[2]
LIMIT = 12


def demo(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.support_desk", "demo", *arguments]
    environment = os.environ | variables
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def figure(printed: str, name: str) -> str:
    (found,) = re.findall(rf"^{name} +(\S+)", printed, re.MULTILINE)
    return found


def pasted(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskHome]:
    home = DeskHome(tmp_path_factory.mktemp("demo") / "a home's folder")
    yield home
    home.stop_desk()


@pytest.fixture(scope="module")
def finished(home: DeskHome) -> str:
    """What a demo on the example's own messages prints."""
    ran = demo("--home", str(home.folder), "--limit", str(LIMIT))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_it_tells_what_was_done_and_how(finished: str) -> None:
    assert figure(finished, "tickets") == str(LIMIT)
    answered, escalated = int(figure(finished, "answered")), int(figure(finished, "escalated"))
    assert answered + escalated == LIMIT
    assert answered > escalated > 0
    assert figure(finished, "doubled actions") == "0"
    assert "counted in Roundup, not in our journal" in finished
    assert float(figure(finished, "accuracy").rstrip("%")) > 80
    assert float(figure(finished, "seconds")) > 0
    assert "by a script: no person answered" in finished
    assert figure(finished, "doubled refunds") == "0"
    assert "nearest labelled examples by BM25; no model was used" in finished


def test_the_commands_it_prints_work_when_pasted(finished: str, home: DeskHome) -> None:
    explain, inbox = re.findall(r"^  (.*interlock (?:explain|inbox) .*)$", finished, re.MULTILINE)
    explained = pasted(explain)
    assert explained.returncode == 0, explained.stderr
    for word in ("decide", "confidence", "route", "completed with outcome"):
        assert word in explained.stdout
    asked = pasted(f"{inbox} --json")
    assert asked.returncode == 0, asked.stderr
    tasks = json.loads(asked.stdout)["tasks"]
    assert len(tasks) == int(figure(finished, "escalated"))


def test_the_help_desk_is_stopped_at_the_end(finished: str, home: DeskHome) -> None:
    assert "Roundup answers at http://127.0.0.1:" in finished
    assert "The refund service answers at http://127.0.0.1:" in finished
    assert find_running(home.desk) is None
    assert find_running(home.refunds) is None


def test_the_agent_goes_on_with_what_a_person_decides(finished: str, home: DeskHome) -> None:
    (serve,) = re.findall(r"^  (.*interlock serve .*)$", finished, re.MULTILINE)
    interlock = shlex.quote(str(Path(sys.executable).with_name("interlock")))
    store = f"--store {shlex.quote(str(home.journal))}"
    listed = pasted(f"{interlock} inbox {store} --json")
    task = json.loads(listed.stdout)["tasks"][0]
    choice = shlex.quote(task["choices"][0])
    decided = pasted(f"{interlock} decide {task['id']} {choice} {store}")
    assert decided.returncode == 0, decided.stderr
    server = subprocess.Popen(
        ["sh", "-c", f"{serve} --port 0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        state = ""
        while state != "completed":
            assert server.poll() is None, server.communicate()[0].decode()
            shown = pasted(f"{interlock} show {task['run']} {store} --json")
            state = json.loads(shown.stdout)["run"]["state"]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate()
    for service, folder in (("helpdesk", home.desk), ("refunds", home.refunds)):
        stop = [sys.executable, "-m", f"examples.support_desk.{service}", "stop"]
        stopped = subprocess.run(
            [*stop, "--home", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert "has ended" in stopped.stdout


def test_money_goes_only_to_where_the_customer_directory_says(tmp_path: Path) -> None:
    """Of three who say where to pay, one names the account on file."""
    home = DeskHome(tmp_path / "home")
    # The third is Chidi's, whose account it is.
    ran = demo("--home", str(home.folder), "--tickets", str(ELSEWHERE))
    assert ran.returncode == 0, ran.stderr
    figures = {name: figure(ran.stdout, f"refunds {name}") for name in ("made", "asked", "stopped")}
    assert figures == {"made": "1", "asked": "3", "stopped": "2"}
    assert "1 approved, 2 rejected, by a script: no person answered" in ran.stdout
    (paid,) = Ledger(home.refunds / "ledger.db").find()
    (account,) = [p.account for p in PURCHASES if p.customer == "Chidi"]
    assert (paid.account.replace(" ", ""), paid.cents) == (account, 4500)
    # What customers wrote of accounts is not shown, and no model has seen it.
    store = f"--store {shlex.quote(str(home.journal))}"
    interlock = shlex.quote(str(Path(sys.executable).with_name("interlock")))
    listed = pasted(f"{interlock} inbox --state decided {store} --json").stdout
    task = json.loads(listed)["tasks"][0]
    assert task["details"]["arguments"]["account"].startswith(("iban#", "email#"))
    shown = pasted(f"{interlock} show {task['run']} --events {store} --json").stdout
    for secret in ("NO93", "8601", "quick-refunds", "NWBK"):
        assert secret not in listed
        assert secret not in shown
    key = f"INTERLOCK_VAULT_KEY_FILE={shlex.quote(str(home.vault_key()))}"
    revealed = pasted(f"{key} {interlock} inbox show {task['id']} --reveal {store}").stdout
    assert any(secret in revealed for secret in ("NO93", "quick-refunds", "NWBK"))


def test_a_finished_demo_starts_afresh(tmp_path: Path) -> None:
    for _ in range(2):
        ran = demo("--home", str(tmp_path / "home"), "--limit", "2")
        assert ran.returncode == 0, ran.stderr
        assert "Going on" not in ran.stdout
        assert figure(ran.stdout, "tickets") == "2"


def test_an_interrupted_demo_is_gone_on_with_and_not_mixed_with_another(tmp_path: Path) -> None:
    home = DeskHome(tmp_path / "home")
    options = ("--home", str(home.folder), "--limit", "20")
    interrupted = subprocess.Popen(
        [sys.executable, "-m", "examples.support_desk", "demo", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while find_running(home.desk) is None:
        assert interrupted.poll() is None
        time.sleep(0.02)
    interrupted.send_signal(signal.SIGINT)
    _, said = interrupted.communicate()
    assert (interrupted.returncode, said) == (
        130,
        "support_desk: interrupted; the same command goes on from here\n",
    )
    assert find_running(home.desk) is None
    other = demo("--home", str(home.folder), "--limit", "3")
    assert other.returncode == 2
    assert "holds a demo on other messages that was interrupted" in other.stderr
    same = demo(*options)
    assert same.returncode == 0, same.stderr
    assert "Going on with the demo that was interrupted" in same.stdout
    assert figure(same.stdout, "tickets") == "20"


def test_labelled_messages_of_ones_own(tmp_path: Path) -> None:
    train, tickets = tmp_path / "train.csv", tmp_path / "tickets.csv"
    train.write_text('text,category\nred apple,"fruit, ripe"\n')
    tickets.write_text('text,category\na red apple,"fruit, ripe"\nred apple,pear\n')
    home = str(tmp_path / "home")
    ran = demo("--train", str(train), "--tickets", str(tickets), "--floor", "0", "--home", home)
    assert ran.returncode == 0, ran.stderr
    assert figure(ran.stdout, "answered") == "2"
    assert figure(ran.stdout, "accuracy") == "50.0%"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--home", "foreign"], "foreign holds something else (letter.txt)"),
        (["--home", "/proc/none"], "/proc/none cannot be the demo's home"),
        (["--tickets", "none.csv"], "none.csv cannot be read"),
        (["--train", "nameless.csv"], "lacks the column 'category'"),
        (["--tickets", "numbered.csv"], "the category '404' cannot be a tag"),
        (["--limit", "0"], "a limit of 0 leaves no message"),
        (["--home", "garbled"], "orders.json is garbled"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("foreign/letter.txt", "dear"),
        ("garbled/orders.json", "{"),
        ("nameless.csv", "text,label\nhello,greeting\n"),
        ("numbered.csv", "text,category\nhello,404\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = sorted(tmp_path.rglob("*.*"))
    assert main(["demo", *arguments]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.startswith("support_desk: ")
    assert printed.count("\n") == 1
    assert set(before) <= set(tmp_path.rglob("*.*"))


def test_without_roundup_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['roundup'] = None\n")
    ran = demo("--home", str(tmp_path / "home"), PYTHONPATH=str(tmp_path))
    assert ran.returncode == 2
    assert "pip install 'interlock[example]'" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_one_home_has_one_demo_at_a_time(tmp_path: Path) -> None:
    home = DeskHome(tmp_path / "home")
    with home.sole_user():
        ran = demo("--home", str(home.folder))
    assert ran.returncode == 2
    assert f"another demo works in {home.folder}" in ran.stderr


def test_public_messages_in_77_categories(tmp_path: Path, recorded_data: Path) -> None:
    bank = recorded_data / "banking77"
    home = str(tmp_path / "home")
    files = ("--train", str(bank / "train.csv"), "--tickets", str(bank / "test.csv"))
    ran = demo(*files, "--limit", "40", "--home", home)
    assert ran.returncode == 0, ran.stderr
    assert figure(ran.stdout, "tickets") == "40"
    assert figure(ran.stdout, "doubled actions") == "0"
    assert float(figure(ran.stdout, "accuracy").rstrip("%")) >= 95
