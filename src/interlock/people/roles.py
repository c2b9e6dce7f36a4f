"""Who holds which role: a file that people read and change.

    roles:
      billing-team: [ana, bela]
    delegations:
      - {from: ana, to: carl, role: billing-team, until: 2026-12-31}

A delegation lets another person act for one who holds the role, until the end of a day (UTC).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from interlock.base.codec import describe
from interlock.errors import PolicyError

__all__ = ["Delegation", "Roles", "read_roles"]

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Delegation(BaseModel):
    """`giver` lets `taker` act in a role until a day, that day included (UTC)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    giver: Name = Field(alias="from")
    taker: Name = Field(alias="to")
    role: Name
    until: date


class Roles(BaseModel):
    """Persons by role, and who acts for whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: dict[Name, tuple[Name, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    delegations: tuple[Delegation, ...] = ()

    def acts_for(self, person: str, role: str, today: date) -> str | None:
        """For whom `person` acts in `role` on a day: the holder's name, or None for nobody.

        A person who holds the role acts for themself, whatever was delegated to them. An empty role
        is everybody's.
        """
        holders = self.roles.get(role, ())
        if not role or person in holders:
            return person
        for given in self.delegations:
            fits = given.taker == person and given.role == role and given.giver in holders
            if fits and today <= given.until:
                return given.giver
        return None

    def why_not(self, person: str, role: str, today: date) -> str:
        """Why `person` may not act in `role` on a day, and who may; empty when they may."""
        if self.acts_for(person, role, today) is not None:
            return ""
        holders = ", ".join(self.roles.get(role, ())) or "nobody"
        why = f"{person or 'nobody'} does not hold the role {role!r}; {holders} do"
        ended = [d for d in self.delegations if (d.taker, d.role) == (person, role)]
        for given in sorted(ended, key=lambda given: given.until)[-1:]:
            why += f" (what {given.giver} delegated to {person} ended with {given.until})"
        return why

    def problems(self, asked: Iterable[str]) -> list[str]:
        """What is wrong, in sentences: `asked` are the roles that policies name."""
        wanted = {role for role in asked if role}
        unknown = sorted(wanted - self.roles.keys())
        known = ", ".join(sorted(self.roles)) or "none"
        found = [f"nobody has the role {role!r}; there are: {known}" for role in unknown]
        found += [
            f"nobody holds {role!r}: name a person"
            for role in wanted & self.roles.keys()
            if not self.roles[role]
        ]
        for given in self.delegations:
            if given.giver not in self.roles.get(given.role, ()):
                found.append(
                    f"{given.giver!r} delegates the role {given.role!r}, which they do not hold"
                )
        return found


def read_roles(path: Path) -> Roles | None:
    """Read the file; None when there is none. Raises `PolicyError` that names what is wrong."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path.name} cannot be read: {error}") from error
    try:
        reader: Any = YAML(typ="safe", pure=True)
        data: Any = reader.load(text)
    except YAMLError as error:
        raise PolicyError(f"{path.name} is no YAML: {error}") from error
    try:
        return Roles.model_validate(data or {})
    except ValidationError as error:
        raise PolicyError(f"{path.name}: {describe(error)}") from error
