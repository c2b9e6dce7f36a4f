"""Writes a golden journal: `python -m tests.replay.build_golden format-1` (or `asks-1`).

Only for a format that has never been released; afterwards its golden journal is never written anew.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.support.golden_agents import Outside, declare, declare_waiting, helped_to_its_end
from tests.support.golden_asking import declare_asking
from tests.support.local import app_in, executing, open_task, until_state

GOLDEN = Path(__file__).parent / "golden"


async def record(folder: Path) -> None:
    """A run that is finished, one that waits for a signal, and one whose effect is unknown."""
    app, outside = app_in(folder), Outside()
    declare(app, outside)
    declare_waiting(app, outside)
    async with executing(app) as local:
        finished = await local.start("everything", 7)
        await helped_to_its_end(local, finished.id, "everything")
        waits = await local.start("waits", "Ann")
        await until_state(local, waits.id, "waiting")
        announces = await local.start("announces", "Closed on Monday")
        await open_task(local, announces.id)
        await until_state(local, announces.id, "waiting")


async def record_asks(folder: Path) -> None:
    """A run that is finished, a conversation of two, and a run that waits for a person."""
    app = app_in(folder)
    declare_asking(app, Counter())
    async with executing(app) as local:
        await (await local.start("judges", "Oslo?")).result()
        for prompt in ("I am Ada.", "Who am I?"):
            given = {"prompt": prompt, "conversation": "ada"}
            await (await local.start("chats", given)).result()
        stuck = await local.start("stuck", "Say something")
        await open_task(local, stuck.id)
        await until_state(local, stuck.id, "waiting")


RECORDS = {"format-1": record, "asks-1": record_asks}


def main(name: str) -> None:
    """Record and store as one file without a log beside it."""
    golden = GOLDEN / f"{name}.db"
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(RECORDS[name](Path(folder)))
        GOLDEN.mkdir(exist_ok=True)
        golden.unlink(missing_ok=True)
        database = sqlite3.connect(Path(folder) / "journal.db")
        database.execute("VACUUM INTO ?", (str(golden),))
        database.close()
    sys.stdout.write(f"{golden.name}: {golden.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1])
