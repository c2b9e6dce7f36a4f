"""A tool's declaration says how it recovers; its arguments are checked by their types."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from interlock import EffectKey, NotMadeError
from interlock.errors import DeclarationError, InvalidInputError
from interlock.tools.tool import declare_tool
from tests.support.local import app_in


class Address(BaseModel):
    street: str
    number: int


async def send(to: Address, text: str = "hello", *, key: EffectKey) -> str:
    return f"{to.street} {text} {key}"


async def plain(text: str) -> None: ...


async def find(text: str) -> None: ...


async def find_other(title: str, *, key: EffectKey) -> None: ...


async def find_any(**given: Any) -> None: ...


async def find_nothing(*, effect: EffectKey) -> None: ...


@pytest.mark.parametrize(
    ("function", "how", "message"),
    [
        (plain, {"effect": "write"}, "recovery=None.*'key'.*'lookup'.*'repeatable'.*'never'"),
        (plain, {"effect": "write", "recovery": "sometimes"}, "recovery='sometimes'"),
        (plain, {"effect": "write", "recovery": "key"}, "EffectKey"),
        (plain, {"effect": "write", "recovery": "lookup"}, "lookup=… go together"),
        (plain, {"effect": "write", "recovery": "never", "lookup": find}, "go together"),
        (plain, {"effect": "read", "recovery": "never"}, "only reads"),
        (plain, {"effect": "delete"}, "effect='delete'; allowed: read, write"),
        (plain, {"effect": "read", "attempts": 0}, "attempts=0"),
        (plain, {"effect": "read", "timeout": timedelta(0)}, "timeout=0:00:00"),
        (plain, {"effect": "read", "settle": timedelta(seconds=-1)}, "cannot be negative"),
        (plain, {"effect": "read", "pause": timedelta(seconds=-1)}, "cannot be negative"),
        (
            plain,
            {"effect": "write", "recovery": "lookup", "lookup": find_other},
            "does not take 'text' and needs 'title'",
        ),
        (
            plain,
            {"effect": "write", "recovery": "lookup", "lookup": find_nothing},
            "does not take 'text'",
        ),
    ],
)
def test_declarations_that_cannot_work_are_refused(
    function: Any, how: dict[str, Any], message: str
) -> None:
    with pytest.raises(DeclarationError, match=message) as caught:
        declare_tool(function, **how)
    assert "'plain'" in str(caught.value)


@pytest.mark.parametrize("lookup", [find, find_any])
def test_a_lookup_takes_what_the_tool_takes(lookup: Any) -> None:
    tool = declare_tool(plain, effect="write", recovery="lookup", lookup=lookup)
    assert tool.lookup is lookup


def test_parameters_are_named() -> None:
    async def many(*texts: str) -> None: ...

    async def any_kind(**texts: str) -> None: ...

    functions: list[Any] = [many, any_kind]
    for function in functions:
        with pytest.raises(DeclarationError, match=r"\*texts"):
            declare_tool(function, effect="read")


def test_a_name_is_used_once(tmp_path: Any) -> None:
    app = app_in(tmp_path)
    app.tool(effect="read")(plain)
    with pytest.raises(DeclarationError, match="'plain' is declared twice"):
        app.tool("plain", effect="read")(find)


def test_arguments_are_bound_by_their_types_and_defaults() -> None:
    tool = declare_tool(send, effect="write", recovery="key")
    values = tool.bind(({"street": "Main", "number": "7"},), {})
    assert values == {"to": Address(street="Main", number=7), "text": "hello"}
    assert tool.bind((), {"to": Address(street="a", number=1), "text": "x"})["text"] == "x"
    assert tool.hidden(EffectKey("k")) == {"key": "k"}


def test_every_wrong_argument_is_named() -> None:
    tool = declare_tool(send, effect="write", recovery="key")
    with pytest.raises(InvalidInputError, match="'send'") as caught:
        tool.bind(({"street": 5},), {"text": None, "memo": 1})
    fields = {problem["field"] for problem in caught.value.fields["problems"]}
    assert fields == {"to.street", "to.number", "text", "memo"}


def test_the_effect_key_is_not_an_argument() -> None:
    tool = declare_tool(send, effect="write", recovery="key")
    with pytest.raises(InvalidInputError, match="key"):
        tool.bind(({"street": "a", "number": 1},), {"key": "chosen by a model"})


def test_which_errors_say_that_nothing_was_made() -> None:
    tool = declare_tool(plain, effect="read", not_made=(LookupError,))
    assert tool.says_not_made(NotMadeError())
    assert tool.says_not_made(KeyError())
    assert not tool.says_not_made(ValueError())


def test_which_errors_say_that_another_attempt_is_pointless() -> None:
    tool = declare_tool(plain, effect="read", not_made=(LookupError,), refused=(KeyError,))
    assert tool.says_refused(NotMadeError("no", retry=False))
    assert tool.says_refused(KeyError())
    assert tool.says_not_made(KeyError())
    assert not tool.says_refused(NotMadeError("no"))
    assert not tool.says_refused(LookupError())
    only_refused = declare_tool(plain, effect="read", refused=(KeyError,))
    assert only_refused.says_not_made(KeyError()), "what is refused was not made"
