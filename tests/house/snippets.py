"""Fenced blocks of the pages, and how each is run.

The convention, which CONTRIBUTING.md tells writers:

- A ```python or ```sh block is run, unless its fence says ```sh norun: reason.
- The blocks of a page run in order, each in a process of its own, all in one empty folder, and must
  end with code 0. The environment's programs come first on the path, and HOME is that folder.
- ```python file=desk.py also leaves the block there as desk.py, for the blocks after it. A block
  with `file=` in another language (yaml, csv, …) is written and not run.
- Blocks of any other language are not run; ```json and ```toml are read, and must be well-formed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>\w*)[ \t]*(?P<rest>[^`\n]*)$")
NOT_RUN = re.compile(r"^norun: *(?P<reason>\S.*)$")
FILE = re.compile(r"^file=(?P<name>[\w./-]+)$")
BLOCK_SECONDS = 120


class BadFenceError(ValueError):
    """A fence that says something outside the convention."""


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """One fenced block: where it starts, its language, its text, and what its fence asks."""

    line: int
    language: str
    text: str
    file: str | None = None
    not_run: str | None = None


def snippets(page: str) -> Iterator[Snippet]:
    """The blocks of a page in order; BadFenceError for one that is not closed or not understood."""
    lines = page.splitlines()
    position = 0
    while position < len(lines):
        fence = FENCE.match(lines[position])
        position += 1
        if fence is None:
            continue
        start, closing = position, fence["indent"] + fence["ticks"]
        while position < len(lines) and lines[position].rstrip() != closing:
            position += 1
        if position == len(lines):
            raise BadFenceError(f"line {start}: the block is never closed")
        indent = len(fence["indent"])
        text = "".join(f"{line[indent:]}\n" for line in lines[start:position])
        position += 1
        yield _snippet(start, fence, text)


def _snippet(line: int, fence: re.Match[str], text: str) -> Snippet:
    rest = fence["rest"].strip()
    not_run, file = NOT_RUN.match(rest), FILE.match(rest)
    if rest and not not_run and not file:
        raise BadFenceError(f"line {line}: {rest!r} is neither `norun: reason` nor `file=name`")
    return Snippet(
        line=line,
        language=fence["language"],
        text=text,
        file=file["name"] if file else None,
        not_run=not_run["reason"] if not_run else None,
    )


def run(snippet: Snippet, folder: Path) -> str | None:
    """Run one block in `folder`; None when it went well, else what it said."""
    if snippet.file is not None:
        place = folder / snippet.file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(snippet.text, encoding="utf-8")
    if snippet.not_run is not None or snippet.language not in {"python", "sh"}:
        return None
    if snippet.language == "python":
        script = folder / (snippet.file or "snippet.py")
        script.write_text(snippet.text, encoding="utf-8")
        return _process([sys.executable, "-W", "error", str(script)], folder)
    return _process(["sh", "-eu", "-c", snippet.text], folder)


def _process(command: list[str], folder: Path) -> str | None:
    """Run in a session of its own, and end whatever the block left behind."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "HOME": str(folder), "PATH": programs}
    with tempfile.TemporaryFile() as said:  # a pipe would stay open as long as what was left behind
        process = subprocess.Popen(
            command, cwd=folder, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            code = process.wait(BLOCK_SECONDS)
        except subprocess.TimeoutExpired:
            return f"still running after {BLOCK_SECONDS} s"
        finally:
            _end_group(process)
        said.seek(0)
        return None if code == 0 else f"ended with {code}:\n{said.read().decode(errors='replace')}"


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):  # nothing was left behind
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
