"""The ledger: every request that the model received, how it was answered and what was paid.

An entry is written before the first byte of its answer is sent, so that what a caller saw is in the
ledger. With a file, each change of an entry is one line, handed to the operating system at once:
the ledger outlives the process, though not the machine. The last line of an entry is the truth.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from interlock.clock import Mutex

__all__ = ["Entry", "Ledger", "LedgerView", "Outcome", "Totals", "read_ledger"]

Outcome = Literal["open", "sent", "cut", "closed", "caller_left", "stopped"]

_RECORDED_HEADERS: Final = frozenset(
    {
        "idempotency-key",
        "traceparent",
        "tracestate",
        "x-client-request-id",
        "x-request-id",
        "x-stainless-retry-count",
    }
)
_RECORDED_PREFIX: Final = "x-interlock-"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Entry(_Frozen):
    """One request. Digests are SHA-256 in hexadecimal.

    `prompt_tokens` is the request's size, `billed_*` what is paid. `answered` says that there was
    an answer of which a byte may have reached the caller, or one that came too late; errors are
    none. `outcome`: `open` as long as nothing is decided (or the server was killed), `sent` when
    the whole answer or error went out, `cut` in the middle of it, `closed` without a byte,
    `caller_left` when the caller went first, `stopped` when the server did.
    """

    sequence: int = Field(ge=1)
    received_us: int = Field(description="microseconds since 1970")
    request_digest: str = Field(description="of the whole body")
    messages_digest: str = Field(description="of the messages alone")
    model: str
    turn: int
    streaming: bool
    prompt_tokens: int
    headers: dict[str, str] = Field(description="idempotency and trace headers of the request")
    source: str = Field(default="", description="the rule or turn that answered")
    status: int | None = Field(default=None, description="HTTP status, once there is one")
    answered: bool = False
    billed_prompt_tokens: int = 0
    billed_completion_tokens: int = 0
    outcome: Outcome = "open"


class Totals(_Frozen):
    """Sums over a ledger; tokens are those that were paid."""

    requests: int
    answered: int
    sent: int
    prompt_tokens: int
    completion_tokens: int
    paid_tokens: int


class LedgerView(_Frozen):
    """The ledger as `GET /ledger` shows it."""

    entries: tuple[Entry, ...]
    totals: Totals


class Ledger:
    """Entries by sequence number, in memory and on request in a file. Safe to read from any thread.

    A file that exists is continued: its entries count, and numbers go on after them. One server at
    a time may write it. Raises `OSError` when the file cannot be read or written, and `ValueError`
    when it is no ledger.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._mutex = Mutex()
        known = _continued(file) if file is not None and file.exists() else ()
        self._entries = {entry.sequence: entry for entry in known}

    def add(self, **fields: Any) -> int:
        """Enter a request; the number of its entry. `fields` are those of `Entry`.

        Of `headers` only those are kept that identify a request or a trace.
        """
        with self._mutex:
            sequence = next(reversed(self._entries), 0) + 1
            headers = {n: v for n, v in fields.pop("headers").items() if _is_recorded(n)}
            self._write(Entry(sequence=sequence, headers=headers, **fields))
        return sequence

    def change(self, sequence: int, **fields: Any) -> None:
        """Set fields of an entry. Nothing is written when they have these values."""
        with self._mutex:
            entry = self._entries[sequence]
            changed = entry.model_copy(update=fields)
            if changed != entry:
                self._write(changed)

    def entries(self) -> tuple[Entry, ...]:
        """All entries in the order of their arrival."""
        with self._mutex:
            return tuple(self._entries.values())

    def totals(self) -> Totals:
        """The sums."""
        return _totals(self.entries())

    def view(self) -> LedgerView:
        """Entries and totals of one moment."""
        entries = self.entries()
        return LedgerView(entries=entries, totals=_totals(entries))

    def answers(self) -> Counter[str]:
        """How often each distinct request was answered, by `request_digest`."""
        return Counter(entry.request_digest for entry in self.entries() if entry.answered)

    def _write(self, entry: Entry) -> None:
        if self._file is not None:
            line = entry.model_dump_json().encode() + b"\n"
            with self._file.open("ab", buffering=0) as file:
                file.write(line)
        self._entries[entry.sequence] = entry


def read_ledger(file: Path) -> tuple[Entry, ...]:
    """The entries of a ledger's file, also of one whose server was killed.

    A line that was not finished counts as not written. Raises `OSError`, and `ValueError` when the
    file holds something else.
    """
    found: dict[int, Entry] = {}
    for line in file.read_bytes().split(b"\n")[:-1]:
        entry = Entry.model_validate_json(line)
        found[entry.sequence] = entry
    return tuple(found.values())


def _continued(file: Path) -> tuple[Entry, ...]:
    """The entries of a file, once a line that a killed server did not finish is cut off."""
    entries = read_ledger(file)
    whole = file.read_bytes().rpartition(b"\n")
    os.truncate(file, len(whole[0]) + len(whole[1]))
    return entries


def _is_recorded(header: str) -> bool:
    return header in _RECORDED_HEADERS or header.startswith(_RECORDED_PREFIX)


def _totals(entries: tuple[Entry, ...]) -> Totals:
    prompt = sum(entry.billed_prompt_tokens for entry in entries)
    completion = sum(entry.billed_completion_tokens for entry in entries)
    return Totals(
        requests=len(entries),
        answered=sum(entry.answered for entry in entries),
        sent=sum(entry.outcome == "sent" for entry in entries),
        prompt_tokens=prompt,
        completion_tokens=completion,
        paid_tokens=prompt + completion,
    )
