"""Who may call the API and what it takes: hosts, pages, media types, sizes, malformed requests."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.serving import EVERYWHERE, JSON, PATIENCE_SECONDS, Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server that also serves the name of a proxy."""
    with served(tmp_path_factory.mktemp("http_door"), "--allow-host", "desk.example") as up:
        yield up


def code(answer: httpx.Response, status: int) -> str:
    """The code of a problem."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["code"]


def raw(server: Served, request: bytes) -> bytes:
    """What the server answers to bytes that a proper client would not send."""
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def own(server: Served) -> str:
    """The server's own `host:port`."""
    return urlsplit(server.url).netloc


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:1", "[::1]:8000", "DESK.example", "localhost."]
)
def test_known_hosts_are_served(server: Served, host: str) -> None:
    assert server.http.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", EVERYWHERE, "desk.example@evil", "[::1", ""]
)
def test_other_hosts_are_refused(server: Served, host: str) -> None:
    for path in ("/healthz", "/v1/runs", "/nothing"):
        answer = server.http.get(path, headers={"host": host})
        assert code(answer, 421) == "misdirected_request"


def test_a_request_without_a_host_is_refused(server: Served) -> None:
    assert b" 200 " not in raw(server, b"GET /healthz HTTP/1.0\r\n\r\n").splitlines()[0]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "file://"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_foreign_page_is_refused(server: Served, origin: str, method: str) -> None:
    headers = {**JSON, "origin": origin}
    answer = server.http.request(method, "/v1/agents/waiter/runs", headers=headers)
    assert code(answer, 403) == "forbidden_origin"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_that_only_sends_fetch_metadata_is_refused(server: Served, site: str) -> None:
    answer = server.http.get("/v1/runs", headers={"sec-fetch-site": site})
    assert code(answer, 403) == "forbidden_origin"


def test_its_own_origin_is_served(server: Served) -> None:
    headers = {"origin": server.url, "sec-fetch-site": "same-origin"}
    assert server.http.get("/v1/runs", headers=headers).status_code == 200


def test_a_refused_page_has_started_nothing(server: Served) -> None:
    headers = {"origin": "https://evil.example"}
    answer = server.http.post("/v1/agents/failer/runs", json={}, headers=headers)
    assert code(answer, 403) == "forbidden_origin"
    assert server.http.get("/v1/runs", params={"agent": "failer"}).json()["runs"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json; charset=utf-16"},
        {**JSON, "content-encoding": "gzip"},
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/agents/waiter/runs",
        "/v1/runs/x/cancel",
        "/v1/runs/x/signals/go",
        "/v1/runs/x/retry",
        "/v1/inbox/x/decision",
        "/v1/effects/x/resolution",
    ],
)
def test_only_json_is_posted(server: Served, path: str, headers: dict[str, str]) -> None:
    answer = server.http.post(path, content=b"{}", headers=headers)
    assert code(answer, 415) == "unsupported_media_type"


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"]
)
def test_json_by_other_names_is_taken(server: Served, media_type: str) -> None:
    answer = server.http.post(
        "/v1/agents/waiter/runs", content=b"{}", headers={"content-type": media_type}
    )
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b'{"input": NaN}',
        b'{"input": 1e999}',
        b'{"input": 1, "input": 2}',
        b"[" * 200_000,
        b"1" * 5000,
    ],
)
def test_what_is_not_json_is_malformed(server: Served, body: bytes) -> None:
    answer = server.http.post("/v1/agents/waiter/runs", content=body, headers=JSON)
    assert code(answer, 400) == "malformed_request"


def test_half_a_surrogate_pair_is_refused_and_not_quoted(server: Served) -> None:
    body = b'{"input": {"text": "\\ud800"}}'
    answer = server.http.post("/v1/agents/echo/runs", content=body, headers=JSON)
    assert code(answer, 422) == "invalid_input"


@pytest.mark.parametrize("body", [b"[]", b"3", b'"text"', b"null"])
def test_a_body_of_another_shape_does_not_fit(server: Served, body: bytes) -> None:
    answer = server.http.post("/v1/agents/waiter/runs", content=body, headers=JSON)
    assert code(answer, 422) == "invalid_input"


def test_a_body_over_the_limit_is_refused_announced_or_not(server: Served) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    large: list[Any] = [b" " * 2_000_000, parts()]
    for content in large:
        answer = server.http.post("/v1/agents/waiter/runs", content=content, headers=JSON)
        assert code(answer, 413) == "payload_too_large"


def test_every_answer_has_the_protecting_headers(server: Served) -> None:
    for path in ("/healthz", "/v1/runs", "/nothing", "/openapi.json"):
        headers = server.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_a_path_cannot_forge_a_line_of_the_log(server: Served) -> None:
    server.http.get("/v1/runs/x%0aFORGED%1b[31m")
    request = f"GET /v1/runs/\x1b[31mRED HTTP/1.1\r\nHost: {own(server)}\r\n\r\n"
    raw(server, request.encode())
    assert not any(line.startswith("FORGED") for line in server.said().splitlines())
    assert "\x1b" not in server.said()


def test_no_page_of_documentation_loads_scripts_from_elsewhere(server: Served) -> None:
    for path in ("/docs", "/redoc"):
        assert code(server.http.get(path), 404) == "no_such_path"


@pytest.mark.parametrize("name", ["a%20b", "%C3%A4", "..%2f..", "%00", "x" * 300])
def test_odd_names_are_answered_with_a_problem(server: Served, name: str) -> None:
    for path in (f"/v1/runs/{name}", f"/v1/runs/{name}/events"):
        assert server.http.get(path).status_code == 404
    for path in (f"/v1/runs/x/signals/{name}", f"/v1/agents/{name}/runs"):
        answer = server.http.post(path, content=b"{}", headers=JSON)
        assert answer.status_code in (404, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
