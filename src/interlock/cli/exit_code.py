"""What the program's exit codes mean (docs/reference/cli.md), and how an error is told."""

from __future__ import annotations

from typing import Final

from interlock.cli.output import remark
from interlock.errors import (
    ConflictError,
    InterlockError,
    NotFoundError,
    StorageError,
    UsageError,
)

__all__ = ["DONE", "FAILED", "INTERRUPTED", "STORE", "USAGE", "exit_code", "report"]

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
STORE: Final = 3
INTERRUPTED: Final = 130


def exit_code(error: InterlockError) -> int:
    """The exit code for an error."""
    if isinstance(error, StorageError):
        return STORE
    wrong_use = isinstance(error, UsageError) and not isinstance(
        error, NotFoundError | ConflictError
    )
    return USAGE if wrong_use else FAILED


def report(error: InterlockError) -> int:
    """Tell an error, masked, on the standard error stream, and answer the exit code."""
    from interlock.tools.masking import mask_text

    remark(mask_text(f"error [{error.code}]: {error.message}"))
    return exit_code(error)
