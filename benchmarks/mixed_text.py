"""Mixed text with secrets and personal data in it: the same for the same seed.

Ordinary sentences in a dozen languages, JSON, CSV, log lines, mails and code, with numbers that are
nothing (amounts, order numbers, moments), and among them what the recognisers know, of every kind.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.support.personal_data import MAKERS

__all__ = ["Piece", "Seeded", "make_piece"]

_SENTENCES: Final = (
    "The parcel left our depot on 2026-03-14 and weighs 12.5 kg; order 48213-77 is complete.",
    "Bonjour, je n'ai toujours pas reçu ma commande n° 2026/118, pouvez-vous vérifier ?",
    "Sehr geehrte Damen und Herren, die Rechnung über 1.249,90 € ist seit dem 3. Mai offen.",
    "Hola, ¿podrían cambiar la talla de la chaqueta azul por una más grande, por favor?",
    "Buongiorno, il tecnico è passato ieri alle 14:30 ma il guasto è ancora presente.",
    "Goedemiddag, kunt u mij vertellen wanneer het abonnement precies afloopt?",
    "Dzień dobry, proszę o fakturę za zamówienie z 12 kwietnia, łącznie 349,00 zł.",
    "Olá, o valor de 75,20 foi cobrado duas vezes no mês passado.",
    "お世話になっております。先週注文した商品がまだ届いていません。",
    "您好，请问这个型号的保修期是多长时间？",  # noqa: RUF001
    "Здравствуйте, не работает вход в личный кабинет после обновления 7.4.1.",
    "مرحبا، أرغب في معرفة حالة الطلب الأخير.",
    "Tack för hjälpen, ärendet kan stängas. Version 10.2.33, bygge 20260101.",
)


@dataclass(frozen=True, kw_only=True)
class Seeded:
    """One thing that must not be seen: its kind, the maker that made it, and its text."""

    kind: str
    maker: str
    text: str

    def traces(self) -> list[str]:
        """What of it must be nowhere: it all, or each long line of a key."""
        lines = [line for line in self.text.split("\n") if len(line) > 30 and "-----" not in line]
        return lines if "\n" in self.text else [self.text]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A text and what is hidden in it."""

    text: str
    seeded: tuple[Seeded, ...]


def make_piece(number: int, size_bytes: int) -> Piece:
    """About so many bytes of text; the same number and size make the same."""
    chance = random.Random(f"mixed text {number}")
    names = sorted(MAKERS)
    parts: list[str] = []
    seeded: list[Seeded] = []
    size = 0
    while size < size_bytes:
        plain = " ".join(chance.choices(_SENTENCES, k=chance.randint(1, 4)))
        maker = names[len(seeded) % len(names)]
        kind, make = MAKERS[maker]
        text = make(chance)
        seeded.append(Seeded(kind=kind, maker=maker, text=text))
        part = f"{plain}\n{chance.choice(_FORMS)(text, chance)}\n"
        parts.append(part)
        size += len(part.encode())
    return Piece(text="".join(parts), seeded=tuple(seeded))


def _sentence(text: str, chance: random.Random) -> str:
    said = ("My number is", "c'est", "es ist", "is", "Nr.:", "番号は", "it was")
    return f"{chance.choice(said)} {text}, thanks."


def _json(text: str, chance: random.Random) -> str:
    return json.dumps({"id": chance.randrange(10**6), "value": text, "ok": True})


def _csv(text: str, chance: random.Random) -> str:
    return f'{chance.randrange(10**5)};open;"{text}";2026-02-0{chance.randint(1, 9)};12.50'


def _log(text: str, chance: random.Random) -> str:
    return f"2026-05-04T12:00:0{chance.randrange(10)}Z WARN [worker-3] refused ({text}) after 3 s"


def _mail(text: str, _: random.Random) -> str:
    return f"> On Monday somebody wrote:\n> see {text}\n-- \nsent from a phone"


def _code(text: str, _: random.Random) -> str:
    return f"value = '{text}'  # do not commit"


def _markup(text: str, _: random.Random) -> str:
    return f"<td>{text}</td><p>| {text} | cell |</p>"


_FORMS: Final[tuple[Callable[[str, random.Random], str], ...]] = (
    _sentence,
    _json,
    _csv,
    _log,
    _mail,
    _code,
    _markup,
)
