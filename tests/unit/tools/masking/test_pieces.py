"""A text that is masked while it comes in never shows what the whole would hide."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.tools.masking import mask_text
from interlock.tools.masking.pieces import MaskedPieces
from tests.support.personal_data import MAKERS, made

values = st.tuples(st.sampled_from(sorted(MAKERS)), st.integers(0, 10**9))
words = st.text(alphabet="abc de.,\n", max_size=40)


@given(
    parts=st.lists(st.tuples(words, values), min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=8),
)
@settings(max_examples=200, deadline=None)
def test_no_cut_shows_a_value(parts: list[tuple[str, tuple[str, int]]], cuts: list[int]) -> None:
    pieces = [made(*value) for _, value in parts]
    text = "".join(f"{word} {piece} " for (word, _), piece in zip(parts, pieces, strict=True))
    text += "and that is all of it, good bye\n"
    coming, shown, place, turn = MaskedPieces(), "", 0, 0
    while place < len(text):
        size = cuts[turn % len(cuts)]
        shown += coming.add(text[place : place + size])
        place, turn = place + size, turn + 1
    assert not [piece for piece in pieces if piece in shown]
    assert mask_text(shown) == shown


def test_plain_words_are_shown_at_once() -> None:
    coming = MaskedPieces()
    assert coming.add("The invoice was paid yesterday, ") == "The invoice was paid yesterday, "


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["0044 0532 0130 00 is mine", "\nand so", " on\n"], "and so on\n"),
        (["3d0e\n" + "k" * 64 + "\n", "k" * 64 + "\nthat was", " it\n"], "that was it\n"),
        (["of it, without", " a break"], ""),
        (["of it\n", "write to ana@desk.example\n"], "write to [email]\n"),
    ],
)
def test_of_a_torn_text_the_next_whole_line_is_shown(pieces: list[str], shown: str) -> None:
    coming = MaskedPieces(torn=True)
    told = "".join(coming.add(piece) for piece in pieces) + coming.rest()
    assert told == shown
