"""What of a recorded event may be shown: the one place where views and stories are masked.

Fields that their owner has declared as sensitive are hidden wholly, whatever they hold: the event
names them in its header (`sensitive`, dotted paths into the body). In all other text, what the
recognisers find is masked. `reveal` shows what is recorded, and is always somebody's explicit wish.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.tools.masking import Shown, mask_text, mask_value
from interlock.tools.masking.mask import mask_paths

__all__ = ["shown_body", "shown_fields", "shown_text"]


def shown_text(text: str, *, reveal: bool = False) -> str:
    """A sentence for a person."""
    return text if reveal else mask_text(text)


def shown_fields(fields: Mapping[str, Any], *, reveal: bool = False) -> dict[str, Any]:
    """Fields of a view, or of an event's header. What is no JSON (a moment, a view) stays."""
    return dict(fields) if reveal else {name: mask_value(value) for name, value in fields.items()}


def shown_body(header: Mapping[str, Any], value: Any, *, reveal: bool = False) -> Shown:
    """A recorded body, read from JSON, with the header of its event."""
    if reveal:
        return value
    return mask_value(mask_paths(value, header.get("sensitive") or ()))
