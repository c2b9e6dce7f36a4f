"""Errors as HTTP answers: problems after RFC 9457, and the one table of codes and statuses.

A problem has `type`, `title`, `status` and `detail` as the RFC has them, and two members of ours:
`code`, the stable code of `errors.py`, and `fields`, the identifiers the message is about. An
answer never holds a traceback, a recorded body or a value of the request; what a message quotes is
masked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, Field
from starlette.responses import Response

from interlock.errors import InterlockError
from interlock.tools.masking import mask_text, mask_value

__all__ = [
    "MEDIA_TYPE",
    "STATUSES",
    "Problem",
    "RequestError",
    "error_response",
    "problem_response",
]

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:interlock:problem:"

STATUSES: Final[Mapping[str, tuple[int, str]]] = {
    # What the request asked for (the codes of errors.py).
    "usage": (400, "The request cannot be used"),
    "invalid_input": (422, "A value does not fit"),
    "not_found": (404, "There is no such thing"),
    # 422: draft-ietf-httpapi-idempotency-key-header, section 2.7.
    "idempotency_conflict": (422, "The idempotency key was used with another input"),
    "payload_too_large": (413, "A value is too large"),
    "not_recordable": (422, "A value cannot be recorded"),
    "unknown_price": (422, "Nobody said what the model costs"),
    "conflict": (409, "It is not in a state that allows this"),
    "refused": (409, "The journal refused it"),
    "body_erased": (410, "A recorded body was erased"),
    "run_failed": (409, "The run did not complete"),
    "step_failed": (409, "A step failed"),
    "effect_failed": (409, "An effect was not made"),
    "not_allowed": (403, "The call is not allowed"),
    "child_failed": (409, "A child run did not complete"),
    "plan_failed": (409, "A plan was not carried out"),
    "ask_failed": (409, "No usable answer came"),
    "model_failed": (409, "No model answered"),
    "loop_found": (409, "A model went round in circles"),
    "budget_exhausted": (409, "A budget is exhausted"),
    "outcome": (409, "Something that was asked for ended badly"),
    "replay_mismatch": (409, "The code and the journal disagree"),
    # What only the application's author can repair.
    "invalid_declaration": (500, "An agent or tool is declared wrongly"),
    "invalid_contract": (500, "A contract is wrong"),
    "invalid_policy": (500, "A policy is wrong"),
    "forbidden_in_run": (500, "A run's code reached outside"),
    "error": (500, "Something failed"),
    "internal": (500, "Something failed"),
    "vault": (503, "The vault cannot be opened"),
    # The store: nothing that was acknowledged is lost.
    "storage": (503, "The journal cannot go on"),
    "storage_full": (503, "No space is left for the journal"),
    "storage_locked": (503, "The journal is locked"),
    "storage_corrupt": (503, "The journal is damaged"),
    "storage_version": (503, "The journal is of a newer version"),
    "storage_failed": (503, "The disk failed"),
    # The request itself.
    "malformed_request": (400, "The request is malformed"),
    "request_timeout": (408, "The request did not arrive in time"),
    "unauthenticated": (401, "Nobody knows who calls"),
    "forbidden": (403, "The caller may not do this"),
    "forbidden_origin": (403, "A page may not call this"),
    "misdirected_request": (421, "This host is not served here"),
    "no_such_path": (404, "There is nothing at this path"),
    "method_not_allowed": (405, "The path does not take this method"),
    "unsupported_media_type": (415, "Only JSON is taken"),
    # The server's own state.
    "draining": (503, "The server is stopping"),
    "not_ready": (503, "The server is not ready"),
    "identity_unavailable": (503, "Nobody can be identified right now"),
}


class Problem(BaseModel):
    """What went wrong, after RFC 9457."""

    type: str = Field(
        description="a URN that names the kind of problem", examples=[f"{_TYPE}conflict"]
    )
    title: str = Field(description="the kind of problem in words")
    status: int
    detail: str = Field(description="this very problem: what, why, and what to do about it")
    code: str = Field(description="stable name of the kind of problem")
    fields: dict[str, Any] = Field(
        description="identifiers it is about; `problems` lists every wrong field"
    )


class RequestError(InterlockError):
    """A request that is refused before anything of it is done. `code` is set for each."""

    def __init__(
        self, code: str, message: str, *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> None:
        super().__init__(message, **fields)
        self.problem_code = code
        self.headers = dict(headers or {})


def error_response(error: InterlockError) -> Response:
    """The answer to an error."""
    if isinstance(error, RequestError):
        return problem_response(error.problem_code, error.message, error.fields, error.headers)
    return problem_response(error.code, error.message, error.fields)


def problem_response(
    code: str,
    detail: str,
    fields: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer with a problem. A code that is not in `STATUSES` is a defect of ours: 500."""
    status, title = STATUSES.get(code, (HTTPStatus.INTERNAL_SERVER_ERROR, "Something failed"))
    problem = Problem(
        type=f"{_TYPE}{code}",
        title=title,
        status=int(status),
        detail=mask_text(detail),
        code=code,
        fields=mask_value(dict(fields or {})),
    )
    # Through json, because a path may hold what a strict encoder refuses: a lone surrogate.
    body = json.dumps(problem.model_dump(), default=str).encode("ascii")
    return Response(
        body, status_code=int(status), headers=dict(headers or {}), media_type=MEDIA_TYPE
    )
