"""A process whose files may not grow beyond a megabyte and a half: `filling_process.py DATABASE`.

It writes through a journal until that fails, tries again, and says as JSON what happened.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys

from interlock.errors import StorageError
from interlock.journal import Journal, open_store
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit

LIMIT_BYTES = 1_500_000


async def fill(path: str) -> dict[str, object]:
    """Write until it fails, then twice more."""
    journal = Journal(open_store(path))
    acknowledged, errors = 0, list[StorageError]()
    while len(errors) < 3:
        draft = Draft("step_completed", "k", {}, b"x" * 20_000)
        try:
            await journal.commit(Commit((Append("a", [draft], after_seq=acknowledged),)))
            acknowledged += 1
        except StorageError as error:
            errors.append(error)
    return {
        "acknowledged": acknowledged,
        "error": type(errors[0]).__name__,
        "message": errors[0].message,
        "later": [type(error).__name__ for error in errors[1:]],
    }


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))
    sys.stdout.write(json.dumps(asyncio.run(fill(sys.argv[1]))))
