"""Every test of this folder runs once per database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.journal.store import Store
from tests.conformance.backend import BACKENDS, Backend, OwnClock, make_backend


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """An empty database."""
    made = make_backend(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def store(backend: Backend) -> Store:
    """A store on an empty database."""
    return backend.open()


@pytest.fixture
def clock(backend: Backend) -> OwnClock:
    """The clock of `store`."""
    return backend.clock
