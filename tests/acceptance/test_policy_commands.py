"""`interlock policy check` and `policy replay`: what the policies say, and would have said."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock import App
from interlock.errors import RunFailedError
from interlock.journal import open_store
from interlock.observe.policy_replay import Judged, replay_policies
from tests.support.local import executing, open_task, until_state
from tests.support.serving import interlock

APP = """\
from pathlib import Path

from interlock import App, EffectKey, Run

HERE = Path(__file__).parent
app = App("desk", store=f"sqlite:///{HERE / 'journal.db'}", policies=HERE / "policies")


@app.tool(effect="read", trusted=True)
async def account_of(customer: str) -> str:
    return f"account-{customer}"


@app.tool(
    effect="irreversible",
    recovery="key",
    amount="cents",
    owner="boss",
    destinations=("account",),
)
def refund(account: str, cents: int, key: EffectKey) -> str:
    return f"{cents} to {account}"


@app.tool(effect="write", recovery="repeatable")
def forgotten(text: str) -> str:
    return text


@app.agent("payer")
async def payer(run: Run, order: dict) -> str:
    account = await run.call(account_of, customer=order["customer"])
    return await run.call(refund, account=account, cents=order["cents"])
"""
READS = '@id("reads") permit (principal, action in Action::"any read", resource);\n'
UNCHANGED = (20, 50)
ALLOWED, ASKED, DENIED = 10, 30, 90


def policies(allowed: int, asked: int) -> str:
    """Refunds up to the first amount are allowed, up to the second one a person is asked."""
    return f"""{READS}
@id("small") permit (principal == Agent::"payer", action == Action::"refund", resource)
when {{ context.amount <= {allowed} }};
@id("large") @approval("boss") @reason("A large one.")
permit (principal, action == Action::"refund", resource)
when {{ context.amount > {allowed} && context.amount <= {asked} }};
"""


def verdict(cents: int, allowed: int, asked: int) -> str:
    return "allow" if cents <= allowed else "ask" if cents <= asked else "deny"


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "desk.cedar").write_text(text)
    return folder


def desk(folder: Path, text: str | None = None) -> Path:
    write(folder / "policies", policies(*UNCHANGED) if text is None else text)
    (folder / "desk.py").write_text(APP)
    return folder


def loaded(folder: Path) -> App:
    spec = importlib.util.spec_from_file_location("desk_of_this_test", folder / "desk.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def record(app: App, amounts: Sequence[int]) -> None:
    """Runs that call: some are allowed, some are approved by a person, some are refused."""

    async def main() -> None:
        async with executing(app) as local:
            for cents in amounts:
                handle = await local.start("payer", {"customer": "ann", "cents": cents})
                if verdict(cents, *UNCHANGED) == "ask":
                    task = await open_task(local, handle.id)
                    await local.client.decide(task.id, "approve", by="bea")
                if verdict(cents, *UNCHANGED) == "deny":
                    with pytest.raises(RunFailedError):
                        await handle.result()
                else:
                    assert await handle.result()
                    await until_state(local, handle.id, "completed")

    asyncio.run(main())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = desk(tmp_path_factory.mktemp("desk"))
    record(loaded(folder), [ALLOWED, 20, 21, ASKED, 50, DENIED])
    return folder


def policy(folder: Path, *arguments: str) -> CompletedProcess[str]:
    return interlock("policy", *arguments, "--app", "desk:app", folder=folder)


def test_check_lists_what_holds_and_what_nobody_may(tmp_path: Path) -> None:
    folder = desk(tmp_path)
    told = policy(folder, "check")
    assert told.returncode == 0, told.stderr
    assert "desk.cedar:5" in told.stdout
    assert "no policy permits forgotten: every call of it is refused" in told.stdout
    assert "3 policies hold" in told.stdout
    found = json.loads(policy(folder, "check", "--json").stdout)
    assert found["refused_tools"] == ["forgotten"]
    large = found["policies"][2]
    assert large == {
        "id": "large",
        "place": "desk.cedar:5",
        "effect": "permit",
        "mode": "enforced",
        "approval": {"role": "boss", "within_seconds": 86_400.0, "two_persons": False},
        "reason": "A large one.",
        "agent": None,
        "tools": ["refund"],
    }


def test_check_says_that_a_policy_is_only_logged(tmp_path: Path) -> None:
    watched = '@id("watched") @log_only forbid (principal, action, resource);\n'
    folder = desk(tmp_path, READS + watched)
    found = json.loads(policy(folder, "check", "--json").stdout)
    assert [each["mode"] for each in found["policies"]] == ["enforced", "log_only"]
    assert found["refused_tools"] == ["forgotten", "refund"]


@pytest.mark.parametrize("command", ["check", "replay"])
def test_a_misspelt_attribute_is_named_with_its_file_and_line(tmp_path: Path, command: str) -> None:
    wrong = '\n@id("typo") permit (principal, action == Action::"refund", resource)\n'
    folder = desk(tmp_path, READS + wrong + "when { context.args.acount == 1 };\n")
    told = policy(folder, command)
    assert told.returncode == 2
    assert "desk.cedar:3: policy 'typo'" in told.stderr
    assert "acount" in told.stderr
    assert told.stdout == ""


def test_other_policies_are_checked_beside_the_applications(tmp_path: Path) -> None:
    folder = desk(tmp_path)
    write(folder / "next", READS)
    told = policy(folder, "check", "--policies", "next", "--json")
    assert [each["id"] for each in json.loads(told.stdout)["policies"]] == ["reads"]


def test_an_application_without_policies_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text("from interlock import App\napp = App('desk')\n")
    told = policy(tmp_path, "check")
    assert told.returncode != 0
    assert "app 'desk' has no policies, so every call of a tool is allowed" in told.stderr


def test_unchanged_policies_change_nothing(recorded: Path) -> None:
    told = policy(recorded, "replay", "--since", "1h")
    assert told.returncode == 0, told.stderr
    assert "no call would be decided otherwise" not in told.stdout  # One cannot be judged.
    assert "12 calls: 8 allow → allow, 3 ask → ask, 1 not judged" in told.stdout
    found = json.loads(policy(recorded, "replay", "--json").stdout)
    assert found["counts"] == {"allow → allow": 8, "ask → ask": 3, "not judged": 1}
    assert found["changed"] == []
    (refused,) = found["not_judged"]
    assert (refused["tool"], refused["was"], refused["now"]) == ("refund", "deny", None)
    assert "does not keep the arguments" in refused["why"]


def test_stricter_policies_list_what_would_be_asked_and_refused(recorded: Path) -> None:
    write(recorded / "stricter", policies(15, 40))
    told = policy(recorded, "replay", "--policies", "stricter", "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert [(each["was"], each["now"]) for each in found["changed"]] == [
        ("allow", "ask"),
        ("ask", "deny"),
    ]
    asked = found["changed"][0]
    assert asked["policies"] == ["large"]
    assert "A large one." in asked["why"]
    shown = policy(recorded, "replay", "--policies", "stricter").stdout
    assert "1 allow → ask, " in shown
    assert asked["run"] in shown


def test_a_destination_is_grounded_as_it_was_then(recorded: Path) -> None:
    """The account came from a trusted read: nobody is asked about it, then or now."""
    calls = judged(recorded, *UNCHANGED)
    assert [call.now for call in calls if call.was == "allow"] == ["allow"] * 8


def judged(folder: Path, allowed: int, asked: int) -> Sequence[Judged]:
    app = loaded(folder)
    gateway = app.gateway(write(folder / "drawn", policies(allowed, asked)))
    store = open_store(app.store, create=False)
    try:
        return replay_policies(store, gateway, app.agents, app.tools, since_us=0).calls
    finally:
        store.close()


@settings(max_examples=25, deadline=None)
@given(bounds=st.tuples(st.integers(0, 100), st.integers(0, 100)))
def test_each_call_is_judged_as_the_policies_say(recorded: Path, bounds: tuple[int, int]) -> None:
    allowed, asked = min(bounds), max(bounds)
    refunds: list[Any] = [c for c in judged(recorded, allowed, asked) if c.tool == "refund"]
    amounts = [ALLOWED, 20, 21, ASKED, 50]
    assert [call.now for call in refunds if call.now] == [
        verdict(cents, allowed, asked) for cents in amounts
    ]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("effect_intended", "its arguments were erased"),
        ("read_completed", "what its destinations rested on was erased"),
        ("run_queued", "what its destinations rested on was erased"),
    ],
)
def test_what_was_erased_is_counted_and_not_judged(tmp_path: Path, kind: str, why: str) -> None:
    folder = desk(tmp_path)
    app = loaded(folder)
    record(app, [ALLOWED])
    store = open_store(app.store, create=False)
    positions = [event.position for event in store.scan() if event.kind == kind]
    store.erase(positions, by="ann", reason="test")
    store.close()
    found = json.loads(policy(folder, "replay", "--json").stdout)
    missing = {each["tool"]: each["why"] for each in found["not_judged"]}
    assert missing["refund"] == why
    assert found["changed"] == []


def test_a_moment_to_come_is_refused(recorded: Path) -> None:
    told = policy(recorded, "replay", "--since", "2999-01-01T00:00:00Z")
    assert told.returncode != 0
    assert "still to come" in told.stderr
