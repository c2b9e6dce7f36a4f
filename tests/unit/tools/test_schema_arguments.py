"""Arguments by JSON Schema: checked by name, refused in words, and judged like typed ones."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from interlock import Run
from interlock.base.codec import codec_for
from interlock.errors import DeclarationError, InvalidInputError, NotAllowedError
from interlock.models.toolset import GovernedToolset
from interlock.orchestrator.plan_prompt import Report, plan_prompt
from interlock.tools.pins import promise
from interlock.tools.policy.schema import action_schemas, cedar_schema
from interlock.tools.schema_arguments import SchemaArguments
from interlock.tools.terms import Standing
from interlock.tools.tool import Tool, check_declaration
from tests.support.local import app_in, executing

SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "to": {"type": "string", "pattern": "@"},
        "cents": {"type": "integer", "minimum": 1},
        "kind": {"enum": ["plain", "registered"]},
        "note": {"type": ["string", "null"]},
        "lines": {"type": "array", "items": {"$ref": "#/definitions/line"}},
        "from": {"type": "object", "additionalProperties": False, "properties": {"name": {}}},
        "self": True,
        "dedupe": {"type": "string"},
    },
    "required": ["to", "cents", "dedupe"],
    "definitions": {
        "line": {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}
    },
}


def arguments(**more: Any) -> SchemaArguments:
    """The arguments of a tool named send, with other words at the top."""
    return SchemaArguments("send", {**SCHEMA, **more}, hidden=("dedupe",))


def problems(values: dict[str, Any], **more: Any) -> dict[str, str]:
    """What is wrong with a call, by field."""
    with pytest.raises(InvalidInputError) as caught:
        arguments(**more).checked("send", values)
    assert "tool 'send'" in caught.value.message
    return {each["field"]: each["problem"] for each in caught.value.fields["problems"]}


def test_what_fits_is_passed_on_as_it_is_without_defaults() -> None:
    values = {"to": "a@b", "cents": 2, "lines": [{"sku": "x"}], "note": None, "self": [1]}
    assert arguments().checked("send", values) == values


def test_every_wrong_field_is_named_with_what_is_expected_and_without_its_value() -> None:
    values = {
        "to": "secret",
        "cents": 0,
        "kind": "other",
        "note": 7,
        "lines": [{"sku": "x"}, {}],
        "from": {"name": 1, "iban": "secret"},
        "more": "secret",
        "dedupe": "secret",
    }
    found = problems(values)
    assert found["to"] == 'must match the pattern "@"'
    assert found["cents"] == "must be at least 1"
    assert found["kind"] == 'must be one of "plain", "registered"'
    assert found["note"] == "must be of type string or null"
    assert found["lines.1.sku"] == "is required"
    assert found["from"] == "has a field that is not allowed; there are: name"
    assert found["more"].startswith("there is no such argument; there are: to, cents, kind")
    assert found["dedupe"].startswith("there is no such argument")
    assert "secret" not in str(found)


def test_what_is_missing_is_named_once() -> None:
    assert problems({}) == {"to": "is required", "cents": "is required"}


def test_a_schema_may_say_itself_that_it_takes_more() -> None:
    given = {"to": "a@b", "cents": 1, "more": 1}
    assert arguments(additionalProperties=True).checked("send", given) == given
    found = problems({**given, "dedupe": "x"}, additionalProperties=True)
    assert list(found) == ["dedupe"]
    assert problems(given, additionalProperties=False)["more"]


def test_a_reference_out_of_the_schema_is_never_followed() -> None:
    far = {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/schema"}}}
    with pytest.raises(InvalidInputError, match="is not in it"):
        SchemaArguments("send", far).checked("send", {"x": 1})


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "string"}, "arguments are an object"),
        ({"properties": {}}, "of type None"),
        ({"type": "object", "properties": {"a": {"type": 5}}}, "properties/a/type"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "is no JSON Schema"),
    ],
)
def test_what_is_no_schema_of_arguments_is_refused(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        SchemaArguments("send", schema)


def send_tool(calls: list[dict[str, Any]], **standing: Any) -> Tool[..., Any]:
    """A tool by schema that notes its calls."""

    async def call(**given: Any) -> Any:
        calls.append(given)
        return {"sent": given["to"]}

    tool: Tool[..., Any] = Tool(
        name="send",
        function=call,
        description="Send money.\n\nAt once.",
        effect="irreversible",
        recovery="key",
        version="1",
        timeout=timedelta(seconds=5),
        settle=timedelta(0),
        not_made=(),
        refused=(),
        attempts=1,
        pause=timedelta(0),
        lookup=None,
        key_parameter="dedupe",
        arguments=arguments(),
        result=codec_for(Any),
        standing=Standing(**standing),
    )
    check_declaration(tool)
    return tool


def test_it_is_offered_listed_and_planned_with_its_own_schema() -> None:
    tool = send_tool([])
    definition = GovernedToolset([tool])._offer(tool).tool_def  # noqa: SLF001 - what a model sees
    assert definition.description == "Send money.\n\nAt once."
    assert "dedupe" not in definition.parameters_json_schema["properties"]
    assert promise(tool)["arguments"]["required"] == ["to", "cents"]
    assert "- send (irreversibles): Send money." in plan_prompt("g", [tool], 3, Report())


def test_a_policy_sees_what_has_a_type_and_only_what_is_required_without_asking() -> None:
    tool = send_tool([], amount="cents")
    actions = action_schemas([tool], {})
    assert cedar_schema(actions.values())
    record = actions["send"].arguments["attributes"]
    assert record["to"] == {"type": "String"}
    assert record["note"] == {"type": "String", "required": False}
    assert record["lines"]["element"]["attributes"] == {"sku": {"type": "String"}}
    assert not record.keys() & {"kind", "self", "dedupe"}
    assert actions["send"].project({"to": "a@b", "cents": 1}) == {"to": "a@b", "cents": 1}


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        ({"destinations": ("nobody",)}, "names 'nobody'"),
        ({"destinations": ("dedupe",)}, "names 'dedupe'"),
        ({"amount": "note"}, "may be something else than an int"),
    ],
)
def test_our_words_about_its_arguments_are_checked(standing: dict[str, Any], said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        send_tool([], **standing)


def test_a_run_calls_it_with_the_key_that_nobody_else_sees(tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = []
    tool = send_tool(calls)
    app = app_in(tmp_path)

    @app.agent("payer")
    async def payer(run: Run, to: str) -> Any:
        with pytest.raises(InvalidInputError):
            await run.call(tool, to=to, cents="many")
        return await run.call(tool, to, 5, **{"self": 1, "from": {"name": "x"}})

    async def scenario() -> None:
        async with executing(app) as local:
            handle = await local.start("payer", "a@b")
            assert await handle.result() == {"sent": "a@b"}
            (effect,) = local.store.effects(run=handle.id)
            expected = {"to": "a@b", "cents": 5, "self": 1, "from": {"name": "x"}}
            assert calls == [{**expected, "dedupe": effect.effect_key}]

    asyncio.run(scenario())


def test_a_destination_that_was_left_out_needs_no_ground(tmp_path: Path) -> None:
    calls: list[dict[str, Any]] = []
    tool = send_tool(calls, destinations=("note",))
    app = app_in(tmp_path)

    @app.agent("payer")
    async def payer(run: Run) -> Any:
        try:
            return await run.call(tool, to="a@b", cents=5)
        except NotAllowedError:
            return "asked"

    async def scenario() -> None:
        async with executing(app) as local:
            assert await (await local.start("payer")).result() == {"sent": "a@b"}

    asyncio.run(scenario())
