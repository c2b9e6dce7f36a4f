"""A child's leash: when its standard input closes, the child and its whole process group end.

The parent holds the other end of the pipe, so the group ends even when the parent is killed
outright.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

__all__ = ["leash_to_stdin"]


def leash_to_stdin(take_line: Callable[[str], None] | None = None) -> None:
    """Watch standard input in a thread; hand each line to ``take_line``, kill the group at its end.

    Call it only in a process that leads its own process group.
    """
    if os.getpgrp() != os.getpid():
        raise RuntimeError(
            "a leashed process must lead its process group: start it with start_new_session=True"
        )

    def watch() -> None:
        for line in sys.stdin:
            if take_line is not None:
                take_line(line)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="leash", daemon=True).start()
