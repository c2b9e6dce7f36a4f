"""No secret and no personal datum of a run's text is in any view; `--reveal` shows they are there.

`python -m benchmarks.masking` does the same with 100 MB.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner

from benchmarks.masking import leaks_in
from benchmarks.mixed_text import make_piece
from interlock.cli import app as program
from tests.support.personal_data import MAKERS


def test_no_view_shows_what_was_seeded_wherever_the_text_went(tmp_path: Path) -> None:
    pieces = [make_piece(number, 6_000) for number in range(2)]
    found = asyncio.run(leaks_in(tmp_path, pieces))
    assert found.leaks == {}, found.examples
    assert {each.maker for piece in pieces for each in piece.seeded} == set(MAKERS)
    assert found.views > 70

    # The looking itself works: what is asked for by name is all there.
    store = ["--store", f"sqlite:///{tmp_path / 'journal.db'}"]
    listed = CliRunner().invoke(program, ["runs", "--json", *store])
    texts = [
        CliRunner()
        .invoke(program, ["show", row["id"], "--bodies", "--json", "--reveal", *store])
        .stdout
        for row in json.loads(listed.stdout)["runs"]
    ]
    for piece in pieces:
        for seeded in piece.seeded:
            # In JSON twice over: a text in a body in the printed JSON.
            forms = (json.dumps(trace)[1:-1] for trace in seeded.traces())
            assert all(any(form in text for text in texts) for form in forms), seeded
