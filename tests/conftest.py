"""What every test shares: Hypothesis without deadlines, recorded data, a clean environment.

Nothing here patches the product. Tests run asynchronous code with `asyncio.run`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("explore", deadline=None, print_blob=True)
# The gate gives the same answer for the same commit; exploring is for people and the simulator.
settings.register_profile("gate", deadline=None, print_blob=True, derandomize=True, database=None)
settings.load_profile("gate" if os.environ.get("CI") else "explore")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--data`, the folder of recorded data that is not part of the repository."""
    parser.addoption("--data", type=Path, default=None, help="folder of recorded data")


def pytest_configure() -> None:
    """Drop the developer's own Interlock settings: a test sees the defaults or sets its own."""
    for name in [name for name in os.environ if name.startswith("INTERLOCK_")]:
        if name != "INTERLOCK_FUZZ_CALLS":  # Of a test, and no setting.
            del os.environ[name]


@pytest.fixture(scope="session")
def recorded_data(request: pytest.FixtureRequest) -> Path:
    """The folder given with `--data` (`make test DATA=folder`); the test is skipped without it."""
    folder: Path | None = request.config.getoption("--data")
    if folder is None or not folder.is_dir():
        pytest.skip(f"recorded data are not here ({folder}); give them: make test DATA=folder")
    return folder.resolve()
