"""Processes that always end: each leads its own group, is bounded in time, and dies with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CHECKOUT",
    "ProcessFailedError",
    "end_group",
    "environment",
    "module_command",
    "run_to_end",
]

CHECKOUT = Path(__file__).resolve().parent.parent
"""The folder that ``benchmarks`` is imported from."""

_SHOWN_CHARACTERS = 600


@dataclass
class ProcessFailedError(Exception):
    """A process ended badly or not in time; ``reason`` holds the end of what it printed."""

    command: Sequence[str]
    reason: str

    def __str__(self) -> str:
        return f"{' '.join(self.command[:4])} …: {self.reason}"


def module_command(module: str, *arguments: str, python: Path | None = None) -> list[str]:
    """The command that runs a module of this package, by default with this interpreter."""
    return [str(python or sys.executable), "-m", module, *arguments]


def environment(**extra: str) -> dict[str, str]:
    """This process's environment, with this checkout importable and nobody's telemetry on."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), "DO_NOT_TRACK": "1", **extra}


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the process's group and wait for its leader. Safe to repeat."""
    with suppress(ProcessLookupError):  # the whole group may have ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def run_to_end(
    command: Sequence[str],
    *,
    directory: Path,
    seconds: float,
    extra: Mapping[str, str] | None = None,
) -> str:
    """What the command printed; ProcessFailedError when it fails or takes longer than ``seconds``.

    Standard input stays open until the end, so that a leashed process lives exactly as long as
    this call.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment(**(extra or {})),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=complaints,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise ProcessFailedError(command, f"not finished within {seconds:.0f} s") from error
        finally:
            end_group(process)
        output.seek(0)
        complaints.seek(0)
        printed = output.read().decode(errors="replace")
        if code != 0:
            complaint = complaints.read().decode(errors="replace") or printed
            raise ProcessFailedError(
                command, f"exit {code}: …{complaint.strip()[-_SHOWN_CHARACTERS:]}"
            )
        return printed
