"""Valid secrets and identifiers, made from a source of chance: for laws, and to seed texts with.

The check digits are computed here by other means than the product's, so that both must be right.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["MAKERS", "made"]

_BASE64: Final = string.ascii_letters + string.digits
_DNI: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
# By character, at odd places: Italy's decree of 12 March 1974.
_ODD_VALUES: Final = (
    "1 0 5 7 9 13 15 17 19 21 1 0 5 7 9 13 15 17 19 21 2 4 18 20 11 3 6 8 12 14 16 10 22 25 24 23"
)
_ODD: Final = dict(
    zip(
        string.digits + string.ascii_uppercase,
        map(int, _ODD_VALUES.split()),
        strict=True,
    )
)


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.digits, k=count))


def _signs(chance: random.Random, count: int, signs: str = _BASE64) -> str:
    return "".join(chance.choices(signs, k=count))


def _grouped(chance: random.Random, text: str, sizes: tuple[int, ...]) -> str:
    gap = chance.choice(["", " ", "-"])
    parts: list[str] = []
    for size in sizes:
        parts.append(text[:size])
        text = text[size:]
    return gap.join(part for part in (*parts, text) if part)


def card(chance: random.Random) -> str:
    prefix, length, sizes = chance.choice(
        [("4", 16, (4, 4, 4)), ("53", 16, (4, 4, 4)), ("2500", 16, (4, 4, 4)), ("37", 15, (4, 6))]
    )
    body = prefix + _digits(chance, length - len(prefix) - 1)
    doubled = [int(d) for d in reversed(body)]
    total = sum(sum(divmod(2 * d, 10)) if i % 2 == 0 else d for i, d in enumerate(doubled))
    return _grouped(chance, f"{body}{-total % 10}", sizes)


def iban(chance: random.Random) -> str:
    country, length = chance.choice(
        [("FR", 27), ("DE", 22), ("GB", 22), ("NL", 18), ("BE", 16), ("MT", 31), ("NO", 15)]
    )
    bban = _signs(chance, length - 4, string.digits + string.ascii_uppercase)
    number = "".join(str(string.digits.find(c) if c.isdigit() else ord(c) - 55) for c in bban)
    number += "".join(str(ord(c) - 55) for c in country) + "00"
    whole = f"{country}{98 - int(number) % 97:02d}{bban}"
    return _grouped(chance, whole, (4,) * (length // 4))


def email(chance: random.Random) -> str:
    name = _signs(chance, 8, string.ascii_lowercase)
    return f"{name}.{_signs(chance, 4)}@{_signs(chance, 6, string.ascii_lowercase)}.co.uk"


def phone(chance: random.Random) -> str:
    gap = chance.choice([" ", ".", "-"])
    pairs = [_digits(chance, 2) for _ in range(4)]
    return chance.choice(
        [
            gap.join([f"0{chance.randint(1, 9)}", *pairs]),
            gap.join(["+33", str(chance.randint(1, 9)), *pairs]),
            f"+49 30 {_digits(chance, 7)}",
            f"({chance.randint(220, 310)}) 555-{_digits(chance, 4)}",
            gap.join([str(chance.randint(220, 310)), "555", _digits(chance, 4)]),
            f"+1 415 {chance.randint(200, 999)} {_digits(chance, 4)}",
        ]
    )


def nir(chance: random.Random) -> str:
    head = f"{chance.choice('12')}{_digits(chance, 2)}{chance.randint(1, 12):02d}"
    number = head + _digits(chance, 8)
    text = f"{number}{97 - int(number) % 97:02d}"
    return _grouped(chance, text, (1, 2, 2, 2, 3, 3))


def nir_of_corsica(chance: random.Random) -> str:
    head = f"1{_digits(chance, 2)}05"
    tail = _digits(chance, 6)
    return f"{head}2A{tail}{97 - int(f'{head}19{tail}') % 97:02d}"


def steuer_id(chance: random.Random) -> str:
    while True:
        order = chance.sample(string.digits, 10)
        order[9] = order[chance.randrange(9)]
        if order[0] != "0":
            break
    rest = 10
    for digit in order:
        rest = (int(digit) + rest) % 10 or 10
        rest = rest * 2 % 11
    return "".join(order) + str((11 - rest) % 10)


def dni(chance: random.Random) -> str:
    number = _digits(chance, 8)
    return number + chance.choice(["", "-"]) + _DNI[int(number) % 23]


def nie(chance: random.Random) -> str:
    first, number = chance.randrange(3), _digits(chance, 7)
    return f"{'XYZ'[first]}{number}{_DNI[int(f'{first}{number}') % 23]}"


def codice_fiscale(chance: random.Random) -> str:
    letters = string.ascii_uppercase
    text = f"{_signs(chance, 6, letters)}{_digits(chance, 2)}{chance.choice('ABCDEHLMPRST')}"
    text += f"{chance.randint(1, 31):02d}{chance.choice(letters)}{_digits(chance, 3)}"
    even = (int(c) if c.isdigit() else ord(c) - 65 for c in text[1::2])
    return text + letters[(sum(_ODD[c] for c in text[::2]) + sum(even)) % 26]


def bsn(chance: random.Random) -> str:
    while True:
        body = _digits(chance, 8)
        check = sum(int(d) * (9 - i) for i, d in enumerate(body)) % 11
        if check < 10 and int(body):
            return f"{body}{check}"


def nif(chance: random.Random) -> str:
    body = chance.choice("123") + _digits(chance, 7)
    check = 11 - sum(int(d) * (9 - i) for i, d in enumerate(body)) % 11
    return f"{body}{check if check < 10 else 0}"


def belgian(chance: random.Random) -> str:
    born = f"{_digits(chance, 2)}{chance.randint(1, 12):02d}{chance.randint(1, 28):02d}"
    number = born + _digits(chance, 3)
    check = 97 - int(chance.choice(["", "2"]) + number) % 97
    plain = f"{number}{check:02d}"
    dotted = f"{plain[:2]}.{plain[2:4]}.{plain[4:6]}-{plain[6:9]}.{plain[9:]}"
    return chance.choice([plain, dotted])


def pesel(chance: random.Random) -> str:
    month = chance.randint(1, 12) + chance.choice([0, 20])
    body = f"{_digits(chance, 2)}{month:02d}{chance.randint(1, 28):02d}{_digits(chance, 4)}"
    total = sum(int(d) * w for d, w in zip(body, (1, 3, 7, 9) * 3, strict=False))
    return f"{body}{-total % 10}"


def ssn(chance: random.Random) -> str:
    area = chance.choice([*range(1, 666), *range(667, 900)])
    gap = chance.choice(" -")
    return f"{area:03d}{gap}{chance.randint(1, 99):02d}{gap}{chance.randint(1, 9999):04d}"


def api_key(chance: random.Random) -> str:
    return chance.choice(
        [
            f"sk-proj-{_signs(chance, 40)}",
            f"sk-ant-{_signs(chance, 40)}",
            f"ghp_{_signs(chance, 36)}",
            f"glpat-{_signs(chance, 20)}",
            f"xoxb-{_digits(chance, 11)}-{_signs(chance, 24)}",
            f"AKIA{_signs(chance, 16, string.ascii_uppercase)}",
            f"AIza{_signs(chance, 35)}",
            f"sk_live_{_signs(chance, 24)}",
            f"hf_{_signs(chance, 34)}",
        ]
    )


def jwt(chance: random.Random) -> str:
    return f"eyJ{_signs(chance, 20)}.eyJ{_signs(chance, 40)}.{_signs(chance, 43)}"


def private_key(chance: random.Random) -> str:
    lines = "\n".join(_signs(chance, 64) for _ in range(5))
    kind = chance.choice(["", "RSA ", "EC ", "OPENSSH "])
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


MAKERS: Final[Mapping[str, tuple[str, Callable[[random.Random], str]]]] = MappingProxyType(
    {
        "card": ("card", card),
        "iban": ("iban", iban),
        "email": ("email", email),
        "phone": ("phone", phone),
        "nir": ("national_id", nir),
        "nir_of_corsica": ("national_id", nir_of_corsica),
        "steuer_id": ("national_id", steuer_id),
        "dni": ("national_id", dni),
        "nie": ("national_id", nie),
        "codice_fiscale": ("national_id", codice_fiscale),
        "bsn": ("national_id", bsn),
        "nif": ("national_id", nif),
        "belgian": ("national_id", belgian),
        "pesel": ("national_id", pesel),
        "ssn": ("national_id", ssn),
        "api_key": ("secret", api_key),
        "jwt": ("secret", jwt),
        "private_key": ("secret", private_key),
    }
)


def made(name: str, seed: int) -> str:
    """A valid one of this name; the same seed makes the same one."""
    return MAKERS[name][1](random.Random(f"{name}:{seed}"))
