"""Who calls from outside, and what they may.

A role is a word. Six of them are rights at this door (`RIGHTS`, and `admin` for all of these);
every other one is a role in which a person decides inbox tasks, such as `billing-team`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

__all__ = ["ADMIN", "RIGHTS", "Identity", "Kind", "Right"]

Kind = Literal["person", "agent"]
Right = Literal["read", "start", "call", "decide", "operate", "reveal"]
RIGHTS: Final[tuple[str, ...]] = get_args(Right)
ADMIN: Final = "admin"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Somebody whom a credential has named. It holds nothing of the credential itself.

    `name` is how the journal names them. `tenant` is the one whose runs they start and see; None is
    every tenant. `client` is the program that calls: for a key its own name, for a token the client
    that it was issued to. `credential` names the key or the issuer, for people.
    """

    name: str
    kind: Kind
    tenant: str | None
    roles: frozenset[str]
    client: str
    credential: str

    def may(self, right: Right) -> bool:
        """Whether a role grants the right. Deciding is for persons only."""
        if right == "decide" and self.kind != "person":
            return False
        return right in self.roles or ADMIN in self.roles

    def belongs_to(self, tenant: str) -> bool:
        """Whether what is the tenant's is theirs to see."""
        return self.tenant is None or self.tenant == tenant
