"""How the simulated model fails to answer, who pays for it, and how it stops."""

from __future__ import annotations

import asyncio
import email.utils
import json
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from interlock.clock import SystemClock
from interlock.errors import ConflictError
from interlock.testing.simulated_model import (
    Entry,
    Misbehaviour,
    Reply,
    Request,
    Rule,
    Scenario,
    SimulatedModel,
    Usage,
    read_ledger,
)
from tests.support.chat import PATIENCE_SECONDS, answered, chat, client

PATH = "/v1/chat/completions"
PRICE = Usage(prompt_tokens=100, completion_tokens=20)
LONG_SECONDS = 3000.0
TEXT = "twenty characters ok" * 4


class StoppedClock(SystemClock):
    """A clock that always shows the same wall time."""

    def now_us(self) -> int:
        """2026-01-01T00:00:00Z."""
        return 1_767_225_600_000_000


def wrong(**options: Any) -> SimulatedModel:
    """A model that always misbehaves in the same way."""
    reply = Reply(text=TEXT, usage=PRICE, misbehaviour=Misbehaviour(**options))
    return SimulatedModel(Scenario(rules=(Rule(reply=reply),)), clock=StoppedClock())


def only(model: SimulatedModel) -> Entry:
    """The only entry of the ledger."""
    (entry,) = model.ledger.entries()
    return entry


def paid(entry: Entry) -> int:
    """What the caller pays."""
    return entry.billed_prompt_tokens + entry.billed_completion_tokens


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", None),
        (401, "invalid_request_error", "invalid_api_key"),
        (418, "invalid_request_error", None),
        (429, "requests", "rate_limit_exceeded"),
        (500, "server_error", None),
        (503, "server_error", "overloaded"),
        (529, "server_error", None),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_status_is_an_error_of_the_protocol(
    status: int, kind: str, code: str | None, *, streaming: bool
) -> None:
    with wrong(status=status) as model, client(model.url) as http:
        response = http.post(PATH, json=chat(stream=streaming))
        error = response.json()["error"]
        assert (response.status_code, error["type"], error["code"]) == (status, kind, code)
        assert error["message"]
        assert "retry-after" not in response.headers
        entry = only(model)
    assert (entry.status, entry.answered, entry.outcome) == (status, False, "sent")
    assert paid(entry) == 0


def test_retry_after_comes_in_both_forms() -> None:
    for form, expected in (("seconds", "90"), ("date", "Thu, 01 Jan 2026 00:01:30 GMT")):
        limits = {"status": 429, "retry_after_seconds": 90, "retry_after_as": form}
        with wrong(**limits) as model, client(model.url) as http:
            said = http.post(PATH, json=chat()).headers["retry-after"]
        assert said == expected
    assert email.utils.parsedate_to_datetime(said).timestamp() == 1_767_225_690


@pytest.mark.parametrize("streaming", [False, True])
def test_a_connection_can_close_without_a_byte(*, streaming: bool) -> None:
    for billed in (None, True):
        with (
            wrong(closed_before_answer=True, billed=billed) as model,
            client(model.url) as http,
            pytest.raises(httpx.RemoteProtocolError, match="without sending a response"),
        ):
            http.post(PATH, json=chat(stream=streaming))
        entry = only(model)
        assert (entry.status, entry.answered, entry.outcome) == (None, False, "closed")
        assert paid(entry) == (120 if billed else 0)


def received(http: httpx.Client, body: Any) -> bytes:
    """What arrived of an answer that is cut."""
    parts: list[bytes] = []
    with http.stream("POST", PATH, json=body) as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            parts.extend(response.iter_bytes())
    return b"".join(parts)


@pytest.mark.parametrize(("chunks", "complete"), [(0, 0), (1, 1), (3, 3), (999, 6)])
def test_a_stream_can_be_cut_after_any_chunk(chunks: int, complete: int) -> None:
    with wrong(cut_after_chunks=chunks) as model, client(model.url) as http:
        content = received(http, chat(stream=True))
    assert content.count(b"\n\n") == complete
    assert b"[DONE]" not in content
    assert (only(model).outcome, only(model).answered, paid(only(model))) == ("cut", True, 120)


def test_a_body_can_be_cut() -> None:
    for chunks in (0, 1):
        with wrong(cut_after_chunks=chunks) as model, client(model.url) as http:
            content = received(http, chat())
        assert bool(content) == bool(chunks)
        assert only(model).outcome == "cut"


def test_a_connection_is_used_again_after_a_complete_answer() -> None:
    with wrong(latency_seconds=0.01, chunk_seconds=0.001) as model, client(model.url) as http:
        for streaming in (False, True, False):
            assert http.post(PATH, json=chat(stream=streaming)).status_code == 200
        outcomes = [entry.outcome for entry in model.ledger.entries()]
        assert outcomes == ["sent"] * 3
        assert model.ledger.totals().paid_tokens == 360


def test_callers_at_the_same_time_get_their_own_answers(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"

    async def ask_all(url: str) -> list[str]:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as http:
            bodies = [chat(f"caller {n}") for n in range(30)]
            answers = await asyncio.gather(*(http.post(PATH, json=body) for body in bodies))
            return [answered(answer)["content"] for answer in answers]

    def respond(request: Request) -> Reply:
        slow = Misbehaviour(latency_seconds=0.001)
        return Reply(text=request.user_text.upper(), misbehaviour=slow)

    with SimulatedModel(respond, ledger_file=file) as model:
        assert asyncio.run(ask_all(model.url)) == [f"CALLER {n}" for n in range(30)]
    entries = read_ledger(file)
    assert [entry.sequence for entry in entries] == list(range(1, 31))
    assert {entry.outcome for entry in entries} == {"sent"}


@asynccontextmanager
async def waiting(model: SimulatedModel, body: Any) -> AsyncGenerator[asyncio.Task[bytes]]:
    """A request that is under way, and in the ledger."""

    async def post() -> bytes:
        content = b""
        async with (
            httpx.AsyncClient(base_url=model.url, timeout=PATIENCE_SECONDS) as http,
            http.stream("POST", PATH, json=body) as response,
        ):
            async for part in response.aiter_bytes():
                content += part
                arrived.set()
        return content

    arrived = asyncio.Event()
    task = asyncio.create_task(post())
    while not model.ledger.entries():
        await asyncio.sleep(0.01)
    if body.get("stream"):
        await arrived.wait()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))


WAITING = [
    ({"hangs": True}, {}, False),
    ({"hangs": True, "billed": True}, {}, True),
    ({"answers_after_caller_left": True}, {}, True),
    ({"latency_seconds": LONG_SECONDS}, {}, True),
    ({"latency_seconds": LONG_SECONDS, "closed_before_answer": True}, {}, False),
    ({"chunk_seconds": LONG_SECONDS}, {"stream": True}, True),
]


@pytest.mark.parametrize(("options", "fields", "pays"), WAITING, ids=str)
def test_a_caller_that_leaves_pays_for_what_was_made(
    options: dict[str, Any], fields: dict[str, Any], *, pays: bool
) -> None:
    async def leave() -> None:
        async with wrong(**options) as model:
            async with waiting(model, chat(**fields)):
                pass
            while only(model).outcome == "open":
                await asyncio.sleep(0.01)
            closed = "closed_before_answer" in options
            assert only(model).outcome == ("closed" if closed else "caller_left")
            assert paid(only(model)) == (120 if pays else 0)
            assert only(model).answered == (pays and "hangs" not in options)

    asyncio.run(leave())


@pytest.mark.parametrize(("options", "fields", "_pays"), WAITING, ids=str)
@pytest.mark.parametrize("on_a_thread", [False, True])
def test_a_waiting_answer_does_not_hold_the_stop(
    options: dict[str, Any], fields: dict[str, Any], _pays: bool, *, on_a_thread: bool
) -> None:
    async def stop() -> None:
        model = wrong(**options)
        if on_a_thread:
            with model:
                async with waiting(model, chat(**fields)) as task:
                    model.__exit__(None, None, None)
                    await asyncio.wait((task,))
        else:
            async with model, waiting(model, chat(**fields)) as task:
                await model.__aexit__(None, None, None)
                await asyncio.wait((task,))
        assert isinstance(task.exception(), httpx.TransportError)
        assert only(model).outcome == "stopped"

    asyncio.run(stop())


def test_a_request_that_never_arrived_whole_is_none(capfd: pytest.CaptureFixture[str]) -> None:
    with wrong() as model, client(model.url) as http:
        place = urlsplit(model.url)
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(f"POST {PATH} HTTP/1.1\r\nhost: x\r\n".encode())
            connection.sendall(b"content-length: 100\r\n\r\n{")
        assert http.get("/ledger").json()["entries"] == []
    assert capfd.readouterr().err == ""


def test_it_listens_on_the_loopback_and_nothing_else() -> None:
    with wrong() as model:
        place = urlsplit(model.base_url)
        assert (place.scheme, place.hostname, place.path) == ("http", "127.0.0.1", "/v1")
        assert place.port is not None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", place.port), PATIENCE_SECONDS)


def test_it_is_entered_once_at_a_time_and_keeps_its_port() -> None:
    model = wrong()
    with pytest.raises(ConflictError, match="does not run"):
        _ = model.base_url
    with model:
        first = model.url
        with pytest.raises(ConflictError, match="runs already"):
            model.__enter__()
        second = SimulatedModel(Scenario(turns=(Reply(text="x"),)), port=urlsplit(first).port or 0)
        with pytest.raises(ConflictError, match="cannot listen on port"):
            second.__enter__()
    with model, client(model.url) as http:
        assert model.url == first
        assert http.get("/v1/models").json()["data"][0]["id"] == "simulated"


# The ledger.


def test_the_ledger_is_the_same_over_http_in_process_and_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    scenario = Scenario(turns=(Reply(text=TEXT, usage=PRICE),))
    headers = {"Idempotency-Key": "k1", "traceparent": "00-a-b-01", "X-Interlock-Run": "run_1"}
    with SimulatedModel(scenario, ledger_file=file) as model, client(model.url) as http:
        secret = {"authorization": "Bearer secret", "cookie": "secret"}
        for body in (chat(), chat(temperature=0.5), chat()):
            http.post(PATH, json=body, headers={**headers, **secret})
        shown = http.get("/ledger").json()
        assert shown == json.loads(model.ledger.view().model_dump_json())
    entries = read_ledger(file)
    assert entries == model.ledger.entries()
    assert entries[0].headers == {name.lower(): value for name, value in headers.items()}
    assert b"secret" not in file.read_bytes()
    assert entries[0].request_digest == entries[2].request_digest != entries[1].request_digest
    assert len({entry.messages_digest for entry in entries}) == 1
    assert sorted(model.ledger.answers().values()) == [1, 2]
    assert shown["totals"] == {
        "requests": 3,
        "answered": 3,
        "sent": 3,
        "prompt_tokens": 300,
        "completion_tokens": 60,
        "paid_tokens": 360,
    }


def test_an_answer_is_in_the_file_before_its_first_byte(tmp_path: Path) -> None:
    """The caller reads the file while the rest of the stream is still to come."""
    file = tmp_path / "ledger.jsonl"
    reply = Reply(text=TEXT, usage=PRICE, misbehaviour=Misbehaviour(chunk_seconds=LONG_SECONDS))
    scenario = Scenario(turns=(reply,))
    with (
        SimulatedModel(scenario, ledger_file=file) as model,
        client(model.url) as http,
        http.stream("POST", PATH, json=chat(stream=True)) as response,
    ):
        parts = response.iter_bytes()  # Kept: the end of an iterator closes the connection.
        next(parts)
        (entry,) = read_ledger(file)
        assert (entry.answered, entry.outcome, paid(entry)) == (True, "open", 120)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a ledger\n")
    with pytest.raises(ValueError, match="Invalid JSON"):
        SimulatedModel(Scenario(turns=(Reply(text="x"),)), ledger_file=file)
    assert file.read_text() == "not a ledger\n"


def test_interlock_does_not_load_it_and_a_scenario_loads_no_server() -> None:
    for code, absent in (
        ("import interlock", "interlock.testing"),
        ("import interlock.testing.simulated_model", "uvicorn"),
        ("import interlock.testing.simulated_model", "starlette"),
    ):
        check = f"{code}; import sys; sys.exit({absent!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
