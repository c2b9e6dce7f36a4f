"""Serves the books over HTTP, on the loopback interface only, one request at a time.

It stands for a bank: what it is asked to pay it pays, each time that it is asked. Requests are
handled in the order in which they arrive, so a search that arrives after a payment sees it.

| request | answer |
|---|---|
| `POST /refunds` `{"reference", "ticket", "account", "cents"}` | 201, `{"id"}`; it is paid |
| `GET /refunds`, `?reference=`, `?ticket=` | 200, `{"refunds"}` |

Callers show the token in the home's file `token` (`Authorization: Bearer …`).
"""

import hmac
import json
import secrets
import signal
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, cast
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from examples.support_desk.helpdesk.server import announce, sole_server

from .ledger import Ledger

__all__ = ["read_token", "serve"]

_HOST: Final = "127.0.0.1"
_CALLERS: Final = Path("token")
_MOST_BYTES: Final = 10_000
_MOST_CENTS: Final = 10_000_000
_Text = Annotated[str, Field(min_length=1, max_length=500)]


def read_token(home: Path) -> str:
    """The token that callers of the service in `home` show."""
    return (home / _CALLERS).read_text()


def serve(home: Path, port: int, ready_file: Path | None) -> None:
    """Serve the books in `home`, which is made if need be, until SIGTERM.

    As `helpdesk.server.serve` does: `port`, `ready_file` and errors are the same.
    """
    with sole_server(home):
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        _ensure_token(home / _CALLERS)
        with Ledger(home / "ledger.db") as ledger:
            server = _Server((_HOST, port), _Handler)
            server.ledger = ledger
            server.token = read_token(home)
            signal.signal(signal.SIGTERM, server.end)
            announce("The refund service", f"http://{_HOST}:{server.server_port}", home, ready_file)
            try:
                server.serve_forever()
            finally:
                server.server_close()
                if ready_file is not None:
                    ready_file.unlink(missing_ok=True)


def _ensure_token(path: Path) -> None:
    if path.exists():
        return
    unfinished = path.with_suffix(".part")
    unfinished.touch(mode=0o600)
    unfinished.write_text(secrets.token_urlsafe(32))
    unfinished.replace(path)


class _Server(HTTPServer):
    request_queue_size = 128
    ledger: Ledger
    token: str

    def end(self, _number: int, _frame: FrameType | None) -> None:
        """Stop after the request in hand. It waits for the loop, and must not be in its thread."""
        threading.Thread(target=self.shutdown).start()


class _Handler(BaseHTTPRequestHandler):
    """One request on a connection of its own: a caller that keeps one holds nobody up."""

    timeout = 10

    @property
    def _service(self) -> _Server:
        return cast("_Server", self.server)

    def do_GET(self) -> None:
        if self._is_known():
            query = {name: values[0] for name, values in self._query().items()}
            wanted = {name: query.get(name, "") for name in ("reference", "ticket")}
            found = self._service.ledger.find(**wanted)
            self._answer(200, {"refunds": [refund.as_json() for refund in found]})

    def do_POST(self) -> None:
        if not self._is_known():
            return
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, _MOST_BYTES))
        fields = _fields(body)
        if fields is None:
            problem = "reference, ticket and account are texts, cents an integer from 1 to 10000000"
            self._answer(422, {"problem": problem})
        else:
            self._answer(201, {"id": self._service.ledger.pay(**fields)})

    def _is_known(self) -> bool:
        if urlsplit(self.path).path != "/refunds":
            self._answer(404, {"problem": "there is only /refunds"})
            return False
        shown = self.headers.get("Authorization", "").encode()
        known = hmac.compare_digest(shown, f"Bearer {self._service.token}".encode())
        if not known:
            self._answer(401, {"problem": "show the token: Authorization: Bearer …"})
        return known

    def _query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as inherited
        """Write nothing: requests name accounts."""


class _Payment(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reference: _Text
    ticket: _Text
    account: _Text
    cents: int = Field(ge=1, le=_MOST_CENTS)


def _fields(body: bytes) -> dict[str, Any] | None:
    try:
        return _Payment.model_validate_json(body).model_dump()
    except ValidationError:
        return None
