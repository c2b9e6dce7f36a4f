"""How many tokens a text is, so that usage is a function of the request alone.

Four characters are one token, rounded up. It is no tokeniser; it is near enough to English that
budgets in tests look like budgets.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CHARACTERS_PER_TOKEN", "token_count"]

CHARACTERS_PER_TOKEN: Final = 4


def token_count(text: str) -> int:
    """Tokens of a text; 0 for the empty one."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)
