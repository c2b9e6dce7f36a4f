"""Laws: what is valid is found wherever it stands, and nothing is left of it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.tools.masking import KINDS, mask_text, mask_value, recognise
from tests.support.personal_data import MAKERS, made

seeds = st.integers(0, 10**9)
names = st.sampled_from(sorted(MAKERS))
# Anything around it that ends before it: a letter or a digit right beside would be part of it.
around = st.text(max_size=60)
before = st.sampled_from(["", " ", "\n", "(", '"', "<", ": ", ", ", "\t", "_", "»", "3 ", "12 "])
after = st.sampled_from(["", " ", "\n", ")", '"', ">", ", ", ". Then", " 3", " 12", "é", "!"])
# An address goes on with these, so they cannot stand right before one.
_OWN = {"email": "3 12 ", "jwt": "", "private_key": ""}


@pytest.mark.parametrize("name", sorted(MAKERS))
@given(seed=seeds, left=around, opening=before, closing=after, right=around)
@settings(max_examples=150, deadline=None)
def test_what_is_valid_is_found_in_any_text(
    name: str, seed: int, left: str, opening: str, closing: str, right: str
) -> None:
    value = made(name, seed)
    text = f"{left} {opening}{value}{closing} {right}"
    start = len(left) + 1 + len(opening)
    covering = [f for f in recognise(text) if f.start <= start and f.end >= start + len(value)]
    assert len(covering) == 1, (text, recognise(text))
    assert value not in mask_text(text)


@given(values=st.lists(st.tuples(names, seeds), max_size=6), filler=st.lists(around, min_size=7))
@settings(max_examples=300, deadline=None)
def test_nothing_is_left_and_masking_again_changes_nothing(
    values: list[tuple[str, int]], filler: list[str]
) -> None:
    pieces = [made(*one) for one in values]
    text = " ".join(part for pair in zip(filler, [*pieces, ""], strict=False) for part in pair)
    masked = mask_text(text)
    assert recognise(masked) == []
    assert mask_text(masked) == masked
    for piece in pieces:
        assert piece not in masked


@given(text=st.text(alphabet="0123456789 .-+()@aZ:/=[]#_", max_size=200))
@settings(max_examples=500, deadline=None)
def test_masking_is_idempotent_on_what_looks_like_everything(text: str) -> None:
    masked = mask_text(text)
    assert mask_text(masked) == masked


@given(text=st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_pieces_are_in_order_apart_and_of_known_kinds(text: str) -> None:
    found = recognise(text)
    assert all(one.start < one.end <= len(text) and one.kind in KINDS for one in found)
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))


@given(
    value=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20)),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=10,
    ),
    name=names,
    seed=seeds,
)
@settings(max_examples=200, deadline=None)
def test_a_value_in_json_is_masked_as_a_key_and_as_a_text(
    value: object, name: str, seed: int
) -> None:
    piece = made(name, seed)
    masked = mask_value({"around": value, "list": [piece, {piece: 1}]})
    assert piece not in str(masked)
    assert mask_value(masked) == masked
