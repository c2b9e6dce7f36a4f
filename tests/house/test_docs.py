"""The pages tell the truth: their snippets run, and every command, option and setting is there."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house.snippets import BadFenceError, Snippet, run, snippets
from tests.house.source import ROOT, product

REFERENCE = ROOT / "docs" / "reference"
COMMANDS_PAGE = REFERENCE / "cli.md"
SETTINGS_PAGE = REFERENCE / "settings.md"
EVERYWHERE = frozenset({"--help", "--install-completion", "--show-completion"})
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_snippets_of_a_page_run(page: Path, tmp_path: Path) -> None:
    for snippet in snippets(page.read_text(encoding="utf-8")):
        if snippet.language == "json":
            json.loads(snippet.text)
        if snippet.language == "toml":
            tomllib.loads(snippet.text)
        complaint = run(snippet, tmp_path)
        assert complaint is None, f"{page.name}:{snippet.line} {complaint}"


def only(page: str) -> Snippet:
    """The one snippet of a page."""
    (found,) = snippets(page)
    return found


def test_a_snippet_that_fails_is_seen(tmp_path: Path) -> None:
    for page in (
        "```python\n1 / 0\n```",
        "```sh\nfalse\ntrue\n```",
        "```sh\necho $UNSET_NAME\n```",
    ):
        complaint = run(only(page), tmp_path)
        assert complaint is not None
        assert "ended with" in complaint


def test_a_snippet_finds_the_file_of_an_earlier_one(tmp_path: Path) -> None:
    page = (
        "```python file=desk.py\nx = 1\n```\n```yaml file=a/b.yaml\ny: 2\n```\n"
        "```python\nimport desk\nassert open('a/b.yaml').read() == 'y: 2\\n'\n```\n"
    )
    assert [run(snippet, tmp_path) for snippet in snippets(page)] == [None, None, None]


def test_a_snippet_with_a_reason_is_not_run(tmp_path: Path) -> None:
    snippet = only("1. x\n   ```sh norun: needs a server\n   false\n   ```")
    assert (snippet.text, snippet.not_run) == ("false\n", "needs a server")
    assert run(snippet, tmp_path) is None


def test_an_inner_fence_belongs_to_the_outer_block() -> None:
    assert only("````text\n```python\n1 / 0\n```\n````").language == "text"


@pytest.mark.parametrize(
    "page", ["```sh norun\n```", "```sh norun:\n```", "```python skip\n```", "```sh\n"]
)
def test_a_fence_outside_the_convention_is_refused(page: str) -> None:
    with pytest.raises(BadFenceError):
        list(snippets(page))


def read(page: Path) -> str:
    """The page's text; the test fails by name if there is none."""
    if not page.exists():
        pytest.fail(f"{page.relative_to(ROOT)} is missing", pytrace=False)
    return page.read_text(encoding="utf-8")


def commands() -> dict[str, Any]:
    """The command line's commands by their full name (`interlock effects resolve`)."""
    cli = importlib.import_module("interlock.cli")
    if not hasattr(cli, "main"):
        pytest.skip("interlock.cli has no main yet")
    typer_main = importlib.import_module("typer.main")
    return dict(_commands("interlock", typer_main.get_command(cli.app)))


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for inner_name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _commands(f"{name} {inner_name}", inner)


def sections(page: str) -> dict[str, str]:
    """A page's text by heading, without the backquotes of the heading."""
    parts = re.split(r"^#+ +(.+)$", page, flags=re.MULTILINE)
    return {
        heading.replace("`", "").strip(): text
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_command_and_option_is_documented() -> None:
    """Each command has a section named after it, which names each of its options and arguments."""
    found = commands()
    described = sections(read(COMMANDS_PAGE))
    missing = [name for name in found if name not in described]
    for name, command in found.items():
        for parameter in command.params:
            if getattr(parameter, "hidden", False):
                continue
            words = {*parameter.opts, *parameter.secondary_opts} - EVERYWHERE
            if parameter.param_type_name == "argument":
                words = {(parameter.metavar or parameter.name).upper().strip("[].")}
            text = described.get(name, "")
            missing += [f"{name} {word}" for word in sorted(words) if word not in text]
    assert missing == [], f"describe them in {COMMANDS_PAGE.relative_to(ROOT)}"


def test_every_command_in_the_pages_exists() -> None:
    """Headings of the reference name whole commands; elsewhere the first word is looked at."""
    found = commands()
    headings = sections(read(COMMANDS_PAGE))
    wrong = [name for name in headings if name.startswith("interlock ") and name not in found]
    for page in PAGES:
        written = re.findall(
            r"(?:`|^\s*(?:\$ )?)interlock ([a-z][a-z-]*)", page.read_text(), re.MULTILINE
        )
        wrong += [f"{page.name}: {word}" for word in written if f"interlock {word}" not in found]
    assert wrong == []


def settings() -> set[str]:
    """Fields of the public classes of `interlock.config`, dataclasses and pydantic models alike."""
    if importlib.util.find_spec("interlock.config") is None:
        pytest.skip("there is no interlock.config yet")
    config = importlib.import_module("interlock.config")
    classes = [getattr(config, name) for name in config.__all__]
    fields = [
        getattr(each, "model_fields", None) or getattr(each, "__dataclass_fields__", {})
        for each in classes
    ]
    names = {name for each in fields for name in each}
    return names or pytest.skip("interlock.config has no class of settings")


def test_every_setting_is_documented() -> None:
    found = settings()
    text = read(SETTINGS_PAGE)
    assert {name for name in found if f"`{name}`" not in text} == set()


def test_every_environment_variable_is_documented() -> None:
    used = {name for module in product() for name in re.findall(r"INTERLOCK_[A-Z_]+", module.text)}
    if not used:
        pytest.skip("the product reads no environment variable of its own")
    text = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md"))
    missing = {name for name in used if f"`{name}`" not in text}
    assert missing == set(), "describe them in docs/reference"
