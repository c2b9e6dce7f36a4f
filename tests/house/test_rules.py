"""Rules that keep runs deterministic, errors visible and SQL in one place.

Time, randomness and threads come from `clock.py` alone, so that the simulator owns them; nothing
mutable lives at module level, so that several executors live in one process.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.source import Module, Rule, module_of, require

CLOCK = "clock.py"
CLOCK_MODULES = frozenset(
    {
        "_thread", "concurrent", "multiprocessing", "random", "sched", "secrets", "threading",
        "time", "timeit",
    }
)  # fmt: skip
CLOCK_CALLS = frozenset(
    {
        "os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7",
        "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    }
)  # fmt: skip
THREAD_CALLS = frozenset({"run_in_executor", "to_thread"})
MUTABLE_CALLS = frozenset(
    {
        "dict", "list", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict",
        "WeakKeyDictionary", "WeakValueDictionary", "WeakSet", "count",
    }
)  # fmt: skip
MUTABLE_TYPES = frozenset(
    {
        "list", "dict", "set", "bytearray", "List", "Dict", "Set", "defaultdict", "deque",
        "Counter", "OrderedDict", "MutableMapping", "MutableSequence", "MutableSet",
    }
)  # fmt: skip
REASONED = re.compile(r"# noqa: [A-Z0-9, ]*\bBLE001\b[A-Z0-9, ]* - \w")
STORE_DRIVERS = frozenset({"sqlite3", "aiosqlite", "apsw", "psycopg", "asyncpg"})
BUCKETS = frozenset({"common", "helper", "helpers", "misc", "shared", "stuff", "util", "utils"})

STATEMENT = re.compile(
    r"""^\s*(
        select\s.*\sfrom\s | insert\s+(or\s+\w+\s+)?into\s | replace\s+into\s
        | update\s+\w+\s+set\s | delete\s+from\s
        | (create|drop)\s+(temp\s+|unique\s+|virtual\s+)?(table|index|view|trigger)\s
        | alter\s+table\s | with\s+(recursive\s+)?\w+\s*(\([^)]*\)\s*)?as\s*\(
    )""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
CONTROL = re.compile(
    r"^\s*(pragma\s|begin\s+(immediate|deferred|exclusive)|vacuum\b)", re.IGNORECASE
)


def own_clock(module: Module) -> Iterator[str]:
    """Complain about time, randomness and threads anywhere but in `clock.py`."""
    if module.place == CLOCK:
        return
    for name, node in _imported(module):
        if name.partition(".")[0] in CLOCK_MODULES or name in CLOCK_CALLS:
            yield f"{module.at(node)} imports {name}; take it from interlock.clock"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            name = f"{ast.unparse(node.value).rpartition('.')[2]}.{node.attr}"
            if name in CLOCK_CALLS or node.attr in THREAD_CALLS:
                yield f"{module.at(node)} uses {name}; take it from interlock.clock"


def module_state(module: Module) -> Iterator[str]:
    """Complain about mutable values at module level, and about `global`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Global):
            yield f"{module.at(node)} global {', '.join(node.names)}; give the state an owner"
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [ast.unparse(target) for target in targets]
            if names != ["__all__"] and _mutable(node.value) and not _constant(names, node):
                yield f"{module.at(node)} {names[0]} is mutable; make it a tuple, or Final"


def swallowed_error(module: Module) -> Iterator[str]:
    """Complain about a bare `except`, and about a broad one that does nothing and gives no reason.

    The reason, why nothing is lost, is a comment above the line or follows the ignore on it:
    `# noqa: BLE001 - why`.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{module.at(node)} bare except; name what you expect"
        elif (line := _forgotten_at(node)) and not _explained(module, line):
            yield f"{module.place}:{line} forgets every error and does not say why"


def stray_sql(module: Module) -> Iterator[str]:
    """Complain about SQL in Python, and about a database driver outside the journal."""
    in_journal = module.place.startswith("journal/")
    if not in_journal:
        for name, node in _imported(module):
            if name.partition(".")[0] in STORE_DRIVERS:
                yield f"{module.at(node)} imports {name}; only the journal speaks to a database"
    descriptions = _docstrings(module.tree)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in descriptions:
                continue
            if STATEMENT.search(node.value) or (not in_journal and CONTROL.search(node.value)):
                yield f"{module.at(node)} SQL {node.value[:40]!r}; put it into journal/sql"


def bucket(module: Module) -> Iterator[str]:
    """Complain about files and folders that say nothing about what is in them."""
    *folders, name = module.place.removesuffix(".py").split("/")
    for part in [*folders, name]:
        if part.lstrip("_") in BUCKETS:
            yield f"{module.place}: {part} is a bucket; name the noun"
    if name.lstrip("_") == "models":
        yield f"{module.place}: models is a bucket; name the noun"


def _imported(module: Module) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node


def _mutable(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rpartition(".")[2].partition("[")[0] in MUTABLE_CALLS
    return isinstance(
        value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    )


def _constant(names: list[str], node: ast.Assign | ast.AnnAssign) -> bool:
    """Whether the types forbid a change: an upper-case name, annotated, and read-only or Final."""
    if not all(re.fullmatch(r"_?[A-Z][A-Z0-9_]*", name) for name in names):
        return False
    if not isinstance(node, ast.AnnAssign):
        return False
    outermost = ast.unparse(node.annotation).partition("[")[0].rpartition(".")[2]
    return outermost not in MUTABLE_TYPES


def _broad(kind: ast.expr) -> bool:
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(ast.unparse(one) in {"Exception", "BaseException"} for one in kinds)


def _explained(module: Module, line: int) -> bool:
    above, own = ["", *module.text.splitlines()][line - 1 : line + 1]
    return bool(REASONED.search(own)) or above.lstrip().startswith("# ")


def _forgotten_at(node: ast.AST) -> int | None:
    """The line of a broad `except` or `suppress` that does nothing; None for any other node."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        return node.lineno if any(map(_broad, node.args)) else None
    if isinstance(node, ast.ExceptHandler) and node.type is not None:
        return node.lineno if _broad(node.type) and all(map(_idle, node.body)) else None
    return None


def _idle(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass | ast.Continue)


def _docstrings(tree: ast.Module) -> set[int]:
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }


@pytest.mark.parametrize(
    "rule", [own_clock, module_state, swallowed_error, stray_sql, bucket], ids=lambda r: r.__name__
)
def test_the_product_keeps(rule: Rule) -> None:
    require(rule)


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (own_clock, "import time"),
        (own_clock, "from random import Random"),
        (own_clock, "import concurrent.futures"),
        (own_clock, "from concurrent.futures import ThreadPoolExecutor"),
        (own_clock, "from uuid import uuid4"),
        (own_clock, "import datetime\nx = datetime.datetime.now(datetime.UTC)"),
        (own_clock, "from datetime import datetime\ndef f() -> None:\n    datetime.utcnow()"),
        (own_clock, "import os\nkey = os.urandom(4)"),
        (own_clock, "import asyncio\nasync def f() -> None:\n    await asyncio.to_thread(f)"),
        (own_clock, "def f(loop: Loop) -> None:\n    loop.run_in_executor(None, f)"),
        (module_state, "cache = {}"),
        (module_state, "CACHE = {}"),
        (module_state, "CACHE: dict[str, int] = {}"),
        (module_state, "_seen: set[str] = set()"),
        (module_state, "from collections import defaultdict\nx = defaultdict(list)"),
        (module_state, "def f() -> None:\n    global x\n    x = 1"),
        (swallowed_error, "try: f()\nexcept: raise"),
        (swallowed_error, "try: f()\nexcept Exception: pass"),
        (swallowed_error, "for x in y:\n    try: f()\n    except (BaseException, A): continue"),
        (swallowed_error, "try: f()\nexcept Exception:  # noqa: BLE001\n    pass"),
        (swallowed_error, "import contextlib\nwith contextlib.suppress(Exception): f()"),
        (stray_sql, "import sqlite3"),
        (stray_sql, "from sqlite3 import connect"),
        (stray_sql, "x = 'select a from b where c'"),
        (stray_sql, "x = f'''\n  INSERT OR IGNORE INTO {t} VALUES (1)'''"),
        (stray_sql, "c.execute('PRAGMA journal_mode=wal')"),
        (stray_sql, "c.execute('update runs set state = 1')"),
        (stray_sql, "c.execute('WITH late AS (SELECT 1) SELECT * FROM late')"),
    ],
)
def test_the_rules_find_what_they_are_for(rule: Rule, source: str) -> None:
    assert list(rule(module_of(source)))


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (own_clock, "from datetime import UTC, datetime, timedelta\nimport asyncio"),
        (own_clock, "async def f(run: Run) -> None:\n    await run.now()"),
        (own_clock, "from uuid import UUID, uuid5"),
        (
            module_state,
            "_NO: Header = {}\nKINDS: Final = {1: 2}\nN: Mapping[str, int] = {}\n__all__ = ['A']",
        ),
        (module_state, "ORDER = (1, 2)\nSET = frozenset({1})\ndef f() -> None:\n    x = {}"),
        (swallowed_error, "try: f()\nexcept Exception as e:\n    log(e)"),
        (swallowed_error, "try: f()\nexcept KeyError: pass"),
        (
            swallowed_error,
            "try: f()\nexcept Exception:  # noqa: BLE001, S110 - f is optional\n    pass",
        ),
        (stray_sql, "'''Select one from the list.'''\nx = 'Select a run'"),
        (stray_sql, "x = 'updates are set aside'"),
    ],
)
def test_the_rules_let_good_code_pass(rule: Rule, source: str) -> None:
    assert list(rule(module_of(source))) == []


def test_a_reason_lets_an_error_be_forgotten() -> None:
    source = (
        "import contextlib\n# It is forgotten anyway.\nwith contextlib.suppress(Exception): f()"
    )
    assert list(swallowed_error(module_of(source))) == []


def test_the_journal_may_hold_a_driver_and_control_its_transactions_but_no_statement() -> None:
    driver = "import sqlite3\nc.execute('PRAGMA user_version')\nc.execute('BEGIN IMMEDIATE')"
    assert list(stray_sql(module_of(driver, "journal/sqlite.py"))) == []
    assert list(stray_sql(module_of("x = 'delete from runs'", "journal/sqlite.py")))


@pytest.mark.parametrize(
    "place", ["utils.py", "tools/_helpers.py", "common/x.py", "tools/models.py"]
)
def test_buckets_are_found(place: str) -> None:
    assert list(bucket(module_of("", place)))


@pytest.mark.parametrize("place", ["models/ask.py", "tools/gateway.py", "__init__.py"])
def test_nouns_are_no_buckets(place: str) -> None:
    assert list(bucket(module_of("", place))) == []
