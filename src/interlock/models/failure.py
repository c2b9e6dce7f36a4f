"""What a provider's error means: whether to try again, when, and whether it may have cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelServerError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
)

from interlock.base.failure import failure_of
from interlock.models.operations import SendError

__all__ = ["send_failure"]

_TRANSIENT = (
    ModelConnectionError,
    ModelRateLimitError,
    ModelServerError,
    ModelUnavailableError,
)
_NEVER_SENT = ("pool", "connect")
_REFUSED = range(400, 500)
_LONGEST_WAIT_SECONDS = 3600.0
_LONGEST_MESSAGE = 300


def send_failure(error: Exception) -> SendError:
    """An error of a provider or its library, as the run sees it.

    Its message names the error and what the provider says of it, cut: a provider may quote what it
    was sent.

    A request that never left costs nothing, and one that the provider refused (a status of 4xx)
    costs nothing either; whatever else went wrong may have cost all that it may cost.
    """
    failure = failure_of(error)
    return SendError(
        _message(error, failure.message),
        types=failure.types,
        transient=_is_transient(error),
        sent=not (isinstance(error, ModelConnectionError) and error.phase in _NEVER_SENT),
        free=_is_refused(error),
        retry_after=_retry_after(error),
    )


def _message(error: Exception, told: str) -> str:
    if not isinstance(error, ModelHTTPError):
        return told[:_LONGEST_MESSAGE]
    body: Any = error.body
    said = cast("dict[str, Any]", body).get("message", "") if isinstance(body, dict) else ""
    code = error.provider_error_code or error.provider_error_type or ""
    parts = [f"status {error.status_code}", str(code), str(said)[:_LONGEST_MESSAGE]]
    return ": ".join(part for part in parts if part)


def _is_transient(error: Exception) -> bool:
    if isinstance(error, ModelQuotaExceededError):
        return False
    # A body that cannot be read (an error without a kind) is what a provider in trouble sends.
    unreadable = type(error) is ModelAPIError or isinstance(error, UnexpectedModelBehavior)
    return unreadable or isinstance(error, (*_TRANSIENT, OSError))


def _is_refused(error: Exception) -> bool:
    if not isinstance(error, ModelHTTPError):
        return False
    return error.status_code in _REFUSED and not error.in_stream


def _retry_after(error: Exception) -> timedelta | None:
    seconds = error.retry_after if isinstance(error, ModelAPIError) else None
    if seconds is None or seconds < 0:
        return None
    return timedelta(seconds=min(seconds, _LONGEST_WAIT_SECONDS))
