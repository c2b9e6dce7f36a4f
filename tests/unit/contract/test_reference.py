"""The schema and the pages say what the contract's fields say."""

from __future__ import annotations

import json
import re

import pytest

from interlock.contract import Contract, contract_schema, parse_contract
from interlock.contract import finding as finding_module
from interlock.contract.shape import contract_shape
from tests.support.contract_reference import sections, table
from tests.support.serving import ROOT

REFERENCE = ROOT / "docs" / "reference"
PAGE = REFERENCE / "contract.md"


def test_the_committed_schema_is_the_one_of_the_fields() -> None:
    text = (REFERENCE / "contract.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == contract_schema(), (
        "run: interlock contract schema > docs/reference/contract.schema.json"
    )


def test_every_field_has_a_description_and_says_what_is_allowed() -> None:
    shape = contract_shape()
    paths = list(shape.paths())
    assert ("budgets", "run", "usd") in paths
    for name, section in sections():
        for field in section.names():
            assert section.schema["properties"][field].get("description"), f"{name}.{field}"
            inner = section.at(field)
            assert inner is not None
            assert inner.allowed() != "anything", f"{name}.{field}"


@pytest.mark.parametrize(("name", "shape"), list(sections()), ids=lambda each: str(each)[:20])
def test_the_reference_has_the_table_of_every_section(name: str, shape: object) -> None:
    page = PAGE.read_text(encoding="utf-8")
    wanted = table(shape)  # type: ignore[arg-type]
    assert f"### {name or 'At the top'}\n" in page
    assert wanted in page, f"write this table into {PAGE.name}:\n{wanted}"


def test_the_reference_has_every_code_of_a_finding() -> None:
    described = finding_module.Finding.__doc__ or ""
    codes = set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+|unreadable|conflict)`", described))
    rows = re.findall(r"^\| (`.*`) \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    told = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    assert codes
    assert codes <= told


def test_the_schema_is_a_copy_and_its_fields_are_those_that_are_read() -> None:
    contract_schema()["properties"].clear()
    assert set(contract_schema()["properties"]) == set(Contract.model_fields)


def test_the_example_of_the_reference_is_a_contract() -> None:
    (example,) = re.findall(r"```yaml file=\S+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert parse_contract(example).agent == "faq"
