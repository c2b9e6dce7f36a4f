"""Policies as they decide: what Cedar says, and what we refuse before it is asked."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import EffectKey
from interlock.errors import PolicyError
from interlock.tools.policy import Decision, Policies, Question, cedar, load_policies
from interlock.tools.terms import Standing
from interlock.tools.tool import Tool, declare_tool


def refund(ticket: str, account: str, cents: int, key: EffectKey) -> str:
    return f"{ticket}{account}{cents}{key}"


def look(customer: str | None = None) -> str:
    return customer or ""


TOOLS: list[Tool[..., Any]] = [
    declare_tool(
        refund,
        effect="irreversible",
        recovery="key",
        standing=Standing(amount="cents", resource=("ticket",)),
    ),
    declare_tool(look, effect="read"),
]


def policies_of(folder: Path, text: str) -> Policies:
    (folder / "a.cedar").write_text(text)
    return load_policies(folder, TOOLS, ["payer", "other"], {"own": "write"})


def ask(policies: Policies, cents: int = 100, **more: Any) -> Decision:
    arguments = {"ticket": "7", "account": "DE1", "cents": cents}
    given: dict[str, Any] = {"agent": "payer", "tool": "refund", "arguments": arguments, **more}
    return policies.decide(Question(**given))


@pytest.mark.parametrize("group", ["any write", "anything irreversible"])
@pytest.mark.parametrize(
    "forbid",
    [
        '(principal, action in Action::"{}", resource)',
        '(principal, action, resource) when {{ action in Action::"{}" }}',
    ],
)
def test_a_group_holds_in_a_scope_and_in_a_condition(
    tmp_path: Path, group: str, forbid: str
) -> None:
    text = '@id("all") permit (principal, action, resource);\n'
    decided = ask(policies_of(tmp_path, f'{text}@id("no") forbid {forbid.format(group)};'))
    assert (decided.verdict, decided.policies) == ("deny", ("no",))


def test_a_group_is_no_action_itself(tmp_path: Path) -> None:
    text = '@id("all") permit (principal, action, resource);\n'
    text += '@id("no") forbid (principal, action == Action::"any write", resource);'
    with pytest.raises(PolicyError, match=r"a\.cedar:2: policy 'no'"):
        policies_of(tmp_path, text)


def test_a_policy_that_cannot_be_evaluated_is_a_no(tmp_path: Path) -> None:
    """Cedar leaves such a forbid out, and would allow."""
    text = '@id("all") permit (principal, action, resource);\n'
    text += '@id("no") forbid (principal, action == Action::"refund", resource) '
    text += "when { context.amount * 9223372036854775807 > 1 };"
    decided = ask(policies_of(tmp_path, text))
    assert decided.verdict == "deny"
    assert "could not be evaluated" in decided.reason


def test_an_approval_counts_only_where_nothing_else_permits(tmp_path: Path) -> None:
    text = '@id("asks") @approval("boss") permit (principal, action, resource);\n'
    text += '@id("small") permit (principal, action == Action::"refund", resource) '
    text += "when { context.amount < 50 };"
    policies = policies_of(tmp_path, text)
    assert ask(policies, 49).verdict == "allow"
    assert (ask(policies, 50).verdict, ask(policies, 50).policies) == ("ask", ("asks",))


def test_of_several_approvals_the_first_in_the_files_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "0.cedar").write_text(
        '@id("z") @approval("first") permit (principal, action, resource);'
    )
    text = '@id("a") @approval("second") permit (principal, action, resource);'
    asked = ask(policies_of(tmp_path, text)).ask
    assert asked is not None
    assert asked.role == "first"


def test_a_policy_that_is_only_logged_decides_nothing(tmp_path: Path) -> None:
    text = '@id("all") permit (principal, action, resource);\n'
    text += '@id("try") @log_only forbid (principal, action, resource);'
    decided = ask(policies_of(tmp_path, text))
    assert (decided.verdict, decided.would) == ("allow", (("try", "deny"),))


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        ('@id("x") @approval permit (principal, action, resource);', "names no role"),
        ('@id("x") @approval("") permit (principal, action, resource);', "names no role"),
        ('@id("x") @approval("r") @within permit (principal, action, resource);', "is no span"),
        ('@id("x") @approval("r") @within("3w") permit (principal, action, resource);', "no span"),
        ('@id("x") @within("3d") permit (principal, action, resource);', "belongs to @approval"),
        ('@id("x") @approval("r") forbid (principal, action, resource);', "nobody can approve"),
        ("@id permit (principal, action, resource);", 'no @id("…")'),
        ('@id("x") @aproval("r") permit (principal, action, resource);', "@aproval is unknown"),
        ('@id("x") permit (principal == ?principal, action, resource);', "a template"),
        ('@id("x") permit (principal, action, resource);;', "ends no policy"),
        ('@id("x") permit (principal, action, resource)', "no ';' ends"),
        (
            '@id("x") permit(principal, action == Action::"own", resource) when {context.args.t};',
            "`args.t`",
        ),
        (
            '@id("x") @approval("r") permit (principal, action == Action::"look", resource);',
            "which only reads",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, policy: str, complaint: str) -> None:
    with pytest.raises(PolicyError) as wrong:
        policies_of(tmp_path, f'// a "comment"; with signs\n\n{policy}')
    assert str(wrong.value).startswith("a.cedar:3: ")
    assert complaint in str(wrong.value)


SMALL = '@id("small") permit (principal, action == Action::"refund", resource) when '
SMALL += '{ context.amount <= 5000 && context.args.account != "blocked" };'


@given(
    cents=st.integers(),
    account=st.one_of(st.just("blocked"), st.text()),
    agent=st.text(),
)
def test_the_law_of_the_small_refund(
    tmp_path_factory: pytest.TempPathFactory, cents: int, account: str, agent: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "law"
    folder.mkdir(exist_ok=True)
    policies = policies_of(folder, SMALL)
    arguments = {"ticket": "7", "account": account, "cents": cents}
    decided = policies.decide(Question(agent=agent, tool="refund", arguments=arguments))
    fits = -(2**63) < cents <= 5000 and account != "blocked"
    assert decided.verdict == ("allow" if fits else "deny")


PRINCIPALS = st.sampled_from(
    [
        "principal",
        'principal == Agent::"payer"',
        'principal in Agent::"payer"',
        "principal is Agent",
        'principal is Agent in Agent::"other"',
        'principal == Agent::"other"',
    ]
)
ACTIONS = st.sampled_from(
    [
        "action",
        'action == Action::"refund"',
        'action in Action::"any write"',
        'action in [Action::"refund", Action::"look"]',
        'action in Action::"any read"',
    ]
)
CONDITIONS = st.sampled_from(
    [
        "",
        'when { context.tenant == "north" }',
        'when { principal == Agent::"other" }',
        'unless { action in Action::"anything irreversible" }',
        # Fails where the hour is late enough.
        "when { context.hour * 9223372036854775807 > 1 }",
    ]
)
SCOPED = st.tuples(st.sampled_from(["permit", "forbid"]), PRINCIPALS, ACTIONS, CONDITIONS)


@given(
    st.lists(SCOPED, min_size=1, max_size=8),
    st.sampled_from(["payer", "other", "third"]),
    st.sampled_from(["refund", "look"]),
    st.sampled_from(["north", "south"]),
    st.integers(0, 3),
)
def test_leaving_policies_out_by_tool_and_agent_changes_no_decision(
    tmp_path_factory: pytest.TempPathFactory,
    rules: list[tuple[str, str, str, str]],
    agent: str,
    tool: str,
    tenant: str,
    hour: int,
) -> None:
    text = "\n".join(
        f'@id("p{number}") {effect} ({principal}, {action}, resource) {condition};'
        for number, (effect, principal, action, condition) in enumerate(rules)
    )
    policies = policies_of(tmp_path_factory.mktemp("policies"), text)
    arguments = {"refund": {"ticket": "7", "account": "DE1", "cents": 5}, "look": {}}[tool]
    question = Question(agent=agent, tool=tool, arguments=arguments, tenant=tenant, hour=hour)
    decided = policies.decide(question)

    request: dict[str, Any] = {
        "principal": {"type": "Agent", "id": agent},
        "action": {"type": "Action", "id": tool},
        "resource": {"type": "Thing", "id": arguments.get("ticket", "look")},
        "context": {
            "args": arguments,
            "tenant": tenant,
            "ungrounded": list[str](),
            "hour": hour,
            "weekday": 1,
        },
    }
    if tool == "refund":
        request["context"]["amount"] = 5
    groups = {"refund": ["any write", "anything irreversible"], "look": ["any read"]}[tool]
    every = cedar.policy_set({each.id: each.parsed for each in policies.statements})
    whole = cedar.decide(request, every, cedar.entities(tool, groups))
    if whole.errors:
        assert decided.verdict == "deny"
        assert "could not be evaluated" in decided.reason
        return
    assert (decided.verdict == "allow") == whole.allowed
    assert sorted(decided.policies) == sorted(whole.reasons)


def test_an_agent_that_is_named_by_its_type_too_must_exist(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no agent of the application"):
        policies_of(
            tmp_path, '@id("a") permit (principal is Agent in Agent::"payre", action, resource);'
        )


KNOWN = ("amount", "hour", "weekday", "tenant", "ungrounded", "args")


@given(st.from_regex(r"[a-z]{1,12}", fullmatch=True).filter(lambda name: name not in KNOWN))
def test_no_attribute_but_those_there_are_is_let_through(name: str) -> None:
    text = f'permit (principal, action == Action::"refund", resource) when {{context.{name} == 1}};'
    with TemporaryDirectory() as folder, pytest.raises(PolicyError) as wrong:
        policies_of(Path(folder), f'@id("typo") {text}')
    assert wrong.value.message.startswith("a.cedar:1: policy 'typo': ")


@given(st.integers(0, len("amount") - 2))
def test_two_letters_exchanged_are_seen_as_what_was_meant(at: int) -> None:
    name = "amount"[:at] + "amount"[at + 1] + "amount"[at] + "amount"[at + 2 :]
    text = f'permit (principal, action == Action::"refund", resource) when {{context.{name} == 1}};'
    with TemporaryDirectory() as folder, pytest.raises(PolicyError, match="mean `amount`"):
        policies_of(Path(folder), f'@id("typo") {text}')


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("context has amonut", "`context has amonut` is never true"),
        ("context has amonut", "did you mean `amount`?"),
        ('context.args has acount && context.args.account == "x"', "mean `args.account`?"),
        ("!(context has args.tickte)", "mean `args.ticket`?"),
        ("context.hour > 3 || (context has wekday)", "mean `weekday`?"),
    ],
)
def test_a_forbid_cannot_be_misspelt_into_nothing(
    tmp_path: Path, condition: str, told: str
) -> None:
    """Cedar takes `has` of a name that is not there for false, so it would never forbid."""
    text = (
        f'@id("no") forbid (principal, action == Action::"refund", resource) when {{{condition}}};'
    )
    with pytest.raises(PolicyError) as wrong:
        policies_of(tmp_path, text)
    assert wrong.value.message.startswith("a.cedar:1: policy 'no': ")
    assert told in wrong.value.message


def test_what_some_of_the_calls_have_may_be_asked_for(tmp_path: Path) -> None:
    everything = '@id("all") permit (principal, action, resource);\n'
    large = (
        '@id("no") forbid (principal, action, resource) '
        "when { context has amount && context.amount > 100 };"
    )
    found = policies_of(tmp_path, everything + large)
    assert ask(found, 101).policies == ("no",)
    assert ask(found, 100).verdict == "allow"
