"""Values by the name before them: found whatever the case, as plain patterns find them."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.tools.masking import secrets

# What the product's patterns mean, written without their head start.
_HEADER = re.compile(
    r"\b(?P<scheme>bearer|basic|digest|apikey)[ \t]+(?P<token>[A-Za-z0-9\-._~+/]{8,}=*)",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"(?P<name>pass(?:word|wd|phrase)?|pwd|mot[ _]de[ _]passe|secret|token|api[_\- ]?key|"
    r"access[_\- ]?key|private[_\- ]?key|client[_\- ]?secret)"
    r"[\"']?[ \t]{0,3}(?::=|=>|[:=])[ \t]{0,3}(?P<quote>[\"']?)"
    r"(?P<value>[^\s\"',;&<>\[\]{}()]{6,})",
    re.IGNORECASE,
)
_WORDS = [
    *("bearer", "basic", "digest", "apikey", "password", "passwd", "passphrase", "pass", "pwd"),
    *("mot de passe", "mot_de_passe", "secret", "token", "api key", "api-key", "access_key"),
    *("private key", "client-secret", "clientsecret"),
]


def _cased(word: str, how: list[int]) -> str:
    """Each letter as one of the signs that are the same when case is ignored."""
    others = {"s": "sS\u017f", "k": "kK\u212a", "i": "iI\u0131\u0130"}
    return "".join(
        (signs := others.get(sign, sign + sign.upper()))[turn % len(signs)]
        for sign, turn in zip(word, how, strict=False)
    )


WORDS = st.builds(_cased, st.sampled_from(_WORDS), st.lists(st.integers(0, 3), min_size=14))
PARTS = st.one_of(
    WORDS,
    st.sampled_from(
        [" ", "=", ":", ": ", "=>", "'", "x", "_", "\n", "Zq8rT2wLp0", "abcdefgh", "1"]
    ),
    st.text(max_size=3),
)


@given(st.lists(PARTS, max_size=12).map("".join))
@settings(max_examples=400, deadline=None)
def test_the_head_start_of_the_patterns_changes_nothing(text: str) -> None:
    for ours, plain in ((secrets._HEADER, _HEADER), (secrets._NAMED, _NAMED)):  # noqa: SLF001
        found = [(match.span(), match[match.lastindex or 0]) for match in ours.finditer(text)]
        meant = [(match.span(), match[match.lastindex or 0]) for match in plain.finditer(text)]
        assert found == meant
