"""Numbers in groups of digits: cards, telephones, national identifiers.

A number is looked at as its groups: `4111 1111 1111 1111` has the shape (4, 4, 4, 4). Each shape
has its judges, so other numbers beside it do not hide one, and what has no such shape costs one
look into a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from interlock.tools.masking import national
from interlock.tools.masking.checks import luhn
from interlock.tools.masking.found import Found, Kind

__all__ = ["find_numbers", "find_phones"]

_Shape = tuple[int, ...]
_Judge = Callable[[str], bool]

_GAP: Final = "[ \u00a0\u2009\u202f.\\-/]"
# Two spaces, or a dash between spaces, end a number. The longest is bounded below, by its groups.
_CANDIDATE: Final = re.compile(rf"(?<![A-Za-z0-9])\d+(?:{_GAP}\d+)*(?![A-Za-z0-9])", re.ASCII)
_GROUP: Final = re.compile(r"\d+", re.ASCII)
_SHORTEST: Final = 9
_MOST_GROUPS: Final = 7

# Prefixes and lengths of the brands. Source: ISO/IEC 7812-1 and what the networks publish.
_CARDS: Final = re.compile(
    r"4\d{12}(?:\d{3}){0,2}"
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|3[47]\d{13}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12,15}"
    r"|62\d{14,17}"
    r"|(?:30[0-5]\d|3095|36\d\d|3[89]\d\d)\d{10,15}"
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}",
    re.ASCII,
)


def _card(digits: str) -> bool:
    return _CARDS.fullmatch(digits) is not None and luhn(digits)


def _french_phone(digits: str) -> bool:
    """Source: ARCEP, plan national de numérotation: ten digits that begin with 01 to 09."""
    return digits[0] == "0" and digits[1] != "0"


def _american_phone(digits: str) -> bool:
    """Source: North American Numbering Plan: NXX-NXX-XXXX, N from 2 to 9, no N11 as an area."""
    return digits[0] > "1" and digits[3] > "1" and digits[1:3] != "11"


def _american_trunk(digits: str) -> bool:
    return digits[0] == "1" and _american_phone(digits[1:])


def _social_security(digits: str) -> bool:
    return national.ssn(digits) or national.itin(digits)


def _nine(digits: str) -> bool:
    return national.bsn(digits) or national.nif(digits)


def _eleven(digits: str) -> bool:
    return national.steuer_id(digits) or national.pesel(digits) or national.belgian(digits)


def _shapes() -> Mapping[_Shape, tuple[tuple[Kind, _Judge], ...]]:
    card: tuple[Kind, _Judge] = ("card", _card)
    found: dict[_Shape, list[tuple[Kind, _Judge]]] = {(n,): [card] for n in range(12, 20)}
    spaced = (
        *((4,) * n + ((rest,) if rest else ()) for n in (3, 4) for rest in range(4)),
        (4, 6, 5), (4, 6, 4), (6, 13), (4, 4, 5), (4, 4, 4, 1), (4, 4, 4, 4, 3), (8, 8), (5, 5, 6),
    )  # fmt: skip
    for shape in spaced:
        if card not in found.setdefault(shape, []):
            found[shape].append(card)

    def add(kind: Kind, judge: _Judge, *shapes: _Shape) -> None:
        for shape in shapes:
            found.setdefault(shape, []).append((kind, judge))

    add("national_id", national.nir, (15,), (13, 2), (1, 2, 2, 2, 3, 3, 2), (1, 2, 2, 5, 3, 2))
    add("national_id", _eleven, (11,))
    add("national_id", national.steuer_id, (2, 3, 3, 3))
    add("national_id", national.belgian, (2, 2, 2, 3, 2), (6, 3, 2), (6, 5), (9, 2))
    add("national_id", _nine, (9,), (3, 3, 3))
    add("national_id", national.bsn, (4, 2, 3))
    add("national_id", _social_security, (3, 2, 4))
    add("phone", _french_phone, (10,), (2, 2, 2, 2, 2), (1, 3, 3, 3), (4, 2, 2, 2), (4, 3, 3))
    add("phone", _american_phone, (3, 3, 4))
    add("phone", _american_trunk, (1, 3, 3, 4))
    return MappingProxyType({shape: tuple(judges) for shape, judges in found.items()})


_SHAPES: Final = _shapes()
_BEGINNINGS: Final = frozenset(s[:n] for s in _SHAPES for n in range(1, len(s) + 1))


def find_numbers(text: str) -> Iterator[Found]:
    """Cards, telephones and national identifiers that are made of digits only."""
    for candidate in _CANDIDATE.finditer(text):
        if candidate.end() - candidate.start() >= _SHORTEST:
            yield from _within(text, candidate.start(), candidate.end())


def _within(text: str, start: int, end: int) -> Iterator[Found]:
    groups = [match.span() for match in _GROUP.finditer(text, start, end)]
    lengths = [stop - begin for begin, stop in groups]
    for first, (begin, _) in enumerate(groups):
        for last in range(first, min(first + _MOST_GROUPS, len(groups))):
            shape = tuple(lengths[first : last + 1])
            if shape not in _BEGINNINGS:
                break
            judges = _SHAPES.get(shape)
            if judges is None:
                continue
            digits = "".join(text[a:b] for a, b in groups[first : last + 1])
            stop = groups[last][1]
            yield from (Found(begin, stop, kind) for kind, judge in judges if judge(digits))


# Telephones with their country, or an area in brackets.

# Source: ITU-T E.164, list of assigned country codes: Europe, North America, and some others.
_COUNTRIES: Final = (
    "1|7|20|27|30|31|32|33|34|36|39|40|41|43|44|45|46|47|48|49|51|52|54|55|56|57|60|61|62|63|64|65|"
    "66|81|82|84|86|90|91|92|98|21[1-9]|22\\d|23\\d|24\\d|25\\d|26\\d|35\\d|37\\d|38\\d|42[013]|"
    "50\\d|59\\d|85\\d|88\\d|96\\d|97\\d|99\\d"
)
_INTERNATIONAL: Final = re.compile(
    rf"(?<![A-Za-z0-9])(?:\+|(?<![_.\-])00)[ ]?(?:{_COUNTRIES})(?:{_GAP}?\(0\))?"
    rf"(?:{_GAP}?\(?\d{{1,12}}\)?){{1,7}}(?![A-Za-z0-9])",
    re.ASCII,
)
# Fifteen after E.164, and the two zeros that stand for the plus.
_MOST_PHONE_DIGITS: Final = 17
_AMERICAN: Final = re.compile(
    rf"(?<![A-Za-z0-9])(?:1{_GAP}?)?\(([2-9]\d\d)\){_GAP}?([2-9]\d\d){_GAP}?(\d{{4}})"
    "(?![A-Za-z0-9])",
    re.ASCII,
)


def find_phones(text: str) -> Iterator[Found]:
    """Telephones that begin with a country (E.164, at most 15 digits) or an area in brackets."""
    if "+" in text or "00" in text:
        for match in _INTERNATIONAL.finditer(text):
            if 8 <= sum(sign.isdigit() for sign in match[0]) <= _MOST_PHONE_DIGITS:
                yield Found(match.start(), match.end(), "phone")
    if "(" in text:
        for match in _AMERICAN.finditer(text):
            yield Found(match.start(), match.end(), "phone")
