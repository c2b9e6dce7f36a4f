"""National identifiers of persons: France, some of the European Union, the United States.

Each takes a text without separators, in upper case, of the right length.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from interlock.tools.masking.checks import iso_11_10, weighted

__all__ = [
    "belgian",
    "bsn",
    "codice_fiscale",
    "dni",
    "itin",
    "nif",
    "nir",
    "pesel",
    "ssn",
    "steuer_id",
]

_DNI_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
_NIE_FIRST: Final = {"X": "0", "Y": "1", "Z": "2"}
_OMOCODIA: Final = {letter: str(digit) for digit, letter in enumerate("LMNPQRSTUV")}
# What a sign at an odd place counts for: the values of 0 to 9, which are those of A to J too.
_ODD_DIGITS: Final = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_ODD_LETTERS: Final = (*_ODD_DIGITS, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_PESEL_CENTURIES: Final = {0: 1900, 1: 2000, 2: 2100, 3: 2200, 4: 1800}
_NIF_FIRST: Final = frozenset("1235689")
_NIF_FIRST_TWO: Final = frozenset({"45", "70", "71", "72", "74", "75", "77", "78", "79"})


def nir(text: str) -> bool:
    """France, 15 signs: the NIR with its key, 97 - number modulo 97; Corsica's 2A is 19, 2B is 18.

    Source: decree 82-103 of 22 January 1982; INSEE, «Numéro d'inscription au répertoire».
    """
    month = text[3:5]
    if text[0] not in "123478" or not month.isdigit():
        return False
    if not (1 <= int(month) <= 12 or 20 <= int(month) <= 42 or 50 <= int(month) <= 99):
        return False
    number = text[:13]
    if number[5] == "2" and number[6] in "AB":
        number = f"{number[:5]}{'19' if number[6] == 'A' else '18'}{number[7:]}"
    return number.isdigit() and 97 - int(number) % 97 == int(text[13:])


def steuer_id(digits: str) -> bool:
    """Germany, 11 digits: of the first ten one comes two or three times, the others once at most.

    Source: § 139b AO; BZSt, «Handbuch IdNr», with ISO/IEC 7064 MOD 11,10.
    """
    counts = sorted((digits[:10].count(digit) for digit in set(digits[:10])), reverse=True)
    repeated = counts[0] in (2, 3) and all(count == 1 for count in counts[1:])
    return digits[0] != "0" and repeated and iso_11_10(digits)


def dni(text: str) -> bool:
    """Spain, 8 digits or X, Y, Z and 7 digits, and a letter: DNI and NIE.

    Source: Real Decreto 1553/2005; Ministerio del Interior, «Cálculo del dígito de control».
    """
    number = _NIE_FIRST.get(text[0], text[0]) + text[1:8]
    return number.isdigit() and _DNI_LETTERS[int(number) % 23] == text[8]


def codice_fiscale(text: str) -> bool:
    """Italy, 16 signs. Source: Decreto Ministeriale 23 dicembre 1976, with its «omocodia»."""
    total = 0
    for place, sign in enumerate(text[:15]):
        if place % 2 == 0:
            odd = _ODD_DIGITS[int(sign)] if sign.isdigit() else _ODD_LETTERS[ord(sign) - 65]
            total += odd
        else:
            total += int(sign) if sign.isdigit() else ord(sign) - 65
    day = "".join(_OMOCODIA.get(sign, sign) for sign in text[9:11])
    born = day.isdigit() and (1 <= int(day) <= 31 or 41 <= int(day) <= 71)
    return born and text[8] in "ABCDEHLMPRST" and chr(65 + total % 26) == text[15]


def bsn(digits: str) -> bool:
    """The Netherlands, 9 digits. Source: Logisch Ontwerp BSN, the «elfproef» for the BSN."""
    total = weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2)) - int(digits[8])
    return digits != "0" * 9 and total % 11 == 0


def belgian(digits: str) -> bool:
    """Belgium, 11 digits; who was born from 2000 on has a 2 before the nine for the check.

    Source: Arrêté royal of 3 April 1984 on the identification number, article 2.
    """
    month, day = int(digits[2:4]), int(digits[4:6])
    if month % 20 > 12 or month >= 60 or day > 31:
        return False
    check = int(digits[9:])
    return check in (97 - int(digits[:9]) % 97, 97 - int(f"2{digits[:9]}") % 97)


def pesel(digits: str) -> bool:
    """Poland, 11 digits with the date of birth; its month tells the century.

    Source: Ustawa o ewidencji ludności (2010), article 15; gov.pl, «Czym jest numer PESEL».
    """
    month = int(digits[2:4])
    year = _PESEL_CENTURIES.get(month // 20, 0) + int(digits[:2])
    try:
        dt.date(year, month % 20, int(digits[4:6]))
    except ValueError:
        return False
    total = weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3))
    return (10 - total % 10) % 10 == int(digits[10])


def nif(digits: str) -> bool:
    """Portugal, 9 digits. Source: Decreto-Lei 14/2013; Autoridade Tributária, NIF modulo 11."""
    if digits[0] not in _NIF_FIRST and digits[:2] not in _NIF_FIRST_TWO:
        return False
    rest = weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return (0 if rest < 2 else 11 - rest) == int(digits[8])


def ssn(digits: str) -> bool:
    """The United States, 9 digits without a check digit.

    Source: Social Security Administration, POMS RM 10201.035: no area 000, 666 or 900 and above, no
    group 00, no serial 0000.
    """
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def itin(digits: str) -> bool:
    """The United States, taxpayers without an SSN. Source: IRS, Revenue Manual 3.21.263."""
    group = int(digits[3:5])
    return digits[0] == "9" and (
        50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99
    )
