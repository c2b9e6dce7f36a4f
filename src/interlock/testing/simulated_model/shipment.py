"""What goes over the wire for one request: status, headers, and the body in pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

from interlock.clock import Clock
from interlock.testing.simulated_model.answer import Answer
from interlock.testing.simulated_model.completion import completion_body, stream_events
from interlock.testing.simulated_model.misbehaviour import Misbehaviour
from interlock.testing.simulated_model.problem import problem_of_status
from interlock.testing.simulated_model.request import Request

__all__ = ["Shipment", "error_shipment", "shipment_of", "status_shipment"]

_JSON: Final = "application/json"
_NO_EVENT: Final = b'data: {"id": "chatcmpl_\n\n'


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """A response. `complete` is false when the connection closes after the last piece."""

    status: int
    headers: Mapping[str, str]
    pieces: tuple[bytes, ...]
    complete: bool = True


def shipment_of(request: Request, answer: Answer, wrong: Misbehaviour) -> Shipment:
    """The response that carries an answer."""
    if request.streaming:
        return _stream(answer, wrong, usage_wanted=request.usage_wanted)
    body = completion_body(answer)
    if wrong.malformed_body:
        body = body[: len(body) // 2]
    headers = {"content-type": _JSON, "content-length": str(len(body))}
    cut = wrong.cut_after_chunks
    if cut is None:
        return Shipment(status=200, headers=headers, pieces=(body,))
    pieces = (body[: len(body) // 2],) if cut else ()
    return Shipment(status=200, headers=headers, pieces=pieces, complete=False)


def _stream(answer: Answer, wrong: Misbehaviour, *, usage_wanted: bool) -> Shipment:
    events = stream_events(answer, usage_wanted=usage_wanted)
    if wrong.malformed_body:
        events = (*events[: len(events) // 2], _NO_EVENT, events[-1])
    cut = wrong.cut_after_chunks
    if cut is not None:
        # At least the end is missing, however large the number.
        events = events[: min(cut, len(events) - 1)]
    headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
    return Shipment(status=200, headers=headers, pieces=events, complete=cut is None)


def status_shipment(status: int, wrong: Misbehaviour, clock: Clock) -> Shipment:
    """The error that a misbehaving model answers, with `Retry-After` where it is asked for."""
    return error_shipment(status, problem_of_status(status), _retry_after(wrong, clock))


def error_shipment(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Shipment:
    """An error with a body."""
    given = {"content-type": _JSON, "content-length": str(len(body)), **(headers or {})}
    return Shipment(status=status, headers=given, pieces=(body,))


def _retry_after(wrong: Misbehaviour, clock: Clock) -> dict[str, str]:
    seconds = wrong.retry_after_seconds
    if seconds is None:
        return {}
    if wrong.retry_after_as == "seconds":
        return {"retry-after": str(seconds)}
    now = datetime.fromtimestamp(clock.now_us() / 1e6, UTC)
    return {"retry-after": format_datetime(now + timedelta(seconds=seconds), usegmt=True)}
