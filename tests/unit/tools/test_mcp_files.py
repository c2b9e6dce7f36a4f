"""`mcp.yaml` and `mcp.lock`: what they may say, and what is told of what they may not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import ConflictError, DeclarationError, InvalidInputError, NotFoundError
from interlock.tools.mcp.pins import Pin, differences, read_pins, write_pins
from interlock.tools.mcp.review import Finding, accept, pin_new, review
from interlock.tools.mcp.terms import read_terms
from tests.support.mcp_home import Home

WHOLE = """
servers:
  files:
    command: node
    args: [server.js, --port, 8080]
    env: {KEY: env:FILES_KEY, DEBUG: 1}
    tools:
      read.text: {effect: read, sensitive: [result]}
      save:
        effect: irreversible
        recovery: key
        key_argument: dedupe
        as: keep
        destinations: [path]
  crm:
    url: https://crm.example/mcp
    oauth: {issuer: https://login.example, client_id: me, client_secret: file:secret}
"""


def test_a_file_says_what_we_say(tmp_path: Path) -> None:
    file = tmp_path / "mcp.yaml"
    file.write_text(WHOLE)
    files, crm = read_terms(file).values()
    assert files.args == ("server.js", "--port", "8080")
    assert files.tools["save"].name == "keep"
    assert crm.tools == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it needs `servers:`"),
        ("servers: {a: {tools: {}}}", "1:14: servers.a: a server has either a command or a url"),
        ("servers: {a: {command: x, url: http://b}}", "either a command or a url"),
        ("servers: {a: {command: x, headers: {a: b}}}", "headers is not for a server with a comm"),
        ("servers: {a: {url: http://b, args: [x]}}", "args is not for a server with a url"),
        ("servers: {a: {url: http://b, token: abc}}", "token is a secret: refer to it by env:NAME"),
        ("servers: {a: {url: http://me@b/}}", "servers.a.url"),
        ("servers: {a: {url: ftp://b/}}", "servers.a.url"),
        ("servers: {a: {url: http://b, token: env:T}}", "url is not https, and secrets go to it"),
        ("servers:\n  a b: {command: x}", "2:3: servers.a b"),
        ("servers:\n  a:\n    comand: x", "3:13: servers.a.comand: there is no such field"),
        ("servers: {a: {command: x, tools: {t: {}}}}", "servers.a.tools.t.effect: it is needed"),
        ("servers: {a: {command: x, tools: {t: {effect: reed}}}}", "'read', 'write'"),
        (
            "servers: {a: {command: x, tools: {t: {effect: read, not_made: [is_error]}}}}",
            "not_made is for tools that write",
        ),
        (
            "servers: {a: {command: x, tools: {t: {effect: write, recovery: lookup}}}}",
            "servers.a.tools.t.recovery",
        ),
        ("servers: {a: {command: x, tools: {'t t': {effect: read}}}}", "is no name for a tool"),
        (
            "servers: {a: {command: x, tools: {t: {effect: read}, u: {effect: read, as: a_t}}}}",
            "servers.a.tools.t is called 'a_t' too",
        ),
        ("servers: {a: {command: x}, a: {command: y}}", "1:28"),
        (
            "servers: {a: {url: https://b, oauth: {issuer: https://c, client_id: d}}}",
            "servers.a.oauth: it needs either a client_secret or a private_key",
        ),
        (
            "servers: {a: {oauth: {issuer: https://c, client_id: d, private_key: e}}}",
            "private_key is a secret: refer to it by env:NAME",
        ),
        ("servers: {a: {oauth: {issuer: x}}}", "servers.a.oauth.client_id: it is needed"),
    ],
)
def test_what_a_file_may_not_say_is_told_with_its_place(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "mcp.yaml"
    file.write_text(text)
    with pytest.raises(DeclarationError) as caught:
        read_terms(file)
    assert said in caught.value.message
    assert "mcp.yaml" in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"none\.yaml: it cannot be read"):
        read_terms(tmp_path / "none.yaml")


def pin(**fields: Any) -> Pin:
    """What is known of a tool named t."""
    return Pin({"name": "t", "inputSchema": {"type": "object"}, **fields})


def test_pins_are_kept_in_their_order_and_checked_by_their_hash(tmp_path: Path) -> None:
    file = tmp_path / "mcp.lock"
    assert read_pins(file) == {}
    big = {"type": "object", "properties": {"z": {"maximum": 2**64}, "a": {}}}
    write_pins(file, {"s": {"t": pin(inputSchema=big)}, "none": {}})
    found = read_pins(file)["s"]["t"]
    assert list(found.input_schema["properties"]) == ["z", "a"]
    assert found.hash == pin(inputSchema=big).hash
    assert len(found.hash) == 64
    file.write_text(file.read_text().replace('"t"', '"u"', 1).replace("18446", "18447"))
    with pytest.raises(InvalidInputError, match=r"s\.u does not match its hash"):
        read_pins(file)
    for text in ("", "[]", '{"format": 2, "servers": {}}'):
        file.write_text(text)
        with pytest.raises(InvalidInputError, match=r"mcp\.lock"):
            read_pins(file)


def test_every_field_of_a_pin_counts() -> None:
    hashes = {pin(**{name: {"a": 1}}).hash for name in ("outputSchema", "annotations", "title")}
    hashes |= {pin().hash, pin(description="x").hash, pin(inputSchema={"type": "string"}).hash}
    assert len(hashes) == 6


def test_a_difference_shows_what_no_eye_sees() -> None:
    was, now = pin(description="Find.\nAll."), pin(description="Find.\nAll.\u200b\U000e0041")
    assert differences(was, now) == [
        "description:",
        "   Find.",
        "  -All.",
        "  +All.\\u200b\\U000e0041",
    ]
    assert differences(was, was) == []


def looked(home: Home) -> dict[str, Finding]:
    """How all tools stand."""
    found = asyncio.run(review(home.servers()))
    return {each.tool: each for each in found.findings}


def test_a_person_accepts_exactly_what_they_have_read(tmp_path: Path) -> None:
    home = Home(tmp_path)
    tools = {"find": {"effect": "read"}, "save": {"effect": "read"}, "lost": {"effect": "read"}}
    home.declare(tools)
    found = looked(home)
    assert {found[name].state for name in ("find", "save")} == {"new"}
    assert (found["lost"].state, found["die"].state) == ("gone", "undeclared")
    home.pin()

    words = tmp_path / "WORDS"
    words.write_text("First.")
    found = looked(home)
    assert (found["find"].state, found["save"].state) == ("changed", "accepted")
    read = found["find"]
    assert read.now is not None
    words.write_text("Second, which nobody has read.")
    later = looked(home)["find"]
    servers = home.servers()
    assert pin_new(servers, [later]) == []
    for hash in (read.now.short_hash, "", later.lines()[0], read.now.hash):
        with pytest.raises(ConflictError, match="it has changed since it was read"):
            accept(servers, later, hash)
    assert later.now is not None
    accept(servers, later, later.now.short_hash)
    assert looked(home)["find"].state == "accepted"
    for name in ("lost", "die"):
        with pytest.raises(NotFoundError, match="cannot be accepted"):
            accept(servers, found[name], "0" * 64)


def test_what_cannot_be_declared_is_not_accepted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.declare({"save": {"effect": "write", "recovery": "never", "destinations": ["pth"]}})
    with pytest.raises(DeclarationError, match="names 'pth', which is no argument of it"):
        home.pin()
    assert not (tmp_path / "mcp.lock").exists()


def test_a_server_that_does_not_answer_is_said_and_its_pins_stay(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.declare({"find": {"effect": "read"}})
    home.pin()
    before = json.loads((tmp_path / "mcp.lock").read_text())
    home.declare({"find": {"effect": "read"}}, command="false", args=[])
    home.pin()
    (finding,) = looked(home).values()
    assert finding.state == "unreachable"
    assert "cannot be reached" in finding.why
    assert json.loads((tmp_path / "mcp.lock").read_text()) == before
    with pytest.raises(NotFoundError, match="there are: desk"):
        asyncio.run(review(home.servers(), "dsk"))
