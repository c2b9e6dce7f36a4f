"""What the simulation's tests share: thousands of crashes that nobody wants to read about."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the engine's log out of the report: pytest would format every record of it."""
    log = logging.getLogger("interlock")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    yield
    log.setLevel(level)
