"""Masking: secrets and personal data found in text, and kept out of what leaves the journal."""

from __future__ import annotations

from interlock.tools.masking.found import KINDS, Found, Kind
from interlock.tools.masking.mask import Shown, mask_text, mask_value
from interlock.tools.masking.recognise import normal, recognise

__all__ = [
    "KINDS",
    "Found",
    "Kind",
    "Shown",
    "mask_text",
    "mask_value",
    "normal",
    "recognise",
]
