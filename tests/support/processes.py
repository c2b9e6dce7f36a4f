"""Processes of tests: started, waited for by what they say, and killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["program"]

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def program(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `python -m module`; it is killed at the end of the block, if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def heard(process: subprocess.Popen[str], word: str) -> bool:
    """Wait for a line that the process says; False when it ends without."""
    assert process.stdout is not None
    return any(line.strip() == word for line in process.stdout)
