"""The public surface: annotated, described, small at the root, and light to import."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import Function, FunctionNode, Module, Rule, module_of, require

ROOT_NAMES = Path(__file__).with_name("root_names.txt")
MOST_ROOT_NAMES = 40
# A library without weight: what `import interlock` may load besides the standard library.
LIGHT = frozenset({"interlock", "rfc8785", "typing_extensions"})
HEAVY_FOR_HELP = frozenset({"cryptography", "fastapi", "httpx", "starlette", "uvicorn"})


def unannotated(module: Module) -> Iterator[str]:
    """Complain about a function with an argument or a result that has no annotation."""
    for function in module.functions():
        bare = [argument.arg for argument in _arguments(function) if argument.annotation is None]
        if function.node.returns is None:
            bare.append("the result")
        if bare:
            yield f"{module.at(function.node)} {function.qualified_name}: {', '.join(bare)}"


def undescribed(module: Module) -> Iterator[str]:
    """Complain about a module, a public class or a public function without a docstring."""
    if ast.get_docstring(module.tree) is None:
        yield f"{module.place}: the module has no docstring that says what it promises"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and _public(node) and ast.get_docstring(node) is None:
            yield f"{module.at(node)} class {node.name}: no docstring"
    for function in module.functions():
        if _must_be_described(function) and ast.get_docstring(function.node) is None:
            yield f"{module.at(function.node)} {function.qualified_name}: no docstring"


def _arguments(function: Function) -> list[ast.arg]:
    given = function.node.args
    positional = [*given.posonlyargs, *given.args]
    static = "staticmethod" in _decorators(function.node)
    if isinstance(function.owner, ast.ClassDef) and not static:
        positional = positional[1:]
    return [*positional, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]


def _decorators(node: FunctionNode) -> set[str]:
    return {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}


def _public(node: ast.ClassDef | FunctionNode) -> bool:
    return not node.name.startswith("_")


def _must_be_described(function: Function) -> bool:
    if not _public(function.node) or isinstance(function.owner, FunctionNode):
        return False
    if isinstance(function.owner, ast.ClassDef) and not _public(function.owner):
        return False
    said_elsewhere = {"overload", "override", "setter", "deleter"}
    return not _decorators(function.node) & said_elsewhere


def test_everything_is_annotated() -> None:
    require(unannotated)


def test_everything_public_is_described() -> None:
    require(undescribed)


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("def f(x) -> None: ...", unannotated),
        ("def f(x: int): ...", unannotated),
        ("class A:\n    def f(self, *more) -> None: ...", unannotated),
        ("x = 1", undescribed),
        ('"""M."""\nclass A: ...', undescribed),
        ('"""M."""\nclass A:\n    """A."""\n    def f(self) -> None: ...', undescribed),
        ('"""M."""\nasync def f() -> None: ...', undescribed),
    ],
)
def test_the_rules_find_what_they_are_for(source: str, rule: Rule) -> None:
    assert list(rule(module_of(source)))


def test_private_and_nested_functions_need_no_docstring() -> None:
    functions = "def _f() -> None:\n    def inner() -> None: ...\n"
    methods = "class _A:\n    def g(self) -> None: ...\n"
    assert list(undescribed(module_of(f'"""M."""\n{functions}{methods}'))) == []


def test_the_root_names_are_pinned() -> None:
    """The root's names are a promise to users; changing them means changing the list on purpose."""
    root = importlib.import_module("interlock")
    names = sorted(getattr(root, "__all__", []))
    pinned = ROOT_NAMES.read_text(encoding="utf-8").split()
    assert names == pinned, f"interlock.__all__ differs from {ROOT_NAMES.name}"
    assert len(names) <= MOST_ROOT_NAMES
    assert [name for name in names if not hasattr(root, name)] == []


def loaded_by(code: str) -> set[str]:
    """Top-level packages outside the standard library that a fresh interpreter loads for `code`."""
    script = (
        "import json, sys\n"
        "before = set(sys.modules)\n"
        f"{code}\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print('\\n' + json.dumps(sorted(new - sys.stdlib_module_names)))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(answer.stdout.splitlines()[-1]))


def test_importing_interlock_loads_nothing_heavy() -> None:
    assert loaded_by("import interlock") - LIGHT == set()


def test_asking_for_help_loads_nothing_heavy() -> None:
    cli = importlib.import_module("interlock.cli")
    if not hasattr(cli, "main"):
        pytest.skip("interlock.cli has no main yet")
    code = (
        "sys.argv = ['interlock', '--help']\n"
        "from interlock.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end"
    )
    loaded = loaded_by(code)
    assert "interlock" in loaded
    assert loaded & HEAVY_FOR_HELP == set()


def test_loaded_by_sees_what_is_loaded() -> None:
    assert "pydantic" in loaded_by("import pydantic")
