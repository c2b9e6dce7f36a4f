"""The keys that wrap the vault's data keys: from the environment, or from a file that it names.

`INTERLOCK_VAULT_KEY` is `ID:KEY`, the key 32 bytes in base64; `INTERLOCK_VAULT_KEY_FILE` a file
with one such line, or several: the first wraps what is new, the others open what is old, until
`interlock vault rotate` has wrapped that anew. No key is ever in the journal, an error or a log.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from interlock.errors import VaultError

__all__ = ["KEY_FILE_VARIABLE", "KEY_VARIABLE", "VaultKeys"]

KEY_VARIABLE: Final = "INTERLOCK_VAULT_KEY"
KEY_FILE_VARIABLE: Final = "INTERLOCK_VAULT_KEY_FILE"
_KEY_BYTES: Final = 32
_REMEDY: Final = (
    "Make one with `interlock vault key`, keep it where secrets are kept, and give it as "
    f"{KEY_VARIABLE} or in a file that {KEY_FILE_VARIABLE} names."
)


@dataclass(frozen=True)
class VaultKeys:
    """Keys by their id; the first is the current one."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> VaultKeys:
        """The keys of this process. Raises `VaultError` when there is none, or a wrong one."""
        path = environment.get(KEY_FILE_VARIABLE)
        text = environment.get(KEY_VARIABLE, "")
        if path and not text:
            try:
                text = Path(path).read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise VaultError(
                    f"the file that {KEY_FILE_VARIABLE} names cannot be read: "
                    f"{type(error).__name__}. {_REMEDY}"
                ) from None
        found = [_parsed(line) for line in text.replace(",", "\n").splitlines() if line.strip()]
        if not found:
            raise VaultError(f"the vault has no key here. {_REMEDY}")
        return cls(found[0][0], dict(found))

    def named(self, key_id: str) -> bytes:
        """A key by its id. Raises `VaultError` when this process does not have it."""
        key = self.keys.get(key_id)
        if key is None:
            raise VaultError(
                f"the vault's values are under key {key_id!r}, which is not given here (given: "
                f"{', '.join(map(repr, self.keys))}). Add its line to {KEY_FILE_VARIABLE}.",
                key_id=key_id,
            )
        return key


def _parsed(line: str) -> tuple[str, bytes]:
    key_id, colon, text = line.strip().partition(":")
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not (colon and key_id) or len(key) != _KEY_BYTES:
        # The line is not quoted: it may be the key itself.
        raise VaultError(
            f"a vault key is not of the form ID:KEY with {_KEY_BYTES} bytes in base64. {_REMEDY}"
        )
    return key_id, key
