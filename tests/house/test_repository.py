"""What is committed: dependencies with reasons, locks with hashes, targets that are explained.

Nothing committed names a path of somebody's machine or the address of a package registry.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.house.source import ROOT, committed_files

LOCKS = ROOT / "requirements"
REASONS = ROOT / "docs" / "dependencies.md"
HASH = "--hash=sha256:"
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)")
# Put together here so that this file does not name them either.
FOREIGN = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<![\w.~$}])/(?:" + "work|tmp|root|opt" + r")/\S",
        r"(?<![\w.])/home/\w",
        r"\b(?:pypi\." + r"org|pythonhosted\." + r"org|npmjs\." + r"(?:com|org)|deb\." + r"debian)",
    )
)


def manifest() -> dict[str, Any]:
    """The project's pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def declared(*sections: str) -> dict[str, Requirement]:
    """Requirements by canonical name: of `sections`, or of all (runtime, extras and groups)."""
    project = manifest()["project"]
    by_section = {
        "runtime": project["dependencies"],
        **project["optional-dependencies"],
        **manifest()["dependency-groups"],
    }
    chosen = [by_section[section] for section in sections or by_section]
    found = [Requirement(line) for lines in chosen for line in lines if isinstance(line, str)]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def locked(name: str) -> dict[str, Version]:
    """Packages and versions of one lock file."""
    lines = (LOCKS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    pins = [found for found in map(PINNED.match, lines) if found]
    return {canonicalize_name(pin[1]): Version(pin[2]) for pin in pins}


def entries(text: str) -> Iterator[str]:
    """The lock's requirements, each with the lines that continue it, comments left out."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    yield from filter(None, "\n".join(kept).replace("\\\n", " ").splitlines())


@pytest.mark.parametrize("lock", ["build", "runtime", "example", "dev", "bench"])
def test_a_lock_pins_every_package_by_hash_and_names_no_address(lock: str) -> None:
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8")
    found = list(entries(text))
    assert found
    options = {entry for entry in found if entry.startswith("--")}
    assert options == {"--only-binary :all:", "--no-binary roundup"}
    assert [entry for entry in found if entry not in options and not PINNED.match(entry)] == []
    assert [entry for entry in found if entry not in options and HASH not in entry] == []
    assert "://" not in text


@pytest.mark.parametrize(
    ("lock", "sections"),
    [
        ("build", ["build"]),
        ("runtime", ["runtime"]),
        ("example", ["runtime", "example", "build"]),
        ("dev", ["runtime", "example", "build", "dev"]),
        ("bench", ["bench"]),
    ],
)
def test_a_lock_fits_what_the_project_declares(lock: str, sections: list[str]) -> None:
    pins = locked(lock)
    wrong = [
        f"{requirement} is locked as {pins.get(name)}"
        for name, requirement in declared(*sections).items()
        if name not in pins or pins[name] not in requirement.specifier
    ]
    assert wrong == [], "pyproject.toml has changed: run `make lock`"


@pytest.mark.parametrize(
    ("wide", "narrow"), [("example", "build"), ("example", "runtime"), ("dev", "example")]
)
def test_a_wider_lock_holds_the_narrower_one(wide: str, narrow: str) -> None:
    """So that one environment serves `make demo` and `make test` without changing versions."""
    assert locked(narrow).items() <= locked(wide).items()


def reasons() -> dict[str, str]:
    """Rows of the dependencies page: package to its reason."""
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", REASONS.read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name.partition("[")[0]): reason.strip() for name, reason in rows}


def test_every_dependency_has_a_reason() -> None:
    given = reasons()
    assert set(declared()) - set(given) == set(), "add the reason to docs/dependencies.md"
    assert set(given) - set(declared()) == set(), "docs/dependencies.md names what is not used"
    assert [name for name, reason in given.items() if len(reason.split()) < 4] == []


def make_targets() -> set[str]:
    """The Makefile's own targets."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))


def pages() -> dict[Path, str]:
    """The pages a person reads: those at the root and under docs."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    return {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in found}


def test_every_make_target_is_explained() -> None:
    text = "\n".join(pages().values())
    assert {target for target in make_targets() if f"make {target}" not in text} == set()
    help_lines = re.findall(r"^([a-z-]+):.*## \w", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(help_lines) == make_targets()


def test_every_make_command_in_the_pages_exists() -> None:
    wrong = [
        f"{page}: make {target}"
        for page, text in pages().items()
        for target in re.findall(r"(?:`|^\s*)make ([a-z][a-z-]*)", text, re.MULTILINE)
        if target not in make_targets()
    ]
    assert wrong == []


def foreign(text: str) -> list[str]:
    """Machine paths and registries' addresses in `text`."""
    return [found[0] for pattern in FOREIGN for found in pattern.finditer(text)]


def test_nothing_committed_names_a_machine_or_a_registry() -> None:
    wrong: dict[str, list[str]] = {}
    for path in committed_files():
        content = path.read_bytes()
        if b"\0" not in content and (found := foreign(content.decode("utf-8"))):
            wrong[path.relative_to(ROOT).as_posix()] = found
    assert wrong == {}


def test_foreign_names_are_found() -> None:
    for place in ("work/main", "tmp/x", "home/me", "root/.cache"):
        assert foreign(f"see /{place} there")
    assert foreign("from files.python" + "hosted.org")
    assert foreign("https://example.com/work/item and $ROOT/tmp/x and ./tmp/x") == []


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert manifest()["project"]["license"] == "Apache-2.0"
