"""Secrets by reference: `env:NAME` or `file:PATH`, read when a connection is made.

What was read never leaves this process but to its server: it is taken out of all that the server
answers, so a server that repeats it puts it into no journal, message or prompt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from interlock.errors import DeclarationError

__all__ = ["Secrets", "is_reference"]

_ENVIRONMENT: Final = "env:"
_FILE: Final = "file:"
# Shorter ones would be found in ordinary text.
_SHORTEST: Final = 6
_TAKEN_OUT: Final = "[secret]"


def is_reference(value: str) -> bool:
    """Whether a value says where to find it."""
    return value.startswith((_ENVIRONMENT, _FILE))


class Secrets:
    """What one server's references stand for.

    `folder` is where paths begin. Nothing is kept of values that were written out.
    """

    def __init__(self, server: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._server = server
        self._folder = folder
        self._environment = environment
        self._values: set[str] = set()

    def read(self, field: str, value: str) -> str:
        """A value, or what its reference leads to now. Raises `DeclarationError` without it."""
        if not is_reference(value):
            return value
        found = self._found(field, value)
        if len(found) >= _SHORTEST:
            self._values.update({found, json.dumps(found)[1:-1]})
        return found

    def _found(self, field: str, reference: str) -> str:
        where = f"MCP server {self._server!r}: {field} is {reference}"
        if reference.startswith(_ENVIRONMENT):
            name = reference.removeprefix(_ENVIRONMENT)
            if not self._environment.get(name):
                raise DeclarationError(f"{where}, and the environment has no {name}. Set it.")
            return self._environment[name]
        path = self._folder / reference.removeprefix(_FILE)
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DeclarationError(f"{where}, which cannot be read: {error}.") from error
        if not text:
            raise DeclarationError(f"{where}, and that file is empty.")
        return text

    def without(self, value: Any) -> Any:
        """A JSON value with the secrets taken out of its texts."""
        if not self._values:
            return value
        if isinstance(value, str):
            for secret in sorted(self._values, key=len, reverse=True):
                value = value.replace(secret, _TAKEN_OUT)
            return value
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            return {self.without(name): self.without(item) for name, item in fields.items()}
        if isinstance(value, list):
            return [self.without(item) for item in cast("list[Any]", value)]
        return value
