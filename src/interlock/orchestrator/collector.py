"""How often Python looks for cyclic garbage while runs execute.

Executing runs make many objects that live for one step, and most die by their reference counts. The
collector's default looks through the young ones after every 700, which costs about a tenth of all
time and finds next to nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

__all__ = ["rarer_collections"]

_YOUNG_OBJECTS: Final = 10_000


@contextmanager
def rarer_collections() -> Generator[None]:
    """Let more objects come together between two collections; afterwards all is as before.

    A process that has turned its collector off, or rarer still, keeps its own setting.
    """
    young, *older = before = gc.get_threshold()
    if 0 < young < _YOUNG_OBJECTS:
        gc.set_threshold(_YOUNG_OBJECTS, *older)
    try:
        yield
    finally:
        gc.set_threshold(*before)
