"""Tools of a real MCP server over HTTP: both protocols, trouble on the way, tokens."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.orchestrator.retry import retry_after_seconds
from interlock.tools.effects import NotMadeError
from interlock.tools.mcp.failure import (
    CallLostError,
    NotConnectedError,
    RejectedError,
    ThrottledError,
    UnauthorizedError,
)
from tests.support.mcp_home import Home, Served, served

TOOLS: dict[str, Any] = {
    "find": {"effect": "read"},
    "save": {"effect": "write", "recovery": "never"},
    "big": {"effect": "read"},
    "pause": {"effect": "read"},
}
SECONDS = 20.0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A folder for one server over HTTP."""
    return Home(tmp_path)


@pytest.fixture
def desk(home: Home) -> Iterator[Served]:
    """The server, which lets everybody in."""
    with served("mcp_desk", "http", "0", LEDGER=str(home.ledger)) as server:
        yield server


def calls(home: Home, *made: tuple[str, dict[str, Any]]) -> list[Any]:
    """What becomes of calls one after another, over the same connection."""

    async def scenario() -> list[Any]:
        servers = home.servers()
        found: list[Any] = []
        for tool, arguments in made:
            try:
                found.append((await servers.call("desk", tool, arguments, SECONDS))[0])
            except Exception as error:  # noqa: BLE001 - what it is, is asserted
                found.append(error)
        await servers.close()
        return found

    return asyncio.run(scenario())


@pytest.mark.parametrize("protocol", ["auto", "2026-07-28", "2025-11-25"])
@pytest.mark.parametrize("answers", ["http", "json"])
def test_both_protocols_and_both_forms_of_answers(home: Home, protocol: str, answers: str) -> None:
    with served("mcp_desk", answers, "0", LEDGER=str(home.ledger)) as server:
        home.declare(TOOLS, url=server.url, protocol=protocol)
        home.pin()

        async def spoken() -> str:
            async with home.servers().looking_at("desk") as connection:
                return connection.protocol

        assert asyncio.run(spoken()) == ("2026-07-28" if protocol == "auto" else protocol)
        found = calls(home, ("find", {"query": "x"}), ("save", {"path": "a", "text": "b"}))
        assert found == [{"result": "3 of x"}, {"path": "a", "characters": 1}]


def test_a_server_that_is_not_there_makes_no_effect(home: Home, desk: Served) -> None:
    home.declare(TOOLS, url=desk.url)
    home.pin()
    desk.kill()
    (error,) = calls(home, ("save", {"path": "a", "text": "b"}))
    assert isinstance(error, NotConnectedError)
    assert error.retry
    assert "MCP server 'desk' cannot be reached: " in str(error) or "was not sent" in str(error)


@pytest.mark.parametrize("protocol", ["2026-07-28", "2025-11-25"])
def test_what_is_not_sent_is_not_made_and_the_next_call_finds_the_new_server(
    home: Home, desk: Served, protocol: str
) -> None:
    home.declare(TOOLS, url=desk.url, protocol=protocol)
    home.pin()

    async def scenario() -> None:
        servers = home.servers()
        save = {"path": "a", "text": "b"}
        await servers.call("desk", "save", save, SECONDS)
        desk.kill()
        with pytest.raises(NotConnectedError):
            await servers.call("desk", "save", save, SECONDS)
        with served("mcp_desk", "http", str(desk.port), LEDGER=str(home.ledger)):
            if protocol == "2025-11-25":
                # Its session ended with the old process: refused, so not made, and begun anew.
                with pytest.raises(NotConnectedError, match="ended the session"):
                    await servers.call("desk", "save", save, SECONDS)
            await servers.call("desk", "save", save, SECONDS)
            await servers.close()
        assert home.done() == ["save a b", "save a b"]

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", ["2026-07-28", "2025-11-25"])
def test_a_call_in_flight_when_its_server_dies_is_lost(
    home: Home, desk: Served, protocol: str
) -> None:
    home.declare(TOOLS, url=desk.url, protocol=protocol)
    home.pin()

    async def scenario() -> None:
        servers = home.servers()
        call = asyncio.create_task(servers.call("desk", "pause", {}, SECONDS))
        while "pause" not in home.done():
            await asyncio.sleep(0.01)
        desk.kill()
        with pytest.raises((CallLostError, TimeoutError)):
            await call
        await servers.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("answers", ["http", "json"])
def test_an_answer_that_is_too_long_is_not_read_to_its_end(home: Home, answers: str) -> None:
    with served("mcp_desk", answers, "0", LEDGER=str(home.ledger)) as server:
        home.declare(TOOLS, url=server.url, max_answer_bytes=100_000)
        home.pin()
        long, then = calls(home, ("big", {"characters": 200_000}), ("find", {"query": "x"}))
        assert isinstance(long, CallLostError)
        assert not isinstance(long, NotMadeError)
        assert then == {"result": "3 of x"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, UnauthorizedError),
        (403, UnauthorizedError),
        (429, ThrottledError),
        (404, RejectedError),  # Without a session it is a server that knows no such thing.
        (500, CallLostError),
        (502, CallLostError),
        (503, CallLostError),
    ],
)
def test_what_a_status_says_of_the_call(
    home: Home, desk: Served, status: int, expected: type[Exception]
) -> None:
    home.declare(TOOLS, url=desk.url, protocol="2026-07-28")
    home.pin()

    async def scenario() -> None:
        servers = home.servers()
        save = {"path": "a", "text": "b"}
        await servers.call("desk", "save", save, SECONDS)
        (home.folder / "STATUS").write_text(str(status))
        with pytest.raises(expected) as caught:
            await servers.call("desk", "save", save, SECONDS)
        assert isinstance(caught.value, NotMadeError) == (status in (401, 403, 429))
        if isinstance(caught.value, ThrottledError):
            now = datetime(2026, 1, 1, tzinfo=UTC)
            assert retry_after_seconds(caught.value, now) == 7
        (home.folder / "STATUS").unlink()
        await servers.call("desk", "save", save, SECONDS)
        await servers.close()

    asyncio.run(scenario())
    assert len(home.done()) == 2


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Served]:
    """A server that gives tokens."""
    with served("token_server", "0", TOKENS=str(tmp_path / "tokens")) as server:
        yield server


@pytest.fixture
def guarded(home: Home, tokens: Served) -> Iterator[Served]:
    """A server that wants them."""
    issuer = f"http://127.0.0.1:{tokens.port}"
    with served("mcp_desk", "http", "0", LEDGER=str(home.ledger), ISSUER=issuer) as server:
        yield server


def oauth(home: Home, tokens: Served, secret: str, **more: str) -> dict[str, Any]:
    """Client credentials with a secret in a file."""
    (home.folder / "secret.txt").write_text(secret)
    return {
        "issuer": f"http://127.0.0.1:{tokens.port}",
        "client_id": "interlock",
        "client_secret": "file:secret.txt",
        **more,
    }


def test_client_credentials_get_a_token_and_it_is_kept(
    home: Home, tokens: Served, guarded: Served
) -> None:
    home.declare(TOOLS, url=guarded.url, oauth=oauth(home, tokens, "s3cret-words", scope="desk"))
    home.pin()
    found = calls(home, ("find", {"query": "x"}), ("save", {"path": "a", "text": "b"}))
    assert found == [{"result": "3 of x"}, {"path": "a", "characters": 1}]
    asked = (home.folder / "tokens").read_text().splitlines()
    # One for the look, one for the connection of the two calls.
    assert asked == [f"client_credentials desk {guarded.url}"] * 2


def test_a_wrong_secret_makes_no_effect_and_is_told_without_it(
    home: Home, tokens: Served, guarded: Served
) -> None:
    good = oauth(home, tokens, "s3cret-words")
    home.declare(TOOLS, url=guarded.url, oauth=good)
    home.pin()
    home.declare(TOOLS, url=guarded.url, oauth=oauth(home, tokens, "wrong-words"))
    (error,) = calls(home, ("save", {"path": "a", "text": "b"}))
    assert isinstance(error, UnauthorizedError)
    assert not error.retry
    assert "invalid_client" in str(error)
    assert "wrong-words" not in str(error)
    assert home.done() == []


def test_credentials_go_to_no_other_server_than_their_own(
    home: Home, tokens: Served, guarded: Served
) -> None:
    terms = oauth(home, tokens, "s3cret-words", issuer="https://login.example")
    home.declare(TOOLS, url=guarded.url, oauth=terms)
    home.pin()
    (home.folder / "mcp.lock").unlink(missing_ok=True)

    async def scenario() -> None:
        async with home.servers().looking_at("desk"):
            pass

    with pytest.raises(UnauthorizedError, match="no token was given"):
        asyncio.run(scenario())
    assert not (home.folder / "tokens").exists()


def test_a_token_of_ones_own_is_sent_as_it_is(home: Home, guarded: Served) -> None:
    (home.folder / "token.txt").write_text("good-old-token")
    home.declare(TOOLS, url=guarded.url, token="file:token.txt")
    home.pin()
    assert calls(home, ("find", {"query": "x"})) == [{"result": "3 of x"}]
    (home.folder / "token.txt").write_text("bad-token")
    (error,) = calls(home, ("save", {"path": "a", "text": "b"}))
    assert isinstance(error, UnauthorizedError)
    assert "401" in str(error)


def test_a_token_that_runs_out_meanwhile_is_refused_and_not_unknown(
    home: Home, tmp_path: Path
) -> None:
    (home.folder / "token.txt").write_text("good-old-token")
    issuer = "http://127.0.0.1:9"
    with served("mcp_desk", "http", "0", LEDGER=str(home.ledger), ISSUER=issuer) as server:
        home.declare(TOOLS, url=server.url, token="file:token.txt", protocol="2026-07-28")
        home.pin()

        async def scenario() -> None:
            servers = home.servers()
            await servers.call("desk", "find", {"query": "x"}, SECONDS)
            (home.folder / "REVOKED").write_text("good-old-token")
            with pytest.raises(UnauthorizedError, match="401"):
                await servers.call("desk", "save", {"path": "a", "text": "b"}, SECONDS)
            await servers.close()

        asyncio.run(scenario())
    assert home.done() == ["find x"]


def test_a_call_that_is_lost_after_a_new_token_is_not_taken_for_refused(
    home: Home, tokens: Served, guarded: Served
) -> None:
    tools = {**TOOLS, "die": {"effect": "write", "recovery": "never"}}
    home.declare(tools, url=guarded.url, oauth=oauth(home, tokens, "s3cret-words"))
    home.pin()

    async def scenario() -> None:
        servers = home.servers()
        await servers.call("desk", "find", {"query": "x"}, SECONDS)
        given = len((home.folder / "tokens").read_text().splitlines())
        (home.folder / "REVOKED").write_text(f"good-{given}")
        with pytest.raises(CallLostError):
            await servers.call("desk", "die", {"when": "now"}, SECONDS)
        assert len((home.folder / "tokens").read_text().splitlines()) == given + 1
        await servers.close()

    asyncio.run(scenario())
    assert home.done() == ["find x", "die now"]


def test_a_token_server_that_is_away_is_worth_another_attempt(
    home: Home, tokens: Served, guarded: Served
) -> None:
    home.declare(TOOLS, url=guarded.url, oauth=oauth(home, tokens, "s3cret-words"))
    home.pin()
    tokens.kill()
    (error,) = calls(home, ("save", {"path": "a", "text": "b"}))
    assert isinstance(error, NotConnectedError)
    assert error.retry
    assert home.done() == []


@pytest.mark.parametrize("answers", ["http", "json"])
@pytest.mark.parametrize("protocol", ["2026-07-28", "2025-11-25"])
def test_a_call_that_is_given_up_when_its_server_is_gone_is_not_taken_for_unsent(
    home: Home, answers: str, protocol: str
) -> None:
    with served("mcp_desk", answers, "0", LEDGER=str(home.ledger)) as server:
        home.declare(TOOLS, url=server.url, protocol=protocol)
        home.pin()

        async def scenario() -> None:
            servers = home.servers()
            call = asyncio.create_task(servers.call("desk", "pause", {}, 1.0))
            while "pause" not in home.done():
                await asyncio.sleep(0.01)
            # It hears nothing any more, and nobody else can be reached at its address.
            server.process.send_signal(signal.SIGSTOP)
            with pytest.raises(TimeoutError):
                await call
            server.kill()
            await servers.close()

        asyncio.run(scenario())
