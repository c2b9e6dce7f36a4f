"""Every error of ours has its status, and the reference page tells it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from interlock import errors
from interlock.entry.auth import AuthOptions
from interlock.entry.problem import STATUSES, RequestError, error_response, problem_response
from interlock.entry.server import ServeOptions
from interlock.errors import InterlockError, InvalidInputError, StorageError, VaultError
from tests.support.serving import EVERYWHERE, ROOT

KINDS = [getattr(errors, name) for name in errors.__all__]
PAGE = ROOT / "docs" / "reference" / "http.md"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_of_its_own(kind: type[InterlockError]) -> None:
    answer = error_response(kind("it did not work", run="run_1"))
    status, _ = STATUSES[kind.code]
    assert answer.status_code == status
    assert answer.media_type == "application/problem+json"
    told = json.loads(bytes(answer.body))
    assert (told["code"], told["detail"]) == (kind.code, "it did not work")
    assert told["fields"] == {"run": "run_1"}
    assert (status == 503) is issubclass(kind, (StorageError, VaultError))


def test_every_code_of_a_request_is_in_the_table() -> None:
    used: set[str] = set()
    for path in (ROOT / "src" / "interlock" / "entry").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r'(?:RequestError|problem_response)\(\s*"(\w+)"', text))
    assert used
    assert used <= set(STATUSES)


def test_the_reference_names_every_code_under_its_status() -> None:
    table = dict(re.findall(r"^\| (\d{3}) \| (.*) \|$", Path(PAGE).read_text(), re.MULTILINE))
    told = {
        (code, int(status)) for status, row in table.items() for code in re.findall(r"\w+", row)
    }
    assert told == {(code, status) for code, (status, _) in STATUSES.items()}


def test_an_unknown_code_is_our_own_defect() -> None:
    assert problem_response("never heard of it", "x").status_code == 500


def test_a_detail_that_is_no_text_is_still_answered() -> None:
    answer = error_response(RequestError("malformed_request", "half a pair: \ud800"))
    assert "\ud800" in json.loads(bytes(answer.body))["detail"]


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "10.0.0.5", "desk.example"])
def test_an_address_that_others_reach_needs_callers_who_are_known(host: str) -> None:
    with pytest.raises(InvalidInputError, match="--keys"):
        ServeOptions(host=host)
    assert ServeOptions(host=host, auth=AuthOptions(keys=Path("keys.json"))).host == host
