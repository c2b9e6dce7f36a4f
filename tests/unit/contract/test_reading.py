"""Every mistake in a contract is told with its line and column, and all of them at once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.contract import (
    Contract,
    Finding,
    Place,
    examine,
    load_contract,
    load_contracts,
    parse_contract,
)
from interlock.contract.tree import MAX_CHARACTERS, MAX_DEPTH
from interlock.errors import ContractError, UsageError
from tests.support.contracts import contracts, yaml_of

FAQ = """\
agent: faq
model:
  name: openai:gpt-5.2
  fallbacks: [anthropic:claude-sonnet-5]
  timeout_seconds: 12.5
  settings: {temperature: 0, logit_bias: {50256: -100}}
prices:
  openai:gpt-5.2: {input_usd_per_million: 1.25, output_usd_per_million: 10}
budgets:
  run: {usd: 0.50, tokens: null, seconds: 300}
tools:
  get_weather: {effect: read}
  send_mail: {effect: write, recovery: never, timeout_seconds: 30}
  ask_expert: {effect: delegate}
"""


def found_in(text: str) -> list[tuple[int, int, str, str]]:
    """Line, column, field and code of every finding."""
    findings = examine(text).findings
    places = [each.place or Place(0, 0) for each in findings]
    return [
        (place.line, place.column, each.field, each.code)
        for place, each in zip(places, findings, strict=True)
    ]


def the_finding(text: str) -> Finding:
    """The only finding."""
    (finding,) = examine(text).findings
    return finding


def test_a_contract_is_read_exactly() -> None:
    contract = parse_contract(FAQ)
    assert contract.agent == "faq"
    assert contract.model.names() == ("openai:gpt-5.2", "anthropic:claude-sonnet-5")
    assert contract.model.timeout_seconds == 12.5
    assert contract.model.settings == {"temperature": 0, "logit_bias": {"50256": -100}}
    assert str(contract.budgets.run.usd) == "0.5"
    assert contract.prices["openai:gpt-5.2"].input_usd_per_million == Decimal("1.25")
    assert (contract.budgets.run.tokens, contract.budgets.run.seconds) == (None, 300)
    assert contract.tools["send_mail"].recovery == "never"


def test_what_is_left_out_has_its_default() -> None:
    assert parse_contract("agent: faq") == Contract(agent="faq")


@pytest.mark.parametrize(
    ("text", "line", "column", "field", "code"),
    [
        # Not there, or there twice.
        ("model: {}", 1, 1, "agent", "missing_field"),
        ("agent: a\ntools:\n  mail: {}", 3, 3, "tools.mail.effect", "missing_field"),
        ("agent: a\nmodle: {}", 2, 1, "modle", "unknown_field"),
        ("agent: a\nmodel:\n  atempts: 1", 3, 3, "model.atempts", "unknown_field"),
        ("agent: a\nmodel: {<<: 1}", 2, 9, 'model["<<"]', "unknown_field"),
        ("agent: a\nagent: b", 2, 1, "agent", "duplicate_field"),
        ("agent: a\nloops: {same_call: 3, 'same_call': 4}", 2, 23, "loops.same_call",
         "duplicate_field"),
        # Values of another type.
        ("agent: 5", 1, 8, "agent", "wrong_value"),
        ("agent:", 1, 1, "agent", "wrong_value"),
        ("agent: [a]", 1, 8, "agent", "wrong_value"),
        ("agent: a\nmodel:", 2, 1, "model", "wrong_value"),
        ("agent: a\nmodel: []", 2, 8, "model", "wrong_value"),
        ("agent: a\nmodel: {attempts: three}", 2, 19, "model.attempts", "wrong_value"),
        ("agent: a\nmodel: {attempts: '3'}", 2, 19, "model.attempts", "wrong_value"),
        ("agent: a\nmodel: {attempts: 3.0}", 2, 19, "model.attempts", "wrong_value"),
        ("agent: a\nmodel: {attempts: true}", 2, 19, "model.attempts", "wrong_value"),
        ("agent: a\nmodel: {fallbacks: b, name: a}", 2, 20, "model.fallbacks", "wrong_value"),
        ("agent: a\nconversation: {summarise: yes}", 2, 27, "conversation.summarise",
         "wrong_value"),
        # Values out of bounds.
        ("agent: a/b", 1, 8, "agent", "wrong_value"),
        ('agent: "a\\nb"', 1, 8, "agent", "wrong_value"),
        ("agent: a\nmodel: {name: my model}", 2, 15, "model.name", "wrong_value"),
        ("agent: a\nmodel: {attempts: 0}", 2, 19, "model.attempts", "wrong_value"),
        ("agent: a\nmodel: {tokens_per_byte: 1.01}", 2, 26, "model.tokens_per_byte",
         "wrong_value"),
        ("agent: a\nmodel: {timeout_seconds: 3600.5}", 2, 26, "model.timeout_seconds",
         "wrong_value"),
        ("agent: a\nmodel: {name: b, fallbacks: [c, 5]}", 2, 33, "model.fallbacks[1]",
         "wrong_value"),
        ("agent: a\nmodel: {settings: {x: 1e400}}", 2, 23, "model.settings.x", "conflict"),
        ("agent: a\nmodel: {settings: {x: [9007199254740992]}}", 2, 24, "model.settings.x[0]",
         "conflict"),
        ("agent: a\nbudgets: {run: {usd: -1}}", 2, 22, "budgets.run.usd", "wrong_value"),
        ("agent: a\nbudgets: {run: {usd: 0.0000001}}", 2, 22, "budgets.run.usd", "wrong_value"),
        ("agent: a\nbudgets: {run: {usd: '1'}}", 2, 22, "budgets.run.usd", "wrong_value"),
        ("agent: a\nbudgets: {run: {usd: 1e99}}", 2, 22, "budgets.run.usd", "wrong_value"),
        ("agent: a\nbudgets: {run: {tokens: 1_000}}", 2, 25, "budgets.run.tokens", "wrong_value"),
        ("agent: a\ntools: {a: {effect: buy}}", 2, 21, "tools.a.effect", "wrong_value"),
        ("agent: a\ntools: {'a b': {effect: read}}", 2, 9, 'tools["a b"]', "wrong_value"),
        ("agent: a\nproviders: {'a:b': {}}", 2, 13, 'providers["a:b"]', "wrong_value"),
        # Numbers that nothing can hold.
        ("agent: a\nbudgets: {run: {usd: .inf}}", 2, 22, "budgets.run.usd", "wrong_value"),
        ("agent: a\nbudgets: {run: {usd: .nan}}", 2, 22, "budgets.run.usd", "wrong_value"),
        (f"agent: a\nbudgets: {{run: {{usd: {'9' * 5000}}}}}", 2, 22, "budgets.run.usd",
         "wrong_value"),
        (f"agent: a\nbudgets: {{run: {{usd: 1e{'9' * 30}}}}}", 2, 22, "budgets.run.usd",
         "wrong_value"),
        # Fields that do not go together.
        ("agent: a\nmodel: {fallbacks: [b]}", 2, 20, "model.fallbacks", "conflict"),
        ("agent: a\nmodel: {name: b, fallbacks: [c, b]}", 2, 33, "model.fallbacks[1]", "conflict"),
        ("agent: a\nmodel: {name: b, fallbacks: [c, c]}", 2, 33, "model.fallbacks[1]", "conflict"),
        ("agent: a\nmodel: {settings: {max_tokens: 1}}", 2, 32, "model.settings.max_tokens",
         "conflict"),
        ("agent: a\nmodel: {settings: {timeout: 1}}", 2, 29, "model.settings.timeout", "conflict"),
        ("agent: a\ntools:\n  b: {effect: write}", 3, 3, "tools.b.recovery", "conflict"),
        ("agent: a\ntools: {b: {effect: read, recovery: never}}", 2, 37, "tools.b.recovery",
         "conflict"),
        ("agent: a\ntools: {b: {effect: delegate, recovery: never}}", 2, 41, "tools.b.recovery",
         "conflict"),
        ("agent: a\ntools: {b: {effect: delegate, timeout_seconds: 1}}", 2, 48,
         "tools.b.timeout_seconds", "conflict"),
        # YAML that contracts do without.
        ("agent: &x a", 1, 8, "agent", "not_used"),
        ("agent: *x", 1, 8, "agent", "not_used"),
        ("agent: !!str a", 1, 8, "agent", "not_used"),
        ("agent: !!python/name:os.system x", 1, 8, "agent", "not_used"),
        ("%YAML 1.1\n---\nagent: a", 2, 1, "", "not_used"),
        ("agent: a\n---\nagent: b", 2, 1, "", "not_used"),
        ("agent: a\n*x : 1", 2, 1, "", "wrong_value"),
        ("agent: a\n? [x]\n: 1", 2, 3, "", "wrong_value"),
        ('agent: "a\\ud800"', 1, 8, "agent", "wrong_value"),
        # Not YAML, or not a contract.
        ("", 1, 1, "", "missing_field"),
        ("# nothing\n", 1, 1, "", "missing_field"),
        ("- agent: a", 1, 1, "", "wrong_value"),
        ("agent", 1, 1, "", "wrong_value"),
        ("agent: a\nmodel: {name: b", 2, 16, "", "not_yaml"),
        ("agent: a\n\tmodel: {}", 2, 1, "", "not_yaml"),
        ("agent: a: b", 1, 9, "", "not_yaml"),
        ("agent: a\nmodel: \x07", 2, 8, "", "not_yaml"),
        ('agent: "\\UFFFFFFFF"', 1, 1, "", "not_yaml"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_is(
    text: str, line: int, column: int, field: str, code: str
) -> None:
    assert found_in(text) == [(line, column, field, code)]
    with pytest.raises(ContractError) as raised:
        parse_contract(text, file="faq.yaml")
    assert raised.value.message.startswith(f"faq.yaml:{line}:{column}: ")


def test_all_mistakes_are_told_at_once_and_in_order() -> None:
    text = "tools: {b: {effect: write}}\nmodel:\n  attempts: x\n  attempts: y\nbudgets: *all\n"
    assert found_in(text) == [
        (1, 1, "agent", "missing_field"),
        (1, 9, "tools.b.recovery", "conflict"),
        (3, 13, "model.attempts", "wrong_value"),
        (4, 3, "model.attempts", "duplicate_field"),
        (5, 10, "budgets", "not_used"),
    ]
    with pytest.raises(ContractError) as raised:
        parse_contract(text)
    assert len(raised.value.message.splitlines()) == 6
    assert raised.value.message.startswith("5 things to change\n<text>:1:1: agent: ")


def test_an_error_says_what_was_found_and_what_is_allowed_in_words_and_in_fields() -> None:
    with pytest.raises(ContractError) as raised:
        parse_contract("agent: a\nmodel: {attempts: three}", file="faq.yaml")
    error = raised.value
    assert isinstance(error, UsageError)
    assert error.code == "invalid_contract"
    assert error.message == (
        "faq.yaml:2:19: model.attempts: found the text 'three'; "
        "allowed: a whole number from 1 to 10"
    )
    assert error.fields["findings"] == [
        {
            "severity": "error",
            "code": "wrong_value",
            "file": "faq.yaml",
            "line": 2,
            "column": 19,
            "field": "model.attempts",
            "problem": "found the text 'three'",
            "found": "the text 'three'",
            "allowed": "a whole number from 1 to 10",
            "suggestions": [],
        }
    ]


@pytest.mark.parametrize(
    ("text", "suggestions", "allowed"),
    [
        ("agent: a\nmodle: 1", ("model",), "agent, autonomy"),
        ("agent: a\nAgent: 1", ("agent",), "agent, autonomy"),
        ("agent: a\nloops: {samecall: 3}", ("same_call",), "cycle_repeats, requests, same_call"),
        ("agent: a\ntools: {b: {effect: read, timeout: 3}}", ("timeout_seconds",), "effect"),
        (
            "agent: a\nmax_output_tokens: 3",
            ("model.max_output_tokens",),
            "agent, autonomy",
        ),
        (
            "agent: a\nattempts: 3",
            ("model.attempts", "output.attempts"),
            "agent, autonomy",
        ),
        ("agent: a\nxyz: 3", (), "agent, autonomy"),
        (f"agent: a\n{'model' * 100}: 3", (), "agent, autonomy"),
    ],
)
def test_an_unknown_field_gets_a_suggestion_and_the_names_there_are(
    text: str, suggestions: tuple[str, ...], allowed: str
) -> None:
    finding = the_finding(text)
    assert finding.suggestions == suggestions
    assert finding.allowed is not None
    assert finding.allowed.startswith(allowed)
    assert ("did you mean" in finding.sentence()) == bool(suggestions)


def test_what_a_file_says_cannot_blow_up_a_message() -> None:
    finding = the_finding(f"agent: 'a/{'x' * 10_000}'")
    assert len(finding.sentence()) < 300
    many = "agent: a\n" + "".join(f"x{number}: 1\n" for number in range(300))
    with pytest.raises(ContractError) as raised:
        parse_contract(many)
    assert "and 200 more" in raised.value.message.splitlines()[-1]
    assert len(raised.value.fields["findings"]) == 300


def test_size_and_depth_are_bounded() -> None:
    assert the_finding("#" * (MAX_CHARACTERS + 1)).code == "too_large"
    assert examine("agent: a\n#" + "x" * (MAX_CHARACTERS - 10)).contract is not None
    deepest = "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2)
    assert examine(f"agent: a\nmodel: {{settings: {{x: {deepest}}}}}").contract is not None
    for opening in ("[", "{a: ", "- ", "? "):
        assert [each.code for each in examine(opening * 10_000).findings][-1] == "too_deep"
    assert the_finding(f"agent: a\nmodel: {{settings: {{x: [[{deepest}]]}}}}").code == "too_deep"


def test_a_billion_laughs_are_refused() -> None:
    lines = ["agent: a", "a: &a [x, x]"]
    lines += [
        f"{name}: &{name} [*{before}, *{before}]"
        for before, name in zip("abcd", "bcde", strict=False)
    ]
    findings = examine("\n".join(lines)).findings
    assert {each.code for each in findings} == {"not_used"}
    assert len(findings) == 13


# Files.


def test_a_file_is_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "faq.yaml"
    path.write_bytes("\ufeffagent: größe\r\nmodel: {attempts: 2}\r\n".encode())
    contract = load_contract(path)
    assert (contract.agent, contract.model.attempts) == ("größe", 2)
    assert load_contract(str(path)) == contract


def test_a_file_that_cannot_be_read_is_a_contract_error(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(ContractError) as raised:
            load_contract(path)
        (finding,) = raised.value.fields["findings"]
        assert (finding["code"], finding["file"], finding["line"]) == (
            "unreadable",
            str(path),
            None,
        )
        assert raised.value.message.startswith(f"{path}: it cannot be read: ")


def test_a_file_that_is_not_utf8_is_told_where(tmp_path: Path) -> None:
    path = tmp_path / "faq.yaml"
    path.write_bytes("agent: a\npurpose: grö".encode() + b"\xdfe\n")
    with pytest.raises(ContractError) as raised:
        load_contract(path)
    assert raised.value.message.startswith(f"{path}:2:13: byte 0xdf is no UTF-8")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as stream:
        stream.truncate(10_000_000_000)
    with pytest.raises(ContractError, match="characters"):
        load_contract(path)


def test_a_folder_is_read_by_agent(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("agent: one")
    (tmp_path / "a.yml").write_text("agent: two")
    (tmp_path / ".hidden.yaml").write_text("nonsense")
    (tmp_path / "notes.txt").write_text("nonsense")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "c.yaml").write_text("nonsense")
    assert list(load_contracts(tmp_path).items()) == [
        ("two", Contract(agent="two")),
        ("one", Contract(agent="one")),
    ]


def test_two_files_for_one_agent_are_an_error_that_names_both(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("agent: faq")
    (tmp_path / "b.yaml").write_text("purpose: x\nagent: faq")
    with pytest.raises(ContractError) as raised:
        load_contracts(tmp_path)
    assert raised.value.message.startswith(
        f"{tmp_path}/b.yaml:2:8: agent: {tmp_path}/a.yaml is a contract of agent 'faq' too; "
    )


def test_the_mistakes_of_all_files_of_a_folder_are_told_and_warnings_are_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.yaml").write_text("agent: 1")
    (tmp_path / "b.yaml").write_text("agent: b\nbudgets: {run: {tokens: 5}}")
    (tmp_path / "c.yaml").write_text("agent: c\nx: 1")
    with pytest.raises(ContractError) as raised:
        load_contracts(tmp_path)
    told = [finding["file"] for finding in raised.value.fields["findings"]]
    assert told == [f"{tmp_path}/a.yaml", f"{tmp_path}/c.yaml"]
    with pytest.raises(ContractError, match="folder cannot be read"):
        load_contracts(tmp_path / "absent")


# Laws.


@given(contract=contracts())
def test_a_contract_written_as_yaml_reads_back_as_the_same(contract: Contract) -> None:
    again = parse_contract(yaml_of(contract))
    assert again == contract
    assert again.hash == contract.hash


ALPHABET = "agentmodl:{}[]&*!|>-?'\"\\#%@`, \n\t\r0123456789.~e\u2028\ufeff\x00\x85\ud800é"


@given(text=st.text() | st.text(ALPHABET, max_size=60))
@example("agent: \ud800")
@example("%YAML 9.9\n---\nagent: a")
@example('? "\\UFFFFFFFF"')
def test_no_text_raises_anything_but_a_contract_error(text: str) -> None:
    try:
        contract = parse_contract(text)
    except ContractError as error:
        findings = error.fields["findings"]
        assert findings
        lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + 2
        assert all(finding["line"] is None or 1 <= finding["line"] <= lines for finding in findings)
        error.message.encode()
    else:
        assert contract.hash


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A contract's text with a piece replaced."""
    start = draw(st.integers(0, len(FAQ)))
    piece = draw(st.text(ALPHABET, max_size=6))
    return FAQ[:start] + piece + FAQ[start + draw(st.integers(0, 6)) :]


@given(text=damaged())
def test_a_damaged_contract_is_read_or_explained(text: str) -> None:
    examined = examine(text)
    errors = [each for each in examined.findings if each.severity == "error"]
    assert (examined.contract is None) == bool(errors)
    assert all(each.place for each in errors)
