"""A text that comes in pieces, masked while it comes.

What is found may be cut between two pieces, so the end of what has come is held back until enough
follows to tell. Whoever shows the whole text afterwards shows it masked as a whole.
"""

from __future__ import annotations

import re
from typing import Final

from interlock.tools.masking.recognise import recognise

__all__ = ["MaskedPieces"]

# Longer than any identifier in its widest spelling, and than a name before a secret.
_HELD_BACK: Final = 160
# A line of one long word may be from the middle of a private key.
_ARMOUR: Final = re.compile(r"\s*\S{32,}\s*")
_SPACES: Final = " \t\u00a0\u2009\u202f"
# A group of an identifier that is written in groups is so short, or has a digit.
_LONGEST_GROUP: Final = 4


class MaskedPieces:
    """One text: `add` a piece, and get what may be shown by now.

    With `torn`, what came before the first piece is not known: the text is shown from the first
    whole line that cannot be the inside of something longer, such as a key in its armour.
    """

    def __init__(self, *, torn: bool = False) -> None:
        self._torn = torn
        self._text = ""
        # How much of `_text` is shown already; it stays for what is recognised by what precedes it.
        self._shown = 0

    def add(self, piece: str) -> str:
        """Add a piece; the answer is the next part of the masked text, often empty."""
        self._text += piece
        if self._torn and not self._is_mended():
            return ""
        return self._until(_safe_end(self._text))

    def rest(self) -> str:
        """What is held back, masked; nothing follows."""
        if self._torn:
            return ""
        return self._until(len(self._text))

    def _is_mended(self) -> bool:
        """Whether a line has come that can be shown; what is before it is forgotten."""
        _, broken, after = self._text.partition("\n")
        while broken:
            line, broken, later = after.partition("\n")
            if broken and not _ARMOUR.fullmatch(line):
                self._text = after
                self._torn = False
                return True
            if broken:
                after = later
        return False

    def _until(self, end: int) -> str:
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


def _safe_end(text: str) -> int:
    """Where what may still go on begins: the last word, and groups of digits before it."""
    end = len(text)
    while end > 0 and not text[end - 1].isspace():
        end -= 1
    bound = end - _HELD_BACK
    while end > 0 and end > bound and text[end - 1] in _SPACES:
        begin = len(text[:end].rstrip(_SPACES))
        word_begin = begin
        while word_begin > 0 and not text[word_begin - 1].isspace():
            word_begin -= 1
        word = text[word_begin:begin]
        if len(word) > _LONGEST_GROUP and not any(map(str.isdigit, word)):
            break
        end = word_begin
    return end
