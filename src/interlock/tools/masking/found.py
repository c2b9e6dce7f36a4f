"""What a recogniser finds: a piece of a text, and what it is."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

__all__ = ["KINDS", "SECRETS", "Found", "Kind"]

Kind = Literal["secret", "iban", "card", "national_id", "email", "phone"]
"""`secret` is what gives access: keys, tokens, passwords. The others are personal data."""

# In this order the name of a piece is chosen that several recognisers claim.
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SECRETS: Final[frozenset[Kind]] = frozenset({"secret"})


class Found(NamedTuple):
    """`text[start:end]` is of this kind."""

    start: int
    end: int
    kind: Kind
