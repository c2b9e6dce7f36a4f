"""A process that writes to a journal, started by the tests: `python writer_process.py WHAT …`.

It says on standard output what was acknowledged, a line each, so that a test that kills it knows
what must be there.
"""

from __future__ import annotations

import asyncio
import sys

from interlock.journal import Journal, open_store
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit, Committed, NewMessage


def say(*words: object) -> None:
    """One line, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def send_mail(location: str, sender: str, count: int) -> None:
    """Send `count` messages to each of three runs."""
    store = open_store(location)
    for number in range(count):
        for run in ("r0", "r1", "r2"):
            message = f"{sender}-{run}-{number}"
            header = {"run": run, "kind": "signal", "name": "go"}
            draft = Draft("mail_sent", message, header, message.encode())
            guards = (NewMessage(message),)
            (result,) = store.commit([Commit((Append(f"mail/{run}", [draft]),), guards)])
            assert isinstance(result, Committed), result
    store.close()
    say("sent", 3 * count)


async def _append(location: str, mode: str) -> None:
    store = open_store(location)
    journal = Journal(store, mode=mode)  # pyright: ignore[reportArgumentType]

    async def produce(stream: str) -> None:
        head = store.head(stream)
        number = head.seq if head else 0
        while True:
            draft = Draft("step_completed", f"k{number}", {"n": number}, b"x" * 500)
            await journal.commit(Commit((Append(stream, [draft], after_seq=number),)))
            number += 1
            say(stream, number)

    await asyncio.gather(*(produce(f"s{n}") for n in range(8)))


def main(what: str, location: str, *rest: str) -> None:
    """Do what was asked."""
    if what == "mail":
        send_mail(location, rest[0], int(rest[1]))
    else:
        asyncio.run(_append(location, rest[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
