"""Tools for agents that are not ours: the official client against a served application."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from tests.support.mcp_client import MODES, call, client_of, said
from tests.support.offering import made, prepare
from tests.support.serving import JSON, ROOT, Served, interlock, served, store_in, until

APP = "tests.support.offering_app:app"
KEYS = {
    "partner": ("--agent", "--role", "call"),
    "reader": ("--agent", "--role", "call"),
    "stranger": ("--agent", "--role", "call"),
    "weak": ("--agent", "--role", "read"),
    "ana": ("--role", "admin", "--role", "billing-team"),
}
Mode = Any


@dataclass
class Shop:
    """A served application, and the keys of its callers by name."""

    server: Served
    keys: dict[str, str]

    @property
    def folder(self) -> Path:
        """Where it runs."""
        return self.server.folder

    @asynccontextmanager
    async def client(self, name: str, mode: Mode = "2026-07-28") -> AsyncGenerator[Client]:
        """A connected client of a caller."""
        async with client_of(self.server.url, self.keys[name], mode) as client:
            yield client

    def decide(self, task: str, choice: str, *more: str) -> None:
        """A person's word, from the command line."""
        decided = interlock("decide", task, choice, "--by", "ana", *more, folder=self.folder)
        assert decided.returncode == 0, decided.stderr

    def new(self, before: int) -> list[dict[str, Any]]:
        """The writes that were made since there were so many."""
        return made(self.folder)[before:]

    def count(self) -> int:
        """How many writes were made."""
        return len(made(self.folder))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One server for the tests that leave nothing open."""
    folder = tmp_path_factory.mktemp("mcp_gateway")
    with shop_in(folder) as found:
        yield found


@contextmanager
def shop_in(folder: Path, *arguments: str) -> Iterator[Shop]:
    """A server in a folder that asks who calls."""
    if not (folder / "policies").exists():
        prepare(folder)
    file = str(folder / "keys.json")
    keys: dict[str, str] = {}
    for name, more in KEYS.items():
        new = interlock("key", "new", name, "--keys", file, *more, folder=folder)
        keys[name] = new.stdout.strip()
    with served(folder, "--keys", file, "--mcp-wait", "10", *arguments, app=APP) as server:
        yield Shop(server, keys)


def run(scenario: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Carry a scenario out on a loop of its own."""
    return asyncio.run(scenario())


def meta(result: CallToolResult) -> dict[str, Any]:
    """What a result says about itself."""
    return cast("dict[str, Any]", result.meta or {})


# What is offered.


@pytest.mark.parametrize("mode", MODES)
def test_a_client_sees_what_is_offered_to_it_and_nothing_else(shop: Shop, mode: Mode) -> None:
    async def scenario() -> None:
        async with shop.client("partner", mode) as partner:
            tools = {tool.name: tool for tool in (await partner.list_tools()).tools}
            assert set(tools) == {
                *("find_order", "find_numbers", "broken", "refund", "note", "send", "slowly"),
                "interlock_result",
            }
            refund = tools["refund"]
            assert set(refund.input_schema["properties"]) == {"account", "cents"}
            assert refund.annotations is not None
            assert refund.annotations.destructive_hint
            assert refund.description == "Pay a customer back."
            assert tools["find_order"].output_schema is not None
        async with shop.client("reader", mode) as reader:
            names = {tool.name for tool in (await reader.list_tools()).tools}
            assert names == {"find_order", "interlock_result"}
        async with shop.client("stranger", mode) as stranger:
            assert (await stranger.list_tools()).tools == []

    run(scenario)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("caller", "tool"), [("partner", "inner"), ("reader", "note"), ("stranger", "find_order")]
)
def test_a_tool_that_is_not_offered_cannot_be_called(
    shop: Shop, mode: Mode, caller: str, tool: str
) -> None:
    async def scenario() -> None:
        async with shop.client(caller, mode) as client:
            with pytest.raises(MCPError, match=f"no tool '{tool}'"):
                await call(client, tool, text="x")

    before = shop.count()
    run(scenario)
    assert shop.new(before) == []


# Calls.


@pytest.mark.parametrize("mode", MODES)
def test_a_read_answers_in_its_promised_shape(shop: Shop, mode: Mode) -> None:
    async def scenario() -> None:
        async with shop.client("partner", mode) as partner:
            await partner.list_tools()
            found = await call(partner, "find_order", number=17)
            assert not found.is_error
            assert found.structured_content == {"number": 17, "customer": "ada", "note": None}
            assert json.loads(said(found)) == found.structured_content
            assert meta(found)["ifc"] == {"integrity": "untrusted"}
            numbers = await call(partner, "find_numbers", of="ada")
            assert numbers.structured_content == {"result": [17, 3]}

    run(scenario)


@pytest.mark.parametrize("mode", MODES)
def test_a_write_is_a_run_that_is_told_like_any_other(shop: Shop, mode: Mode) -> None:
    async def scenario() -> str:
        async with shop.client("partner", mode) as partner:
            noted = await call(partner, "note", text=f"hello {mode}")
            assert not noted.is_error, said(noted)
            return meta(noted)["interlock/run"]

    before = shop.count()
    name = run(scenario)
    assert shop.new(before) == [{"tool": "note", "text": f"hello {mode}", "pinned": False}]
    told = interlock("explain", name, folder=shop.folder).stdout
    assert "'mcp:partner', by partner" in told
    assert "note" in told
    shown = json.loads(interlock("show", name, "--json", folder=shop.folder).stdout)
    assert shown["run"]["agent"] == "mcp:partner"
    effects = interlock("effects", "--run", name, "--json", folder=shop.folder).stdout
    assert [one["state"] for one in json.loads(effects)["effects"]] == ["completed"]


@pytest.mark.parametrize("mode", MODES)
def test_wrong_arguments_name_the_field_and_reach_no_tool(shop: Shop, mode: Mode) -> None:
    async def scenario() -> None:
        async with shop.client("partner", mode) as partner:
            wrong = await call(partner, "refund", account="DE1", cents="many", colour="red")
            assert wrong.is_error
            assert said(wrong).startswith("[invalid_input]")
            assert "cents" in said(wrong)
            assert "colour" in said(wrong)
            problems = {one["field"] for one in meta(wrong)["interlock/problems"]}
            assert problems == {"cents", "colour"}
            assert "many" not in said(wrong)
            missing = await call(partner, "refund", cents=5)
            assert "account" in said(missing)

    before = shop.count()
    run(scenario)
    assert shop.new(before) == []


def test_a_tool_that_fails_tells_it_without_its_secrets(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.client("partner") as partner:
            failed = await call(partner, "broken", tool="luck", wait=30)
            assert failed.is_error
            assert meta(failed)["interlock/code"] == "step_failed"
            assert "no luck" in said(failed)
            assert "horse" not in said(failed)

    run(scenario)


# Policies and approvals.


@pytest.mark.parametrize("account", ["blocked", "own"])
def test_what_a_policy_forbids_is_not_done(shop: Shop, account: str) -> None:
    async def scenario() -> None:
        async with shop.client("partner") as partner:
            refused = await call(partner, "refund", account=account, cents=100)
            assert refused.is_error
            assert meta(refused)["interlock/code"] == "not_allowed"

    before = shop.count()
    run(scenario)
    assert shop.new(before) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_is_approved_while_it_waits_is_answered(shop: Shop, mode: Mode) -> None:
    async def scenario() -> None:
        async with shop.client("partner", mode) as partner:
            asked = asyncio.create_task(
                call(partner, "refund", account=f"DE-{mode}", cents=9000, wait=60)
            )
            task = await asyncio.to_thread(open_task, shop, "refund")
            await asyncio.to_thread(shop.decide, task, "approve")
            result = await asked
            assert not result.is_error, said(result)
            assert said(result) == "paid 9000"

    before = shop.count()
    run(scenario)
    assert [one["account"] for one in shop.new(before)] == [f"DE-{mode}"]


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_needs_an_approval_says_whom_it_asks_and_is_not_doubled(
    shop: Shop, mode: Mode
) -> None:
    async def scenario() -> None:
        async with shop.client("partner", mode) as partner:
            first = await call(partner, "refund", account=f"FR-{mode}", cents=7000, wait=1)
            assert first.is_error
            assert meta(first)["interlock/state"] == "pending"
            assert meta(first)["interlock/code"] == "approval_needed"
            (task,) = meta(first)["interlock/tasks"]
            assert task["role"] == "billing-team"
            assert f"interlock decide {task['task']} approve" in said(first)
            again = await call(partner, "refund", account=f"FR-{mode}", cents=7000, wait=0)
            assert meta(again)["interlock/tasks"] == [task], "nobody is asked twice"
            name = meta(first)["interlock/run"]
            waits = await call(partner, "interlock_result", run=name, wait=0)
            assert meta(waits)["interlock/state"] == "pending"
            await asyncio.to_thread(shop.decide, task["task"], "approve")
            result = await call(partner, "interlock_result", run=name, wait=30)
            assert said(result) == "paid 7000"
            assert result.structured_content == {"result": "paid 7000"}

    before = shop.count()
    run(scenario)
    assert [one["account"] for one in shop.new(before)] == [f"FR-{mode}"]


def test_a_rejected_call_is_never_made(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.client("partner") as partner:
            asked = await call(partner, "refund", account="IT1", cents=8000, wait=1)
            (task,) = meta(asked)["interlock/tasks"]
            await asyncio.to_thread(shop.decide, task["task"], "reject")
            result = await call(
                partner, "interlock_result", run=meta(asked)["interlock/run"], wait=30
            )
            assert result.is_error
            assert meta(result)["interlock/code"] == "not_allowed"
            assert "rejected" in said(result)

    before = shop.count()
    run(scenario)
    assert shop.new(before) == []


def test_the_one_who_calls_cannot_approve_it(shop: Shop) -> None:
    async def scenario() -> str:
        async with shop.client("partner") as partner:
            asked = await call(partner, "refund", account="ES1", cents=8000, wait=1)
            return meta(asked)["interlock/tasks"][0]["task"]

    task = run(scenario)
    path = f"/v1/inbox/{task}/decision"
    with shop.server.as_caller(shop.keys["partner"]) as partner:
        assert partner.post(path, json={"choice": "approve"}).status_code == 403
    with shop.server.as_caller(shop.keys["ana"]) as ana:
        assert ana.post(path, json={"choice": "reject"}).json()["decided_by"] == "ana"


def test_what_a_foreign_agent_says_is_no_ground_for_where_something_goes(shop: Shop) -> None:
    async def scenario() -> None:
        async with shop.client("partner") as partner:
            known = await call(partner, "send", to="desk@shop.example", body="x")
            assert said(known) == "sent"
            asked = await call(partner, "send", to="eve@evil.example", body="x", wait=1)
            assert meta(asked)["interlock/code"] == "approval_needed"
            (task,) = meta(asked)["interlock/tasks"]
            await asyncio.to_thread(shop.decide, task["task"], "reject")

    before = shop.count()
    run(scenario)
    assert [one["to"] for one in shop.new(before)] == ["desk@shop.example"]


def open_task(shop: Shop, tool: str) -> str:
    """The open task about a tool's call."""

    def found() -> str | None:
        listed = interlock("inbox", "--json", folder=shop.folder).stdout
        tasks = json.loads(listed)["tasks"] if listed else []
        about = (one["id"] for one in tasks if (one["details"] or {}).get("tool") == tool)
        return next(about, None)

    return cast("str", until(found, f"somebody is asked about {tool}"))


# Repeats.


@pytest.mark.parametrize("mode", MODES)
def test_a_repeat_with_the_same_key_does_nothing_twice(shop: Shop, mode: Mode) -> None:
    async def scenario() -> None:
        runs: set[str] = set()
        for _ in range(2):
            async with shop.client("partner", mode) as partner:
                paid = await asyncio.gather(
                    *(
                        call(partner, "refund", key=f"k-{mode}", account="NL1", cents=100)
                        for _ in range(3)
                    )
                )
                assert {said(one) for one in paid} == {"paid 100"}
                runs |= {meta(one)["interlock/run"] for one in paid}
        assert len(runs) == 1
        async with shop.client("partner", mode) as partner:
            other = await call(partner, "refund", key=f"k-{mode}", account="NL1", cents=200)
            assert meta(other)["interlock/code"] == "idempotency_conflict"
            another = await call(partner, "refund", key=f"l-{mode}", account="NL1", cents=100)
            assert meta(another)["interlock/run"] not in runs

    before = shop.count()
    run(scenario)
    first, second = shop.new(before)
    assert first["key"] != second["key"]


def test_another_caller_has_keys_of_its_own(shop: Shop) -> None:
    async def scenario() -> None:
        runs: list[str] = []
        for caller in ("partner", "reader"):
            async with shop.client(caller) as client:
                found = await call(client, "find_order", key="same", number=1)
                runs.append(meta(found)["interlock/run"])
        assert len(set(runs)) == 2
        async with shop.client("reader") as reader:
            foreign = await call(reader, "interlock_result", run=runs[0])
            assert meta(foreign)["interlock/code"] == "not_found"

    run(scenario)


def test_the_same_request_of_a_session_does_nothing_twice(shop: Shop) -> None:
    """What a transport sends again after a lost answer: the same id in the same session."""
    body = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": "note", "arguments": {"text": "once"}},
    }
    before = shop.count()
    with shop.server.as_caller(shop.keys["partner"]) as http:
        session = opened(http)
        answers = [answered(http.post("/mcp", json=body, headers=session)) for _ in range(2)]
        runs = {one["result"]["_meta"]["interlock/run"] for one in answers}
        assert len(runs) == 1
        answered(http.post("/mcp", json={**body, "id": 8}, headers=session))
    assert [one["text"] for one in shop.new(before)] == ["once", "once"]


def opened(http: httpx.Client) -> dict[str, str]:
    """The headers of a new session."""
    accept = {"accept": "application/json, text/event-stream", **JSON}
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    answer = http.post("/mcp", json=hello, headers=accept)
    assert answer.status_code == 200, answer.text
    assert answered(answer)["result"]["protocolVersion"] == "2025-11-25"
    session = {**accept, "mcp-session-id": answer.headers["mcp-session-id"]}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert http.post("/mcp", json=ready, headers=session).status_code == 202
    return session


def answered(answer: httpx.Response) -> dict[str, Any]:
    """The message in an answer, a stream of one or not."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("application/json"):
        return answer.json()
    data = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    return json.loads(data[-1])


def test_a_session_is_its_callers_only(shop: Shop) -> None:
    with (
        shop.server.as_caller(shop.keys["partner"]) as partner,
        shop.server.as_caller(shop.keys["reader"]) as reader,
    ):
        session = opened(partner)
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        assert reader.post("/mcp", json=listing, headers=session).status_code == 404
        assert partner.post("/mcp", json=listing, headers=session).status_code == 200
        assert reader.delete("/mcp", headers=session).status_code == 404
        assert partner.delete("/mcp", headers=session).status_code == 200
        assert partner.post("/mcp", json=listing, headers=session).status_code == 404
        assert session["mcp-session-id"] not in shop.server.said()


# The door.


def test_nobody_is_served_unknown(shop: Shop) -> None:
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    answer = shop.server.http.post("/mcp", json=listing)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    with shop.server.as_caller(shop.keys["weak"]) as weak:
        refused = weak.post("/mcp", json=listing)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"host": "evil.example"}, 421), ({"origin": "https://evil.example"}, 403)],
)
def test_a_wrong_host_or_page_is_refused(shop: Shop, headers: dict[str, str], status: int) -> None:
    with shop.server.as_caller(shop.keys["partner"]) as partner:
        session = opened(partner)
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        for method in ("POST", "GET", "DELETE"):
            answer = partner.request(method, "/mcp", json=listing, headers={**session, **headers})
            assert answer.status_code == status


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interlock/idempotencyKey", 5),
        ("interlock/idempotencyKey", "x" * 256),
        ("interlock/waitSeconds", "long"),
        ("interlock/waitSeconds", 61),
        ("interlock/waitSeconds", True),
    ],
)
def test_what_is_asked_for_has_to_fit(shop: Shop, name: str, value: Any) -> None:
    async def scenario() -> None:
        async with shop.client("partner") as partner:
            with pytest.raises(MCPError, match=name):
                await partner.call_tool(
                    "find_order", {"number": 1}, meta=cast("Any", {name: value})
                )

    run(scenario)


# Its life.


def test_a_call_outlives_the_server(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def ask(shop: Shop) -> str:
        async with shop.client("partner") as partner:
            asked = await call(partner, "slowly", key="k", gate=str(gate), wait=0)
            assert meta(asked)["interlock/state"] == "pending"
            assert "has not ended yet" in said(asked)
            await asyncio.to_thread(until, lambda: made(tmp_path), "the call is made")
            return meta(asked)["interlock/run"]

    async def ask_again(shop: Shop, name: str) -> None:
        async with shop.client("partner") as partner:
            result = await call(partner, "slowly", key="k", gate=str(gate), wait=30)
            assert said(result) == "done"
            assert meta(result)["interlock/run"] == name

    with shop_in(tmp_path, "--grace", "0.2") as first:
        name = run(lambda: ask(first))
        first.server.signal(signal.SIGKILL)
        first.server.ended()
    gate.touch()
    with shop_in(tmp_path) as second:
        run(lambda: ask_again(second, name))


def test_who_waits_is_answered_when_the_server_stops(tmp_path: Path) -> None:
    async def scenario(shop: Shop) -> None:
        async with shop.client("partner", "legacy") as partner:
            asked = asyncio.create_task(call(partner, "refund", account="DE1", cents=9000, wait=60))
            await asyncio.to_thread(open_task, shop, "refund")
            shop.server.signal(signal.SIGTERM)
            assert meta(await asked)["interlock/code"] == "approval_needed"

    with shop_in(tmp_path) as shop:
        run(lambda: scenario(shop))
        assert shop.server.ended() == 0
        assert "Traceback" not in shop.server.said()


def test_on_this_machine_nobody_is_asked_and_the_offer_is_that_to_local(tmp_path: Path) -> None:
    prepare(tmp_path)

    async def scenario(url: str) -> None:
        async with client_of(url) as client:
            noted = await call(client, "note", text="hello")
            assert not noted.is_error, said(noted)

    with served(tmp_path, app=APP) as server:
        run(lambda: scenario(server.url))
    assert [one["text"] for one in made(tmp_path)] == ["hello"]


# Over standard streams.


def stdio(folder: Path, *arguments: str, **more: str) -> StdioServerParameters:
    """How a client starts the gateway as a process of its own."""
    program = "from interlock.cli import main; main()"
    command = ["-W", "error", "-c", program, "mcp", "serve", "--app", APP, *arguments]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "INTERLOCK_STORE": store_in(folder),
        **more,
    }
    return StdioServerParameters(
        command=sys.executable, args=command, env=environment, cwd=str(folder)
    )


@pytest.mark.parametrize("mode", MODES)
def test_it_is_served_over_standard_streams(tmp_path: Path, mode: Mode) -> None:
    prepare(tmp_path)

    async def scenario() -> str:
        async with Client(stdio(tmp_path, "--client", "partner"), mode=mode) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "refund" in names
            paid = await call(client, "refund", account="DE1", cents=100)
            assert said(paid) == "paid 100"
            return meta(paid)["interlock/run"]

    name = run(scenario)
    assert len(made(tmp_path)) == 1
    told = interlock("explain", name, folder=tmp_path).stdout
    assert "mcp:partner" in told


def test_over_standard_streams_a_server_that_is_up_executes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Client(stdio(tmp_path, "--client", "partner"), mode="legacy") as client:
            paid = await call(client, "refund", account="DE1", cents=100)
            assert said(paid) == "paid 100"

    with shop_in(tmp_path):
        run(scenario)


def test_over_standard_streams_a_key_says_who_calls(tmp_path: Path) -> None:
    prepare(tmp_path)
    keys = str(tmp_path / "keys.json")
    key = interlock(
        "key", "new", "reader", "--agent", "--role", "call", "--keys", keys, folder=tmp_path
    ).stdout.strip()

    async def scenario() -> None:
        params = stdio(tmp_path, "--keys", keys, INTERLOCK_KEY=key)
        async with Client(params, mode="legacy") as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert names == {"find_order", "interlock_result"}

    run(scenario)
    refused = interlock("mcp", "serve", "--app", APP, "--keys", keys, folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Authorization" in refused.stderr or "key" in refused.stderr
