"""Check digits, each by the rule of who issues the number. Texts of digits only, unless said."""

from __future__ import annotations

from typing import Final

__all__ = ["BBAN_LENGTHS", "iban_holds", "iso_11_10", "luhn", "weighted"]

# Length of the whole IBAN by country. Source: SWIFT, IBAN Registry, release 99 (2024).
_IBAN_LENGTHS: Final = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 "
    "DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 "
    "IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 "
    "MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 "
    "SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
BBAN_LENGTHS: Final = {entry[:2]: int(entry[2:]) - 4 for entry in _IBAN_LENGTHS.split()}


def luhn(digits: str) -> bool:
    """Source: ISO/IEC 7812-1, annex B (the formula of H. P. Luhn)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def iban_holds(iban: str) -> bool:
    """An IBAN in upper case without separators. Source: ISO 13616-1, with ISO 7064 MOD 97-10."""
    if BBAN_LENGTHS.get(iban[:2]) != len(iban) - 4 or not iban[2:4].isdigit():
        return False
    return int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 == 1


def iso_11_10(digits: str) -> bool:
    """Source: ISO/IEC 7064, MOD 11,10, the check digit last."""
    product = 10
    for digit in digits[:-1]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[-1])


def weighted(digits: str, weights: tuple[int, ...]) -> int:
    """The sum of each digit times its weight; digits without a weight do not count."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))
