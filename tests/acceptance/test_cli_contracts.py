"""What `interlock check` and `interlock contract` print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from interlock.cli import app
from interlock.contract import contract_schema

GOOD = "agent: faq\nmodel: {name: openai:gpt-5.2}\n"
DOUBTFUL = "agent: mail\nbudgets: {run: {tokens: 10}}\n"
WRONG = "agent: desk\nmodel:\n  atempts: 3\n  timeout_seconds: '60'\n"


def invoke(*arguments: str | Path) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def as_json(result: Result) -> Any:
    """What a command printed for machines."""
    return json.loads(result.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one contract without a fault."""
    (tmp_path / "faq.yaml").write_text(GOOD)
    return tmp_path


def test_check_of_good_contracts_ends_with_0(folder: Path) -> None:
    for path in (folder, folder / "faq.yaml"):
        done = invoke("check", path)
        assert done.exit_code == 0, done.output
        assert done.stdout == "1 contract: 0 errors, 0 warnings\n"


def test_check_tells_every_mistake_with_its_place_and_ends_with_1(folder: Path) -> None:
    (folder / "desk.yml").write_text(WRONG)
    done = invoke("check", folder)
    assert done.exit_code == 1
    *mistakes, last = done.stdout.splitlines()
    assert mistakes == [
        (
            f"{folder}/desk.yml:3:3: error: model.atempts: there is no such field; did you mean "
            "'attempts'? allowed: attempts, fallbacks, max_output_tokens, name, settings, "
            "timeout_seconds, tokens_per_byte, tokens_per_file"
        ),
        (
            f"{folder}/desk.yml:4:20: error: model.timeout_seconds: found the text '60'; allowed: "
            "a number from 0.1 to 3,600 (seconds)"
        ),
    ]
    assert last == "2 contracts: 2 errors, 0 warnings"


def test_a_warning_is_told_and_still_ends_with_0(folder: Path) -> None:
    (folder / "mail.yaml").write_text(DOUBTFUL)
    done = invoke("check", folder)
    assert done.exit_code == 0
    assert f"{folder}/mail.yaml:2:25: warning: budgets.run.tokens: " in done.stdout
    assert done.stdout.endswith("2 contracts: 0 errors, 1 warning\n")


def test_check_as_json(folder: Path) -> None:
    sound = as_json(invoke("check", folder, "--json"))
    (contract,) = sound["contracts"]
    assert (sound["valid"], sound["findings"]) == (True, [])
    assert (contract["file"], contract["agent"]) == (f"{folder}/faq.yaml", "faq")
    assert len(contract["hash"]) == 64
    (folder / "desk.yml").write_text(WRONG)
    done = invoke("check", folder, "--json")
    assert done.exit_code == 1
    told = as_json(done)
    assert told["valid"] is False
    assert told["files"] == [f"{folder}/desk.yml", f"{folder}/faq.yaml"]
    assert [each["agent"] for each in told["contracts"]] == ["faq"]
    first, second = told["findings"]
    assert (first["line"], first["column"], first["suggestions"]) == (3, 3, ["attempts"])
    assert (second["field"], second["code"]) == ("model.timeout_seconds", "wrong_value")


def test_two_contracts_of_one_agent_are_found_across_paths(folder: Path) -> None:
    other = folder / "inner" / "other.yaml"
    other.parent.mkdir()
    other.write_text(GOOD)
    assert invoke("check", folder, folder / "faq.yaml").exit_code == 0
    done = invoke("check", folder, other)
    assert done.exit_code == 1
    assert f"{other}:1:8: error: agent: {folder}/faq.yaml is a contract of agent" in done.stdout


def test_what_is_not_there_is_not_valid(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "absent.yaml", "cannot be read"), (tmp_path, "no contract")):
        done = invoke("check", path)
        assert done.exit_code == 1
        assert says in done.stdout
        assert "Traceback" not in done.output
    assert invoke("check").exit_code == 2


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "faq.yaml"
    path.write_text('agent: "a/\\e[31m"\n"\\e]0;x\\a": 1\n')
    done = invoke("check", path)
    assert done.exit_code == 1
    assert "\x1b" not in done.output
    assert "\\x1b" in done.output


def test_show_tells_a_contract_in_plain_words(folder: Path) -> None:
    done = invoke("contract", "show", folder / "faq.yaml")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Agent faq\n\nPurpose\n")
    for part in ("It asks openai:gpt-5.2.", "What it may spend", "One run: no limit.", "Tools"):
        assert part in done.stdout
    contract = as_json(invoke("contract", "show", folder / "faq.yaml", "--json"))
    assert contract["hash"] in done.stdout
    assert contract["contract"]["budgets"]["run"]["model_calls"] is None


def test_show_of_a_contract_that_is_wrong_tells_all_of_it_and_ends_with_2(folder: Path) -> None:
    (folder / "desk.yml").write_text(WRONG)
    done = invoke("contract", "show", folder / "desk.yml")
    assert done.exit_code == 2
    first, *rest = done.stderr.splitlines()
    assert first == "error [invalid_contract]: 2 things to change"
    assert [line.partition(": ")[0] for line in rest] == [
        f"{folder}/desk.yml:3:3",
        f"{folder}/desk.yml:4:20",
    ]
    assert "Traceback" not in done.output


def test_schema_prints_the_schema() -> None:
    assert as_json(invoke("contract", "schema")) == contract_schema()
