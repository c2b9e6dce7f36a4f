"""The simulator catches engines that are broken on purpose: each by the invariant it breaks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from interlock.testing.simulate import catch, simulate
from interlock.testing.simulation import Workshop
from interlock.testing.variants import VARIANTS

SEED = "1"
AGENTS_AT_MOST = 60


def test_there_are_more_than_ten() -> None:
    assert len(VARIANTS) > 10


@pytest.mark.parametrize("name", VARIANTS)
def test_a_broken_engine_is_caught_where_the_real_one_is_clean(name: str, tmp_path: Path) -> None:
    variant = VARIANTS[name]
    caught = catch(variant, tmp_path, SEED, AGENTS_AT_MOST)
    assert caught.failure is not None, f"{name} was not caught: {variant.broken}"
    same_agent = [caught.failure.agent]
    assert list(simulate(SEED, same_agent, Workshop(tmp_path), Counter())) == []
