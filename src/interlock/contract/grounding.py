"""What a run may rely on when it chooses where something goes."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from interlock.contract.terms import Terms, as_tuple

__all__ = ["GroundingTerms"]

_Path = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^input(\.[^.\s]+)*$")]
_Value = Annotated[str, Field(min_length=1, max_length=1000)]


class GroundingTerms(Terms):
    """Sources, beside tools declared as trusted, that may name a destination."""

    input: Annotated[tuple[_Path, ...], BeforeValidator(as_tuple)] = Field(
        default=("input",),
        max_length=50,
        description="The parts of the run's input that the person who asks has written, such as "
        "input.request; what others wrote (a forwarded message) is left out.",
    )
    values: Annotated[tuple[_Value, ...], BeforeValidator(as_tuple)] = Field(
        default=(),
        max_length=500,
        description="Addresses, accounts or hosts that are always good.",
    )
