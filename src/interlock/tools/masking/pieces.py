"""A text that comes in pieces, masked while it comes.

What is found may be cut between two pieces, so the end of what has come is held back until enough
follows to tell. Whoever shows the whole text afterwards shows it masked as a whole.
"""

from __future__ import annotations

from typing import Final

from interlock.tools.masking.recognise import recognise

__all__ = ["MaskedPieces"]

# Longer than any identifier in its widest spelling, and than a name with the secret behind it.
_HELD_BACK: Final = 160


class MaskedPieces:
    """One text: `add` a piece, and get what may be shown by now."""

    def __init__(self) -> None:
        self._text = ""
        # How much of `_text` is shown already; it stays for what is recognised by what precedes it.
        self._shown = 0

    def add(self, piece: str) -> str:
        """Add a piece; the answer is the next part of the masked text, often empty."""
        self._text += piece
        end = len(self._text) - _HELD_BACK
        if end <= self._shown:
            return ""
        found = recognise(self._text)
        for one in reversed(found):
            if one.start < end < one.end:
                end = max(one.start, self._shown)
        parts: list[str] = []
        place = self._shown
        for one in found:
            if one.end > place and one.start < end:
                parts += (self._text[place : max(place, one.start)], f"[{one.kind}]")
                place = one.end
        if place < end:
            parts.append(self._text[place:end])
        self._keep(end)
        return "".join(parts)

    def _keep(self, end: int) -> None:
        forget = max(0, end - _HELD_BACK)
        self._text = self._text[forget:]
        self._shown = end - forget
