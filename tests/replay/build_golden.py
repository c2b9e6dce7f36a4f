"""Writes the golden journal of the present format: `python -m tests.replay.build_golden`.

Only for a format that has never been released; afterwards its golden journal is never written anew.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from pathlib import Path

from tests.support.golden_agents import Outside, declare, declare_waiting, helped_to_its_end
from tests.support.local import app_in, executing, open_task, until_state

GOLDEN = Path(__file__).parent / "golden" / "format-1.db"


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


def main() -> None:
    """Record and store as one file without a log beside it."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(record(Path(folder)))
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.unlink(missing_ok=True)
        database = sqlite3.connect(Path(folder) / "journal.db")
        database.execute("VACUUM INTO ?", (str(GOLDEN),))
        database.close()
    sys.stdout.write(f"{GOLDEN.name}: {GOLDEN.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
