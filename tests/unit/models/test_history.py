"""What is kept of a conversation, and how it is summarised."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    InstructionDeltaPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolAvailabilityDeltaPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from interlock.models.history import (
    SUMMARY_LABEL,
    HistoryRules,
    estimated_tokens,
    needs_summary,
    summary_request,
    trim,
    with_summary,
)
from tests.support.conversations import conversations, orphans

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def asks(text: str, *before: Any, instructions: str | None = None) -> ModelRequest:
    return ModelRequest(
        parts=[*before, UserPromptPart(text, timestamp=NOON)], instructions=instructions
    )


def says(text: str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(text)])


def calls(*ids: str) -> ModelResponse:
    return ModelResponse(parts=[ToolCallPart("find", {"id": id}, tool_call_id=id) for id in ids])


def answers(*ids: str, also: Sequence[Any] = ()) -> ModelRequest:
    returns = [ToolReturnPart("find", f"found {id}", tool_call_id=id) for id in ids]
    return ModelRequest(parts=[*returns, *also])


def texts(messages: Sequence[ModelMessage]) -> list[str]:
    return [
        str(part.content)
        for message in messages
        for part in message.parts
        if isinstance(part, (UserPromptPart, TextPart, SystemPromptPart))
    ]


TALK: list[ModelMessage] = [
    asks("one", SystemPromptPart("be kind")),
    calls("a", "b"),
    answers("a", "b"),
    says("first"),
    asks("two"),
    says("second"),
    asks("three"),
    calls("c"),
    answers("c", also=[UserPromptPart("hurry up")]),
    says("third"),
]


def test_without_bounds_everything_is_kept() -> None:
    assert trim(TALK, HistoryRules()) == (tuple(TALK), ())


@pytest.mark.parametrize(
    ("keep", "kept"),
    [(10, 10), (9, 6), (6, 6), (5, 4), (4, 4), (1, 4)],
)
def test_whole_turns_are_kept_and_the_last_one_always(keep: int, kept: int) -> None:
    trimmed = trim(TALK, HistoryRules(keep_messages=keep))
    assert len(trimmed.kept) == kept
    assert trimmed.dropped == tuple(TALK[: len(TALK) - kept])
    assert texts(trimmed.kept)[0] == "be kind"


def test_tokens_are_counted_as_one_likes() -> None:
    rules = HistoryRules(keep_tokens=7, tokens=lambda _message: 1)
    assert len(trim(TALK, rules).kept) == 6


def test_what_operators_said_outlives_its_turn() -> None:
    talk: list[ModelMessage] = [
        asks(
            "one",
            SystemPromptPart("be kind"),
            SystemPromptPart("3 cents are left", scope="request"),
            instructions="answer in French",
        ),
        says("first"),
        asks(
            "two",
            InstructionDeltaPart(id=None, content="answer in Dutch"),
            ToolAvailabilityDeltaPart(tools_added=["pay"]),
        ),
        says("second"),
        asks("three"),
        says("third"),
    ]
    first = trim(talk, HistoryRules(keep_messages=2)).kept[0]
    assert isinstance(first, ModelRequest)
    assert [part.part_kind for part in first.parts] == [
        "system-prompt", "instruction-delta", "tool-availability-delta", "user-prompt",
    ]  # fmt: skip
    assert texts([first]) == ["be kind", "three"]
    assert first.instructions == "answer in French"


def test_the_given_messages_are_not_changed() -> None:
    before = texts(TALK)
    trim(TALK, HistoryRules(keep_messages=1))
    assert texts(TALK) == before


@pytest.mark.parametrize(
    "broken",
    [
        [answers("gone"), says("?")],
        [says("hello")],
        [],
    ],
)
def test_what_no_provider_accepts_is_dropped(broken: list[ModelMessage]) -> None:
    assert trim(broken, HistoryRules()) == ((), tuple(broken))


def test_a_history_that_begins_in_the_middle_is_cut_to_its_first_turn() -> None:
    assert trim([says("hello"), *TALK[4:]], HistoryRules()).kept == tuple(TALK[4:])
    assert trim([answers("gone"), says("?"), *TALK[4:]], HistoryRules()).kept == tuple(TALK[4:])


def test_an_answer_that_comes_late_keeps_its_call() -> None:
    """A deferred call is answered two turns later: all that lies between stays."""
    talk: list[ModelMessage] = [
        asks("zero"), says("yes"), asks("one"), calls("late"), asks("two"), says("wait"),
        answers("late"), says("done"), asks("three"), says("bye"),
    ]  # fmt: skip
    assert len(trim(talk, HistoryRules(keep_messages=7)).kept) == 2
    assert len(trim(talk[:-2], HistoryRules(keep_messages=2)).kept) == 6


def test_files_count_as_many_tokens_whatever_their_size() -> None:
    small = estimated_tokens(asks("abcd"))
    assert small == 1
    content: list[Any] = ["abcd", ImageUrl(url="https://example.com/a.png")]
    content.append(BinaryContent(data=b"0" * 1_000_000, media_type="image/png"))
    assert estimated_tokens(ModelRequest(parts=[UserPromptPart(content)])) == small + 2_000
    assert estimated_tokens(asks("é" * 4)) == 2


def test_a_bound_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="keep_messages=0"):
        HistoryRules(keep_messages=0)
    with pytest.raises(ValueError, match="keep_tokens=0"):
        HistoryRules(keep_tokens=0)


# Summaries.


def test_a_summary_is_asked_for_when_the_rules_want_one_and_something_was_dropped() -> None:
    wanted = HistoryRules(keep_messages=4, summarise=True)
    assert needs_summary(trim(TALK, wanted), wanted)
    assert not needs_summary(trim(TALK[4:], wanted), HistoryRules())
    assert not needs_summary(trim(TALK[6:], wanted), wanted)
    assert not needs_summary(trim(TALK, HistoryRules(keep_messages=4)), HistoryRules())


def test_the_request_for_a_summary_tells_who_said_what() -> None:
    prompt = summary_request(trim(TALK, HistoryRules(keep_messages=4)).dropped)
    told = prompt.partition("<conversation>\n")[2].splitlines()
    assert told == [
        "User: one",
        'Assistant calls find: {"id":"a"}',
        'Assistant calls find: {"id":"b"}',
        "find answers: found a",
        "find answers: found b",
        "Assistant: first",
        "User: two",
        "Assistant: second",
        "</conversation>",
    ]
    assert "never an instruction" in prompt


def test_a_long_piece_is_cut_and_says_so() -> None:
    assert "… (9,000 characters)" in summary_request([asks("x" * 9_000)])


def test_the_summary_is_one_labelled_part_behind_what_operators_said() -> None:
    kept = trim(TALK, HistoryRules(keep_messages=4)).kept
    told = with_summary(kept, " It began. ")
    assert texts(told)[:3] == ["be kind", f"{SUMMARY_LABEL}\nIt began.", "three"]
    assert told[1:] == kept[1:]
    assert with_summary(kept, "It began.") == told, "its time is no reading of a clock"


def test_a_summary_may_be_all_that_is_left() -> None:
    (only,) = with_summary((), "It began.")
    assert texts([only]) == [f"{SUMMARY_LABEL}\nIt began."]
    with pytest.raises(ValueError, match="begins with a request"):
        with_summary([says("hello")], "It began.")


def test_a_summary_that_is_dropped_later_is_summarised_again() -> None:
    told = with_summary(trim(TALK, HistoryRules(keep_messages=4)).kept, "It began.")
    again = trim([*told, asks("four"), says("fourth")], HistoryRules(keep_messages=2))
    assert f"{SUMMARY_LABEL}\nIt began." in summary_request(again.dropped)
    assert texts(again.kept) == ["be kind", "four", "fourth"]


# Laws.

rules = st.builds(
    HistoryRules,
    keep_messages=st.none() | st.integers(1, 30),
    keep_tokens=st.none() | st.integers(1, 300),
)


@given(conversations(), rules)
def test_trimming_again_changes_nothing(messages: list[ModelMessage], rules: HistoryRules) -> None:
    kept = trim(messages, rules).kept
    assert trim(kept, rules) == (kept, ())


@given(conversations(), rules)
def test_what_is_kept_is_a_history_that_a_provider_accepts(
    messages: list[ModelMessage], rules: HistoryRules
) -> None:
    kept, dropped = trim(messages, rules)
    assert isinstance(kept[0], ModelRequest)
    assert any(isinstance(part, UserPromptPart) for part in kept[0].parts)
    assert orphans(kept) == orphans(dropped) == []
    assert kept[1:] == tuple(messages[len(dropped) + 1 :])
    assert dropped == tuple(messages[: len(dropped)])


@given(conversations(), rules)
def test_no_more_is_dropped_than_the_bounds_ask_for(
    messages: list[ModelMessage], rules: HistoryRules
) -> None:
    def within(part: Sequence[ModelMessage]) -> bool:
        return (rules.keep_messages is None or len(part) <= rules.keep_messages) and (
            rules.keep_tokens is None or sum(map(estimated_tokens, part)) <= rules.keep_tokens
        )

    kept, dropped = trim(messages, rules)
    assert within(kept) or trim(kept, HistoryRules(keep_messages=1)).dropped == ()
    assert not dropped or not within(messages)


@given(conversations(), st.data())
def test_a_history_that_lost_its_beginning_has_no_orphan_either(
    messages: list[ModelMessage], data: st.DataObject
) -> None:
    rest = messages[data.draw(st.integers(0, len(messages))) :]
    assert orphans(trim(rest, HistoryRules()).kept) == []
