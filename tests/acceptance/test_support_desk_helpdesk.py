"""The help desk's process: started, found, stopped, killed, and refused where it must be."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.support_desk.helpdesk import (
    HelpDesk,
    RunningHelpDesk,
    TrackerError,
    address_of,
    ensure_running,
    find_running,
    read_account,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningHelpDesk]:
    running = ensure_running(tmp_path / "desk")
    yield running
    running.stop()


def serve(home: Path) -> subprocess.CompletedProcess[str]:
    """Serve `home` where that is expected to be refused."""
    return command("serve", home)


def command(name: str, home: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "examples.support_desk.helpdesk", name, "--home", str(home)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


async def open_tickets(running: RunningHelpDesk, references: list[str]) -> None:
    async with HelpDesk(running.url, read_account(running.home, "intake")) as desk:
        for reference in references:
            await desk.open_ticket(reference=reference, title="Late", text="Where is it?")


async def references_of(running: RunningHelpDesk) -> list[str]:
    async with HelpDesk(running.url, read_account(running.home, "agent")) as desk:
        return [ticket.reference for ticket in await desk.tickets()]


def test_tickets_survive_a_stop_and_a_start(running: RunningHelpDesk) -> None:
    asyncio.run(open_tickets(running, ["T-1", "T-2"]))
    running.stop()
    assert running.child is not None
    assert running.child.returncode == 0
    again = ensure_running(running.home)
    try:
        assert asyncio.run(references_of(again)) == ["T-1", "T-2"]
    finally:
        again.stop()


def test_acknowledged_tickets_survive_a_kill(running: RunningHelpDesk) -> None:
    asyncio.run(open_tickets(running, ["T-1", "T-2", "T-3"]))
    os.kill(running.pid, signal.SIGKILL)
    assert running.child is not None
    running.child.wait()
    again = ensure_running(running.home)
    try:
        assert asyncio.run(references_of(again)) == ["T-1", "T-2", "T-3"]
    finally:
        again.stop()


def test_what_runs_already_is_found_and_not_started_twice(running: RunningHelpDesk) -> None:
    found = ensure_running(running.home)
    assert found == running
    assert found.child is None


def test_it_is_stopped_by_its_command(running: RunningHelpDesk) -> None:
    for said in (f"The help desk at {running.url} has ended.", "No help desk is served from"):
        stopped = command("stop", running.home)
        assert (stopped.returncode, stopped.stderr) == (0, "")
        assert stopped.stdout.startswith(said)
    assert find_running(running.home) is None


def test_whoever_stops_it_leaves_its_successor_alone(running: RunningHelpDesk) -> None:
    running.stop()
    successor = ensure_running(running.home)
    try:
        running.stop()
        assert find_running(running.home) == successor
    finally:
        successor.stop()


def test_its_address_is_known_as_long_as_it_may_answer(running: RunningHelpDesk) -> None:
    assert address_of(running.home) == running.url
    running.stop()
    assert address_of(running.home) is None


def test_a_home_is_served_by_one_process_only(running: RunningHelpDesk) -> None:
    refused = serve(running.home)
    assert refused.returncode == 2
    assert f"another process serves {running.home}" in refused.stderr
    assert asyncio.run(references_of(running)) == []


def test_it_listens_on_the_loopback_interface_alone(running: RunningHelpDesk) -> None:
    port = int(running.url.rpartition(":")[2])
    assert running.url.startswith("http://127.0.0.1:")
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = [fields[1] for fields in listening if fields[3] == "0A"]
    bound = [address for address in local if address.endswith(f":{port:04X}")]
    loopback = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
    assert bound == [f"{loopback}:{port:04X}"]


def test_passwords_are_for_the_owner_alone(running: RunningHelpDesk) -> None:
    credentials = running.home / "credentials.json"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(running.home.stat().st_mode) == 0o700
    account = read_account(running.home, "agent")
    assert len(account.password) >= 43
    assert account.password not in repr(account)


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    refused = serve(home)
    assert refused.returncode == 2
    assert f"{home} is not empty and holds no help desk" in refused.stderr
    assert [path.name for path in home.iterdir()] == ["letter.txt"]


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    with pytest.raises(TrackerError, match="is not empty and holds no help desk"):
        ensure_running(home)


def test_a_creation_that_was_cut_short_is_done_again(running: RunningHelpDesk) -> None:
    running.stop()
    (running.home / "desk.json").unlink()
    again = ensure_running(running.home)
    try:
        assert asyncio.run(references_of(again)) == []
    finally:
        again.stop()


def test_an_account_that_is_not_there_is_named(tmp_path: Path, running: RunningHelpDesk) -> None:
    with pytest.raises(TrackerError, match="has no account 'boss'"):
        read_account(running.home, "boss")
    with pytest.raises(TrackerError, match="holds no help desk"):
        read_account(tmp_path / "none", "agent")
