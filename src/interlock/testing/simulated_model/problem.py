"""Errors as the protocol writes them: a status and a body with `error.type` and `error.code`."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Final

__all__ = ["problem_body", "problem_of_status"]

_INVALID: Final = "invalid_request_error"
# Status to type, code and message.
_PROBLEMS: Final = MappingProxyType(
    {
        400: (_INVALID, None, "The simulated model refuses this request."),
        401: (_INVALID, "invalid_api_key", "Incorrect API key provided."),
        403: (_INVALID, "unsupported_country_region_territory", "Not available for you."),
        404: (_INVALID, "model_not_found", "The model does not exist."),
        413: (_INVALID, "request_too_large", "The request is too large."),
        429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
        503: ("server_error", "overloaded", "The engine is currently overloaded."),
    }
)
_ANY_CLIENT: Final = (_INVALID, None, "The simulated model refuses this request.")
_ANY_SERVER: Final = ("server_error", None, "The server had an error processing your request.")


def problem_of_status(status: int) -> bytes:
    """The body that goes with a status of a misbehaving model."""
    kind, code, message = _PROBLEMS.get(status, _ANY_CLIENT if status < 500 else _ANY_SERVER)
    return problem_body(message, kind=kind, code=code)


def problem_body(message: str, *, kind: str = _INVALID, code: str | None = None) -> bytes:
    """An error's body."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json.dumps({"error": error}, separators=(",", ":")).encode("ascii")
