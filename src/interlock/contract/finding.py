"""A finding: one thing that is wrong, or doubtful, with a contract, and where in which file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from interlock.contract.terms import FieldPath
from interlock.errors import ContractError

__all__ = ["Finding", "Place", "contract_error", "field_name", "in_order", "shortened"]

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MOST_SAID: Final = 100
_LONGEST_FOUND: Final = 60


class Place(NamedTuple):
    """Where something stands in a file: line and column, in characters, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to change, or to think about.

    `code` is stable: `not_yaml`, `unreadable`, `too_large`, `too_deep`, `not_used` (YAML that
    contracts do without), `duplicate_field`, `duplicate_agent`, `unknown_field`, `missing_field`,
    `wrong_value`, `conflict`, `no_contract`; for warnings `budget_below_call`, `budget_order`,
    `unpriced_model`, `unknown_provider`. `place` is None where the whole file is meant, `field` is
    empty where the whole contract is. `allowed` says what may stand there.
    """

    code: str
    file: str
    problem: str
    place: Place | None = None
    field: str = ""
    found: str | None = None
    allowed: str | None = None
    suggestions: tuple[str, ...] = ()
    severity: Literal["error", "warning"] = "error"

    def where(self) -> str:
        """`file:line:column`, as compilers write it and editors follow it."""
        return f"{self.file}:{self.place.line}:{self.place.column}" if self.place else self.file

    def sentence(self) -> str:
        """What is wrong, with what is allowed, without the place."""
        said = f"{self.field}: {self.problem}" if self.field else self.problem
        if self.suggestions:
            said += f"; did you mean {' or '.join(map(repr, self.suggestions))}?"
        if self.allowed is None:
            return said
        return f"{said}{'' if self.suggestions else ';'} allowed: {self.allowed}"

    def as_json(self) -> dict[str, Any]:
        """The finding as JSON values, the place as `line` and `column`."""
        plain = dataclasses.asdict(self) | {"suggestions": list(self.suggestions)}
        del plain["place"]
        line, column = self.place or (None, None)
        return plain | {"line": line, "column": column}


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by file and place, those about a whole file first."""
    return tuple(sorted(findings, key=lambda each: (each.file, each.place or (0, 0))))


def contract_error(findings: Sequence[Finding]) -> ContractError:
    """The error for at least one finding: a line for each, the first hundred of very many."""
    lines = [f"{each.where()}: {each.sentence()}" for each in findings[:_MOST_SAID]]
    if len(findings) > _MOST_SAID:
        lines.append(f"… and {len(findings) - _MOST_SAID:,} more")
    if len(lines) > 1:
        lines.insert(0, f"{len(findings):,} things to change")
    return ContractError("\n".join(lines), findings=[each.as_json() for each in findings])


def field_name(path: FieldPath) -> str:
    """A path as it is written for people: `model.fallbacks[0]`, `prices["openai:x"]`."""
    written = ""
    for part in path:
        if isinstance(part, str) and _PLAIN_NAME.fullmatch(part) and len(part) <= _LONGEST_FOUND:
            written += f".{part}" if written else part
        else:
            written += f'["{shortened(part)}"]' if isinstance(part, str) else f"[{part}]"
    return written


def shortened(text: str) -> str:
    """A text from a file, of one line and bounded length, that can be printed anywhere."""
    line = text.encode("utf-8", "backslashreplace").decode()
    line = line.replace("\n", "\\n").replace("\r", "\\r")
    return line if len(line) <= _LONGEST_FOUND else f"{line[: _LONGEST_FOUND - 1]}…"
