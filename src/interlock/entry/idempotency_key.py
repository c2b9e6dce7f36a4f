"""The `Idempotency-Key` header, quoted as its draft has it, or bare as most callers send it.

Source: draft-ietf-httpapi-idempotency-key-header, an sf-string of RFC 8941, section 3.3.3.
"""

from __future__ import annotations

import re
from typing import Final

from interlock.entry.problem import RequestError

__all__ = ["parse_idempotency_key"]

_QUOTED: Final = re.compile(r'^"(?P<text>(?:[^"\\]|\\["\\])*)"$')
_ESCAPE: Final = re.compile(r'\\(["\\])')
_LONGEST: Final = 255


def parse_idempotency_key(values: list[str]) -> str | None:
    """The key of a request's header lines; None when there is none.

    Raises `RequestError` for a doubled, empty, overlong or wrongly quoted one.
    """
    if not values:
        return None
    text = values[0].strip()
    key = _unquoted(text) if text.startswith('"') else text
    if len(values) > 1 or key is None or not 1 <= len(key) <= _LONGEST or not key.isprintable():
        raise RequestError(
            "malformed_request",
            f"Idempotency-Key: give one key of 1 to {_LONGEST} printable characters, bare or in "
            "double quotes.",
            header="Idempotency-Key",
        )
    return key


def _unquoted(text: str) -> str | None:
    found = _QUOTED.match(text)
    return _ESCAPE.sub(r"\1", found["text"]) if found else None
