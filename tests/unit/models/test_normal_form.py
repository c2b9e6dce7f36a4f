"""The normal form of messages: blind for times and ids, and for nothing that a model is shown."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_ai.messages import (
    BinaryContent,
    CompactionPart,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from interlock.errors import NotRecordableError
from interlock.models.history import normalised, normalised_history
from tests.support.conversations import conversations, had_again


def request(*parts: Any, **more: Any) -> ModelRequest:
    return ModelRequest(parts=list(parts), **more)


def response(*parts: Any, **more: Any) -> ModelResponse:
    return ModelResponse(parts=list(parts), **more)


def answer(id: str, content: Any = "x") -> ToolReturnPart:
    return ToolReturnPart("find", content, tool_call_id=id)


def test_the_form_is_canonical_json() -> None:
    message = response(TextPart("é"), ToolCallPart("find", '{"b": 1.0, "a": "x"}'))
    assert normalised(message).decode() == (
        '{"kind":"response","parts":[{"content":"é","part_kind":"text"},'
        '{"args":{"a":"x","b":1},"call":0,"part_kind":"tool-call","tool_name":"find"}],'
        '"state":"complete"}'
    )


class Card(BaseModel):
    id: int
    note: str | None = None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ToolCallPart("find", '{"b": 2, "a": 1}'), ToolCallPart("find", {"a": 1, "b": 2})),
        (ToolCallPart("find", ""), ToolCallPart("find", {})),
        (ToolCallPart("find", None), ToolCallPart("find", "{}")),
        (TextPart("x", id="m1", provider_name="p"), TextPart("x")),
    ],
)
def test_the_same_part_in_two_ways(one: Any, other: Any) -> None:
    assert normalised(response(one)) == normalised(response(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (request(UserPromptPart("x")), request(UserPromptPart("y"))),
        (request(UserPromptPart("x")), request(SystemPromptPart("x"))),
        (request(UserPromptPart("x")), request(UserPromptPart("x"), instructions="be kind")),
        (request(UserPromptPart("x")), request(UserPromptPart(["x"]))),
        (request(UserPromptPart("x")), request(UserPromptPart("x"), UserPromptPart("x"))),
        (request(answer("1", "x")), request(answer("1", "y"))),
        (request(answer("1", {"a": None})), request(answer("1", {}))),
        (request(answer("1")), request(dataclasses.replace(answer("1"), outcome="denied"))),
        (response(TextPart("x")), response(ThinkingPart("x"))),
        (response(ThinkingPart("x")), response(ThinkingPart("x", signature="s"))),
        (response(ToolCallPart("find", {"a": 1})), response(ToolCallPart("find", {"a": True}))),
        (response(ToolCallPart("find", {"a": 1})), response(ToolCallPart("pay", {"a": 1}))),
        (response(ToolCallPart("find", "{broken")), response(ToolCallPart("find", "{}"))),
        (response(ToolCallPart("f", {"a": 2**60})), response(ToolCallPart("f", {"a": 2**60 + 1}))),
        (response(TextPart("x")), response(TextPart("x"), state="interrupted")),
        (
            response(CompactionPart(None, provider_name="p", provider_details={"sealed": "a"})),
            response(CompactionPart(None, provider_name="p", provider_details={"sealed": "b"})),
        ),
        (
            request(UserPromptPart([BinaryContent(data=b"a", media_type="image/png")])),
            request(UserPromptPart([BinaryContent(data=b"b", media_type="image/png")])),
        ),
    ],
)
def test_what_a_model_is_shown_makes_a_difference(one: ModelMessage, other: ModelMessage) -> None:
    assert normalised(one) != normalised(other)


def test_answers_that_changed_places_are_told_apart() -> None:
    asked = response(ToolCallPart("f", tool_call_id="1"), ToolCallPart("f", tool_call_id="2"))
    straight, crossed = request(answer("1"), answer("2")), request(answer("2"), answer("1"))
    assert normalised(straight, asked) != normalised(crossed, asked)
    assert normalised_history([asked, straight])[1] == normalised(straight, asked)
    assert normalised_history([]) == ()


def test_a_set_in_an_answer_has_no_order() -> None:
    """Its own order is that of the process's hashes."""
    program = (
        "import sys; from pydantic_ai.messages import *; from interlock.models import history;"
        "part = ToolReturnPart('f', {'s': {'a', 'b', 'c', 'd', 'e'}}, tool_call_id='1');"
        "sys.stdout.buffer.write(history.normalised(ModelRequest(parts=[part])))"
    )
    forms = {
        subprocess.check_output(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}
        )
        for seed in ("1", "2", "3")
    }
    assert len(forms) == 1
    assert b'["a","b","c","d","e"]' in forms.pop()


def test_an_object_in_an_answer_is_told_as_it_is_read_back() -> None:
    card = request(answer("1", Card(id=1)))
    (read,) = ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json([card]))
    assert normalised(card) == normalised(read)


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(NotRecordableError, match="conversation"):
        normalised(request(answer("1", object())))


# Laws.


@given(conversations(), st.text(min_size=1, max_size=5))
def test_the_same_conversation_at_another_time_has_the_same_form(
    messages: list[ModelMessage], salt: str
) -> None:
    again = had_again(messages, salt)
    assert normalised_history(messages) == normalised_history(again)
    assert list(map(normalised, messages)) == list(map(normalised, again))


@given(conversations())
def test_a_conversation_that_was_written_and_read_back_has_the_same_form(
    messages: list[ModelMessage],
) -> None:
    read = ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(messages))
    assert normalised_history(messages) == normalised_history(read)


@given(conversations(), st.data())
def test_any_change_of_what_is_said_changes_the_form(
    messages: list[ModelMessage], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(messages) - 1))
    parts = list(messages[place].parts)
    number = data.draw(st.integers(0, len(parts) - 1))
    parts[number] = _changed(parts[number])
    changed: list[Any] = list(messages)
    changed[place] = dataclasses.replace(messages[place], parts=parts)
    before, after = normalised_history(messages), normalised_history(changed)
    assert [one != other for one, other in zip(before, after, strict=True)] == [
        each == place for each in range(len(messages))
    ]


def _changed(part: Any) -> Any:
    if isinstance(part, ToolCallPart):
        return dataclasses.replace(part, args={**part.args_as_dict(), "changed here": 1})
    if isinstance(part, ToolReturnPart):
        return dataclasses.replace(part, content=[part.content, "changed"])
    return dataclasses.replace(part, content=f"{part.content} changed")


@given(conversations())
def test_the_form_is_the_one_that_rfc_8785_writes(messages: Sequence[ModelMessage]) -> None:
    for form in normalised_history(messages):
        value = json.loads(form)
        with contextlib.suppress(rfc8785.CanonicalizationError):  # It has no form for some numbers.
            assert rfc8785.dumps(value) == form
