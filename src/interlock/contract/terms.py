"""What every section of a contract is built from: the base class, and the types of its values.

Values are strict: a text is never taken for a number, money is never a float, and an unknown name
is an error. Rules between the fields of one section are `conflicts`, so that a section reports all
of them at once, each with the field it is about.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, NamedTuple, Self, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

__all__ = [
    "CONFLICT",
    "MAX_USD",
    "AgentName",
    "Amount",
    "CallSeconds",
    "Conflict",
    "Count",
    "FieldPath",
    "ModelName",
    "ProviderName",
    "Ratio",
    "RoleName",
    "Seconds",
    "Settings",
    "Terms",
    "ToolName",
    "as_tuple",
]

FieldPath: TypeAlias = tuple[str | int, ...]

CONFLICT: Final = "contract_conflict"
MAX_USD: Final = 1_000_000_000
# Micro-dollars: the journal counts money in these.
_USD_PLACES: Final = 6
_AMOUNT: Final = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,6})?", re.ASCII)
_MAX_SAFE_INTEGER: Final = 2**53 - 1
_HOUR_SECONDS: Final = 3600
_YEAR_SECONDS: Final = 366 * 86_400


class Conflict(NamedTuple):
    """A rule between fields that does not hold: which field, what is wrong, what is allowed."""

    path: FieldPath
    problem: str
    allowed: str


class Terms(BaseModel):
    """A section of a contract: frozen, strict, without unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    def conflicts(self) -> Iterator[Conflict]:
        """Rules between fields that do not hold; a section with rules overrides it."""
        return iter(())

    @model_validator(mode="after")
    def _without_conflicts(self) -> Self:
        found = tuple(self.conflicts())
        if found:
            raise _conflict_error(found)
        return self


def _conflict_error(found: tuple[Conflict, ...]) -> PydanticCustomError:
    said = "; ".join(f"{one.problem}; allowed: {one.allowed}" for one in found)
    return PydanticCustomError(CONFLICT, "{said}", {"said": said, "conflicts": found})


# Money.


def _exact(value: Any, info: ValidationInfo) -> Any:
    """An int as Decimal, and in JSON a text too, which is how money is written there."""
    written = info.mode == "json" and isinstance(value, str) and _AMOUNT.fullmatch(value)
    return Decimal(value) if written or type(value) is int else value


def _shortest(value: Decimal) -> Decimal:
    """The same amount without trailing zeros and exponent, so that equal contracts hash equally."""
    return Decimal(_written(value))


def _written(value: Decimal) -> str:
    text = format(abs(value), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


# The bounds stand next to the type: what comes later in the list sees only what is within them.
Amount = Annotated[
    Decimal,
    Field(ge=0, le=MAX_USD, decimal_places=_USD_PLACES),
    BeforeValidator(_exact),
    AfterValidator(_shortest),
    PlainSerializer(_written, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "number",
            "minimum": 0,
            "maximum": MAX_USD,
            "x-unit": f"US dollars, at most {_USD_PLACES} decimal places",
        }
    ),
]
"""Money in US dollars: an int or a Decimal in Python, a number in YAML, a text in JSON."""


# Numbers.


def _from_decimal(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


_SECONDS: Final = Field(json_schema_extra={"x-unit": "seconds"})

Seconds = Annotated[
    float, Field(ge=0.1, le=_YEAR_SECONDS), BeforeValidator(_from_decimal), _SECONDS
]
"""A duration of up to a year in seconds, fractions allowed."""

CallSeconds = Annotated[
    float, Field(ge=0.1, le=_HOUR_SECONDS), BeforeValidator(_from_decimal), _SECONDS
]
"""A duration of up to an hour in seconds, fractions allowed."""

Ratio = Annotated[float, Field(gt=0, le=1), BeforeValidator(_from_decimal)]
"""A share, above 0 and up to 1."""

Count = Annotated[int, Field(ge=0, le=10**12)]
"""How many of something; 0 is none at all."""


# Names.


def _name(pattern: str, longest: int, allowed: str) -> Any:
    extra: dict[str, Any] = {"patternErrorMessage": allowed}
    return Field(min_length=1, max_length=longest, pattern=pattern, json_schema_extra=extra)


AgentName = Annotated[
    str,
    _name(
        r"^[^/\x00-\x1f\x7f]+$",
        200,
        "a text of 1 to 200 characters, without '/' and control characters",
    ),
]
"""An agent's name, as `@app.agent` takes it."""

ModelName = Annotated[
    str,
    _name(r"^\S+$", 200, "a text of 1 to 200 characters without spaces, such as openai:gpt-5.2"),
]
"""A model's name: `provider:model`, or the key of a model that the application registers."""

ProviderName = Annotated[
    str,
    _name(
        r"^[^\s:]+$", 100, "a text of 1 to 100 characters without spaces and ':', such as openai"
    ),
]
"""A provider: the part of a model's name before ':'."""

ToolName = Annotated[str, _name(r"^\S+$", 200, "a text of 1 to 200 characters without spaces")]
"""A tool's name."""

RoleName = Annotated[
    str,
    _name(r"^[^\x00-\x1f\x7f]+$", 200, "a text of 1 to 200 characters in one line"),
]
"""Who is asked: a role, as `run.escalate(to=…)` takes it."""


def as_tuple(value: Any) -> Any:
    """A list as a tuple, which cannot be changed; all else as it is."""
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


# Settings that are passed on.


def _json_value(value: Any) -> Any:
    """The settings as plain JSON; raises for every number that JSON cannot carry exactly."""
    found: list[Conflict] = []
    plain = _plain(value, (), found)
    if found:
        raise _conflict_error(tuple(found))
    return plain


def _plain(value: Any, path: FieldPath, found: list[Conflict]) -> Any:
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {name: _plain(item, (*path, name), found) for name, item in items}
    if isinstance(value, (list, tuple)):
        members = enumerate(cast("list[Any]", value))
        return [_plain(item, (*path, number), found) for number, item in members]
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        found.append(Conflict(path, "the number is not finite", "a finite number"))
    if type(value) is int and abs(value) > _MAX_SAFE_INTEGER:
        limit = f"a whole number up to {_MAX_SAFE_INTEGER:,}"
        found.append(Conflict(path, "JSON cannot carry the number exactly", limit))
    return value


Settings = Annotated[Mapping[str, JsonValue], BeforeValidator(_json_value)]
"""Any JSON, passed on as it is."""
