"""All recognisers at once: what in a text is a secret or personal, without overlaps."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from interlock.tools.masking.found import KINDS, Found, Kind
from interlock.tools.masking.letters import find_emails, find_ibans, find_lettered_ids
from interlock.tools.masking.numbers import find_numbers, find_phones
from interlock.tools.masking.secrets import find_secrets

__all__ = ["normal", "recognise"]

# All but secrets and addresses have two digits in a row, or with a separator between.
_DIGIT: Final = re.compile(r"\d[ \u00a0\u2009\u202f.\-/)(]{0,2}\d", re.ASCII)
_DIGITS: Final = re.compile(r"\d[\d \u00a0\u2009\u202f.\-/]{7,}\d", re.ASCII)
# Identifiers of ours and of others, whose digits mean nothing: RFC 9562.
_UUID: Final = re.compile(
    r"(?<![A-Za-z0-9\-])[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"(?![A-Za-z0-9\-])"
)
_NOT_A_SIGN: Final = re.compile(r"[^A-Za-z0-9+]")
_RANK: Final = {kind: rank for rank, kind in enumerate(KINDS)}


def recognise(text: str, kinds: Collection[Kind] = KINDS) -> list[Found]:
    """What is found in the text, of these kinds, in order; pieces that overlap are one.

    The same text always gives the same answer. A piece has the most dangerous kind of its parts.
    """
    found = sorted(one for one in _all(text) if one.kind in kinds)
    return _without_overlaps(found) if found else []


def _all(text: str) -> Iterator[Found]:
    yield from find_secrets(text)
    if "@" in text:
        yield from find_emails(text)
    if _DIGIT.search(text) is None:
        return
    plain = _UUID.sub(lambda match: "x" * len(match[0]), text) if "-" in text else text
    yield from find_ibans(plain)
    yield from find_lettered_ids(plain)
    if _DIGITS.search(plain) is not None:
        yield from find_numbers(plain)
    yield from find_phones(plain)


def _without_overlaps(found: list[Found]) -> list[Found]:
    merged = [found[0]]
    for one in found[1:]:
        last = merged[-1]
        if one.start >= last.end:
            merged.append(one)
        else:
            kind = one.kind if _RANK[one.kind] < _RANK[last.kind] else last.kind
            merged[-1] = Found(last.start, max(one.end, last.end), kind)
    return merged


def normal(kind: Kind, text: str) -> str:
    """The text in the one form in which two ways to write the same value are equal.

    An e-mail address in lower case (no provider in use tells cases apart), a telephone without a
    bracketed zero and with `+` for `00`, an identifier without separators in upper case; a secret
    as it is.
    """
    if kind == "secret":
        return text
    if kind == "email":
        return text.lower()
    plain = _NOT_A_SIGN.sub("", text.replace("(0)", "")).upper()
    return f"+{plain[2:]}" if kind == "phone" and plain.startswith("00") else plain
