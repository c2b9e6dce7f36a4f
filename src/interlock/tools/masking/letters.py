"""Identifiers with letters in them: IBAN, e-mail, and national ones of France, Spain and Italy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from interlock.tools.masking.checks import BBAN_LENGTHS, iban_holds
from interlock.tools.masking.found import Found
from interlock.tools.masking.national import codice_fiscale, dni, nir

__all__ = ["find_emails", "find_ibans", "find_lettered_ids"]

_IBAN_BEGINS: Final = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ \u00a0\u202f\-]?[A-Za-z0-9])"
)
_IBAN_REST: Final = re.compile(r"(?:[ \u00a0\u202f\-]?[A-Za-z0-9]){8,30}", re.ASCII)
# In groups of four, as ISO 13616 prints it, or in one piece; what follows may be anything.
_LETTERED: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?P<dni>(?:\d{8}|[XYZxyz][ .\-]?\d{7}|\d{2}\.\d{3}\.\d{3})[ .\-]?[A-Za-z])"
    r"|(?P<cf>[A-Za-z]{6}[ ]?[0-9L-NP-Vl-np-v]{2}[A-EHLMPR-Ta-ehlmpr-t][0-9L-NP-Vl-np-v]{2}[ ]?"
    r"[A-Za-z][0-9L-NP-Vl-np-v]{3}[A-Za-z])"
    r"|(?P<nir>[123478] ?\d{2} ?\d{2} ?2[ABab] ?\d{3} ?\d{3} ?\d{2})"
    r")(?![A-Za-z0-9])",
    re.ASCII,
)
_NO_SIGN: Final = re.compile(r"[^A-Za-z0-9]")

_LOCAL: Final = re.compile(r"(?:[^\W]|[.!#$%&'*+/=?^`{|}~\-])+\Z")
_DOMAIN: Final = re.compile(
    r"(?:[^\W_](?:[\w\-]{0,61}[^\W_])?\.)+(?:xn--[\w\-]{2,59}|[^\W\d_]{2,63})"
)
_LONGEST_LOCAL: Final = 64


def find_ibans(text: str) -> Iterator[Found]:
    """Source: ISO 13616-1 and the SWIFT registry; a country's length ends it."""
    for begin in _IBAN_BEGINS.finditer(text):
        length = BBAN_LENGTHS.get(begin[0][:2].upper())
        rest = None if length is None else _IBAN_REST.match(text, begin.end())
        if length is None or rest is None:
            continue
        end, plain = _first_signs(text, begin.end(), rest.end(), length)
        following = text[end : end + 1]
        whole = not (following.isascii() and following.isalnum())
        if whole and iban_holds(begin[0].upper() + plain.upper()):
            yield Found(begin.start(), end, "iban")


def _first_signs(text: str, start: int, end: int, count: int) -> tuple[int, str]:
    """Where the first `count` letters and digits end, and what they are."""
    signs: list[str] = []
    place = start
    while place < end and len(signs) < count:
        if text[place].isalnum():
            signs.append(text[place])
        place += 1
    return place, "".join(signs)


def find_lettered_ids(text: str) -> Iterator[Found]:
    """DNI, NIE, codice fiscale, and a NIR of Corsica, by the rules of `national`."""
    for match in _LETTERED.finditer(text):
        plain = _NO_SIGN.sub("", match[0]).upper()
        judge = {"dni": dni, "cf": codice_fiscale, "nir": nir}[str(match.lastgroup)]
        if judge(plain):
            yield Found(match.start(), match.end(), "national_id")


def find_emails(text: str) -> Iterator[Found]:
    """Source: RFC 5321 section 4.1.2 (dot-string), RFC 6531 for letters beyond ASCII."""
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text[max(0, at - _LONGEST_LOCAL) : at])
        domain = _DOMAIN.match(text, at + 1)
        if local is not None and domain is not None:
            yield Found(at - len(local[0]), domain.end(), "email")
        at = text.find("@", at + 1)
