"""What can become of a call of an MCP tool, by what it says of the effect.

Certainly not made: nothing was sent, or the server refused before it began. Everything else is
unknown to a write, unless its declaration says more.
"""

from __future__ import annotations

from interlock.tools.effects import NotMadeError

__all__ = [
    "CallLostError",
    "InputRequiredError",
    "NotConnectedError",
    "QuarantinedError",
    "RejectedError",
    "ThrottledError",
    "ToolReportedError",
    "UnauthorizedError",
]


class QuarantinedError(NotMadeError):
    """The tool is not what was accepted, or nothing was accepted: a person has to look."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry=False)


class UnauthorizedError(NotMadeError):
    """The server, or its authorization server, did not let us in."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry=False)


class NotConnectedError(NotMadeError):
    """There was no connection to send the call on."""


class ThrottledError(NotMadeError):
    """The server refused because of too many calls (HTTP 429). `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: str | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ToolReportedError(Exception):
    """The tool itself reports an error (`isError`)."""


class RejectedError(Exception):
    """The server knows no such tool, or refuses its arguments (JSON-RPC -32601, -32602)."""


class InputRequiredError(Exception):
    """The server asks for more before it goes on; nobody here answers that."""


class CallLostError(Exception):
    """The call left, and no answer to it came that could be used."""
