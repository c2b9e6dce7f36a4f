"""The product's sources as the house tests see them: parsed, named, never imported.

A rule is a function from one `Module` to the complaints about it, so that each rule is also tried
on a few lines that break it (`module_of`): a rule that finds nothing there finds nothing anywhere.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "interlock"

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function or method, with the names around it (`Class.method`, `outer.inner`)."""

    qualified_name: str
    node: FunctionNode
    owner: ast.Module | ast.ClassDef | FunctionNode

    @property
    def lines(self) -> int:
        """Lines from `def` to the end, docstring included, decorators not."""
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1

    @property
    def code_lines(self) -> int:
        """As `lines`, without the docstring."""
        first = self.node.body[0]
        if ast.get_docstring(self.node, clean=False) is None:
            return self.lines
        return self.lines - ((first.end_lineno or first.lineno) - first.lineno + 1)


@dataclass(frozen=True, kw_only=True)
class Module:
    """One file: `place` is its path within the package, with slashes."""

    place: str
    text: str
    tree: ast.Module

    def functions(self) -> Iterator[Function]:
        """Every function of the file, nested ones and methods included."""
        yield from _functions(self.tree, "")

    def at(self, node: ast.stmt | ast.expr | ast.excepthandler) -> str:
        """Where `node` stands, for a complaint: `place:line`."""
        return f"{self.place}:{node.lineno}"


Rule = Callable[[Module], Iterator[str]]


def module_of(source: str, place: str = "example.py") -> Module:
    """A module out of a few lines of source, indented as the test has them."""
    text = dedent(source)
    return Module(place=place, text=text, tree=ast.parse(text, filename=place))


def product() -> list[Module]:
    """Every Python file of the package, in the order of its place."""
    return [
        module_of(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE).as_posix())
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def require(rule: Rule) -> None:
    """Fail with every complaint that `rule` has about the product, one a line."""
    found = [complaint for module in product() for complaint in rule(module)]
    if found:
        pytest.fail("\n".join([rule.__doc__ or "", *found]), pytrace=False)


def committed_files() -> list[Path]:
    """Files of the repository: those git would commit, or all but hidden ones without git."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listing = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]


def _functions(owner: ast.Module | ast.ClassDef | FunctionNode, prefix: str) -> Iterator[Function]:
    for node in _directly_inside(owner):
        name = f"{prefix}{node.name}"
        if not isinstance(node, ast.ClassDef):
            yield Function(qualified_name=name, node=node, owner=owner)
        yield from _functions(node, f"{name}.")


def _directly_inside(owner: ast.AST) -> Iterator[FunctionNode | ast.ClassDef]:
    """Definitions in `owner`, also under an `if` or `try`, but not those of an inner definition."""
    for child in ast.iter_child_nodes(owner):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child
        else:
            yield from _directly_inside(child)
