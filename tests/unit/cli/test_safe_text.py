"""No text from outside can steer a terminal."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from interlock.cli.safe_text import safe_json, safe_text

ANYTHING = st.text(st.characters(codec=None))


@given(ANYTHING)
def test_no_control_character_is_left_and_it_can_be_printed(text: str) -> None:
    safe = safe_text(text)
    controls = {c for c in safe if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")}
    assert controls <= {"\t", "\n"}
    safe.encode("utf-8")


def test_what_is_harmless_stays_and_what_is_not_is_visible() -> None:
    assert safe_text("größe 漢字 [red]\n\t") == "größe 漢字 [red]\n\t"
    assert safe_text("\x1b[2J\r\x9b\u202e") == "\\x1b[2J\\r\\x9b\\u202e"


@given(ANYTHING)
def test_json_reads_back_unchanged(text: str) -> None:
    written = safe_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(written) == text
    assert not set(written) & {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))}
