"""Files and functions stay small enough to read at one sitting."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import pytest

from tests.house.source import Module, module_of, product, require

FILE_LINES = 800
FILE_LINES_P90 = 450
FUNCTION_LINES = 70
MEDIAN_FUNCTION_LINES = 9
ENOUGH_FILES = 10  # below, a percentile is one file's accident


def long_file(module: Module) -> Iterator[str]:
    """Complain about a file over `FILE_LINES`."""
    lines = len(module.text.splitlines())
    if lines > FILE_LINES:
        yield f"{module.place}: {lines} lines, at most {FILE_LINES}; give a noun its own file"


def long_function(module: Module) -> Iterator[str]:
    """Complain about functions over `FUNCTION_LINES`, docstring included."""
    for function in module.functions():
        if function.lines > FUNCTION_LINES:
            name = f"{module.at(function.node)} {function.qualified_name}"
            yield f"{name}: {function.lines} lines, at most {FUNCTION_LINES}"


def test_no_file_is_too_long() -> None:
    require(long_file)


def test_no_function_is_too_long() -> None:
    require(long_function)


def test_nine_files_in_ten_are_short() -> None:
    sizes = sorted(len(module.text.splitlines()) for module in product())
    if len(sizes) < ENOUGH_FILES:
        pytest.skip(f"{len(sizes)} files are too few for a percentile")
    assert statistics.quantiles(sizes, n=10)[-1] <= FILE_LINES_P90


def test_the_middle_function_is_short(record_property: Callable[[str, object], None]) -> None:
    functions = [function for module in product() for function in module.functions()]
    median = statistics.median([function.code_lines for function in functions] or [0])
    record_property("median_function_lines", median)
    assert median <= MEDIAN_FUNCTION_LINES


def test_the_rules_find_what_they_are_for() -> None:
    body = "\n".join(["    x = 1"] * FUNCTION_LINES)
    assert list(long_function(module_of(f"class A:\n  def long(self) -> None:\n{body}\n")))
    assert not list(long_function(module_of(f"def fits() -> None:\n{body[:-10]}\n")))
    assert list(long_file(module_of("x = 1\n" * (FILE_LINES + 1))))


def test_a_docstring_is_not_counted_as_code() -> None:
    (function,) = module_of('def f() -> None:\n    """One.\n\n    Two.\n    """\n').functions()
    assert (function.lines, function.code_lines) == (5, 1)
