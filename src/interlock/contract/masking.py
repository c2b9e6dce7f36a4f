"""What is personal in an agent's work, and what its model sees of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from interlock.contract.terms import Terms, as_tuple

__all__ = ["MaskingKind", "MaskingTerms"]

MaskingKind = Literal["secret", "iban", "card", "national_id", "email", "phone"]
_Path = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^(input|result)(\.[^.\s]+)*$")]


class MaskingTerms(Terms):
    """Views, logs and errors are masked in any case; this adds to it."""

    handles: bool = Field(
        default=False,
        description="Whether a model sees handles such as iban#1 in place of values, which tools "
        "get back. Needs a key for the vault.",
    )
    kinds: Annotated[tuple[MaskingKind, ...], BeforeValidator(as_tuple)] = Field(
        default=("secret", "iban", "card", "national_id", "email", "phone"),
        max_length=6,
        description="What a model sees as handles.",
    )
    person: str | None = Field(
        default=None,
        max_length=200,
        description="Where the run's input names the person whose data it holds, such as "
        "input.customer: `interlock vault erase` takes that name. Without it, the run's id.",
    )
    sensitive: Annotated[tuple[_Path, ...], BeforeValidator(as_tuple)] = Field(
        default=(),
        max_length=200,
        description="Fields of the run's input and result that views hide wholly, such as "
        "input.diagnosis.",
    )
