"""Several persons decide at once, over HTTP and on the command line, rightly and wrongly.

Each keeps what they said and what they were answered, so that a test can hold it against the
journal, and both against what was really paid.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx

from interlock.journal import open_store
from interlock.journal.rows import InboxRow, InboxState
from tests.support.serving import interlock, store_in

__all__ = ["MAY", "MAY_NOT", "Answer", "Storm", "Word"]

MAY = ("ana", "bela", "chidi", "dora")
MAY_NOT = ("eve", "mallory")
_OTHERS: tuple[InboxState, ...] = ("decided", "expired", "withdrawn")
_AT_ONCE = 4
Answer = Literal["taken", "refused", "unknown", "away"]


@dataclass(frozen=True, kw_only=True)
class Word:
    """What somebody said about a task, and what became of it as far as they know."""

    task: str
    choice: str
    by: str
    door: str
    value: dict[str, Any] | None
    answer: Answer


@dataclass
class Storm:
    """Deciders in threads, until `stop`. `address` is where the server is, or was, just now."""

    folder: Path
    keys: dict[str, str]
    address: Callable[[], str]
    words: list[Word] = field(default_factory=list[Word])
    over: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list[BaseException])
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def begin(self, *, http: int, commands: int, seed: int) -> None:
        """Let so many persons decide at each door."""
        doors = [self._over_http] * http + [self._by_command] * commands
        for number, door in enumerate(doors):
            dice = random.Random(f"{seed}/{number}")
            thread = threading.Thread(target=self._decide_on, args=(door, dice))
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let all end, and raise what failed in one of them."""
        self.over.set()
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _decide_on(self, door: Callable[..., Answer], dice: random.Random) -> None:
        try:
            while not self.over.is_set():
                self._one(door, dice)
        except BaseException as failure:  # noqa: BLE001 - told by `stop`
            self.failures.append(failure)

    def _one(self, door: Callable[..., Answer], dice: random.Random) -> None:
        # A command is slow to start, and would always find that others were faster.
        found = self._pick(dice, _AT_ONCE if door == self._over_http else None)
        if found is None:
            time.sleep(0.02)
            return
        task, arguments = found
        choice = dice.choices(("approve", "edit", "reject"), (75, 15, 10))[0]
        value = _edited(arguments, dice) if choice == "edit" else None
        by = dice.choice(MAY_NOT if dice.random() < 0.15 else MAY)
        answer = door(task.id, choice, value, by)
        if answer == "away":
            return
        name = "http" if door == self._over_http else "command"
        self.words.append(
            Word(task=task.id, choice=choice, by=by, door=name, value=value, answer=answer)
        )

    def _pick(
        self, dice: random.Random, oldest: int | None
    ) -> tuple[InboxRow, dict[str, Any]] | None:
        """One of the oldest open tasks, that others may pick too; now and then one that is over."""
        states: tuple[InboxState, ...] = _OTHERS if dice.random() < 0.1 else ("open",)
        with closing(open_store(store_in(self.folder), create=False)) as store:
            tasks = store.inbox(states, 1000)
            if not tasks:
                return None
            task = dice.choice(tasks[:oldest] if states == ("open",) else tasks)
            entry = store.entry(task.position)
        assert entry is not None
        return task, json.loads(entry.body or b"")["details"]["arguments"]

    # The doors.

    def _over_http(self, task: str, choice: str, value: dict[str, Any] | None, by: str) -> Answer:
        body = {"choice": choice, "value": value}
        headers = {"authorization": f"Bearer {self.keys[by]}"}
        url = f"{self.address()}/v1/inbox/{task}/decision"
        try:
            answer = httpx.post(url, json=body, headers=headers, timeout=60, trust_env=False)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            time.sleep(0.02)
            return "away"
        except httpx.TransportError:
            return "unknown"
        assert answer.status_code in (200, 403, 409), answer.text
        return "taken" if answer.status_code == 200 else "refused"

    def _by_command(self, task: str, choice: str, value: dict[str, Any] | None, by: str) -> Answer:
        words = ("decide", task, choice, "--by", by, "--value", json.dumps(value))
        done = interlock(*words, folder=self.folder)
        assert done.returncode in (0, 1), done.stderr
        return "taken" if done.returncode == 0 else "refused"


def _edited(arguments: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """Into what needs nobody, one person, two, or is forbidden."""
    cents = dice.choice((3000, 7000, 150_000))
    account = "blocked" if dice.random() < 0.2 else arguments["account"]
    return {"account": account, "cents": cents, "note": f"geändert – {dice.random()} „{cents}“"}
