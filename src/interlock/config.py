"""Settings that a process takes from its environment, and what holds without them.

A value given explicitly always wins over the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = [
    "APP_VARIABLE",
    "DEFAULT_STORE",
    "KEYS_FILE_VARIABLE",
    "KEY_VARIABLE",
    "STORE_VARIABLE",
    "TOKENS_FILE_VARIABLE",
    "store_url",
]

STORE_VARIABLE: Final = "INTERLOCK_STORE"
APP_VARIABLE: Final = "INTERLOCK_APP"
KEYS_FILE_VARIABLE: Final = "INTERLOCK_KEYS_FILE"
KEY_VARIABLE: Final = "INTERLOCK_KEY"
TOKENS_FILE_VARIABLE: Final = "INTERLOCK_TOKENS_FILE"
DEFAULT_STORE: Final = "sqlite:///interlock.db"


def store_url(given: str | None, environment: Mapping[str, str], of_app: str | None = None) -> str:
    """The store to use: the one given, else the environment's, else the app's, else the default.

    An empty value counts as absent.
    """
    return given or environment.get(STORE_VARIABLE) or of_app or DEFAULT_STORE
