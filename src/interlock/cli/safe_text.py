"""Text from outside, made safe for a terminal.

Messages, names and payloads come from users and other systems. A terminal would obey the control
characters in them; here they become visible instead.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["safe_json", "safe_text"]

# C0 without tab and newline, DEL, C1, line separators, the marks that turn text around, and halves
# of surrogate pairs, which cannot be printed at all.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def safe_text(text: str) -> str:
    """The text with control characters written as `\\x1b`."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def safe_json(text: str) -> str:
    """JSON with the same characters escaped by JSON's own rules: it reads back unchanged."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
