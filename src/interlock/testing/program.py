"""Generated agents as data: a tree of nodes that `interpreter` executes, drawn from a seed.

A *settled* program has one right ending whatever is interrupted and whatever is slow: its result
can be compared with an undisturbed run. An unsettled one also races, times out and is cancelled;
which branch wins is then up to time, and what can be compared is the replay of its journal.

Node names are unique within a program, children included. Times are virtual milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from interlock.clock import Dice

__all__ = [
    "CHILD",
    "RECOVERIES",
    "Node",
    "Program",
    "describe",
    "generate",
    "nodes_of",
    "programs_of",
]

Node = dict[str, Any]
RECOVERIES: Final = ("key", "lookup", "repeatable", "never")
CHILD: Final = "child"
_BRANCHES_AT_MOST: Final = 4
_DEPTH_AT_MOST: Final = 4


@dataclass(frozen=True, kw_only=True)
class Program:
    """One generated agent and what the outside will do to it.

    `root` is what the run's first generation does; `label` names its run. `signals` are what people
    will send: `(label, signal, token, at_ms, duplicate)`, each meant for one wait. `cancel_at_ms`
    cancels the run from outside. `disk_us` is how long a commit takes at most.
    """

    seed: str
    settled: bool
    root: Node
    signals: list[tuple[str, str, str, int, bool]] = field(default_factory=list[Any])
    cancel_at_ms: int | None = None
    deadline_ms: int | None = None
    start_after_ms: int | None = None
    residency_ms: int = 100
    concurrency: int = 50
    disk_us: int = 0


def generate(seed: str) -> Program:
    """Draw a program. Most are small, because small ones fail as well and can be read."""
    return _Generator(seed).program()


def describe(program: Program) -> str:
    """The program as indented text, one node a line."""
    facts = {
        "settled": program.settled,
        "cancel_at_ms": program.cancel_at_ms,
        "deadline_ms": program.deadline_ms,
        "start_after_ms": program.start_after_ms,
        "residency_ms": program.residency_ms,
        "concurrency": program.concurrency,
        "disk_us": program.disk_us,
    }
    head = ", ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
    signals = [f"signal {s[1]}={s[2]} to {s[0]} at {s[3]} ms" for s in program.signals]
    return "\n".join([head, *_lines(program.root, 1), *signals])


def _lines(node: Node, depth: int) -> Iterator[str]:
    facts = {k: v for k, v in node.items() if k not in ("do", "of", "finally", "next")}
    yield f"{'  ' * depth}{node['do']} {json.dumps(facts) if facts else ''}".rstrip()
    for child in _inner(node):
        yield from _lines(child, depth + 1)


def _inner(node: Node) -> list[Node]:
    found: list[Node] = []
    for name in ("of", "finally", "next"):
        inner: Any = node.get(name)
        if inner is not None:
            found += inner if isinstance(inner, list) else [inner]
    return found


def nodes_of(node: Node) -> Iterator[Node]:
    """The node and all within it, children's programs included."""
    yield node
    for inner in _inner(node):
        yield from nodes_of(inner)


def programs_of(program: Program) -> Iterator[tuple[str, Node]]:
    """Each run's label and what it does: the root's, then the children's."""
    yield "root", program.root
    for node in nodes_of(program.root):
        if node["do"] == CHILD:
            yield node["label"], node["of"]


class _Generator:
    """Draws one program."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.dice = Dice(f"program:{seed}")
        self.settled = self.dice.random() < 0.45
        self.left = self.dice.randint(*((1, 5) if self.dice.random() < 0.8 else (5, 14)))
        self.count = 0
        self.label = "root"
        self.signals: list[tuple[str, str, str, int, bool]] = []
        self.nesting = 0

    def program(self) -> Program:
        root = self._whole_run(may_renew=True)
        dice = self.dice
        loose = not self.settled
        return Program(
            seed=self.seed,
            settled=self.settled,
            root=root,
            signals=self.signals,
            cancel_at_ms=self._moment() if loose and dice.random() < 0.2 else None,
            deadline_ms=self._moment() + 50 if loose and dice.random() < 0.1 else None,
            start_after_ms=self._moment() if dice.random() < 0.1 else None,
            residency_ms=dice.choice((0, 30, 200, 1000)),
            concurrency=dice.choice((1, 2, 50)),
            disk_us=dice.choice((0, 0, 3_000, 20_000)),
        )

    def _whole_run(self, *, may_renew: bool = False) -> Node:
        """What one run does: a sequence, and possibly another generation after it."""
        parts = [self._node(0)]
        while self.left > 0 and (self.label == "root" or self.dice.random() < 0.5):
            parts.append(self._node(0))
        node: Node = {"do": "seq", "of": parts}
        if may_renew and self.dice.random() < 0.15:
            self.left = self.dice.randint(1, 4)
            node["next"] = self._whole_run()
        return node

    def _node(self, depth: int) -> Node:
        """A node with everything below it."""
        self.left -= 1
        makers = self._leaves()
        if depth < _DEPTH_AT_MOST and self.left > 0 and self.dice.random() < 0.6:
            makers = self._branches()
        make = self.dice.choices([m for m, _ in makers], [w for _, w in makers])[0]
        return make(depth + 1)

    def _leaves(self) -> list[tuple[Callable[[int], Node], int]]:
        return [
            (self._step, 5),
            (self._write, 7),
            (self._read, 1),
            (self._sleep, 2),
            (self._wait, 4),
            (self._ask, 2),
            (self._stamp, 1),
            (self._note, 1),
        ]

    def _branches(self) -> list[tuple[Callable[[int], Node], int]]:
        both = [
            (self._several("gather"), 5),
            (self._several("group"), 3),
            (self._several("sorted"), 2),
            (self._several("seq"), 3),
            (self._catch, 2),
            (self._finally, 2),
            (self._handshake, 1),
            (self._child, 3),
        ]
        loose = [
            (self._several("first"), 3),
            (self._several("race"), 3),
            (self._several("completed"), 2),
            (self._within, 4),
            (self._cancelled, 4),
        ]
        return both if self.settled else both + loose

    # Leaves.

    def _name(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def _moment(self) -> int:
        short, middle, long = (0, 60), (60, 500), (500, 3000)
        return self.dice.randint(*self.dice.choice((short, short, middle, middle, long)))

    def _few(self) -> int:
        return self.dice.randint(0, 60)

    def _step(self, _depth: int) -> Node:
        dice = self.dice
        node: Node = {
            "do": "step",
            "name": self._name(),
            "ms": self._few(),
            "fails": 0,
            "attempts": 1,
        }
        node["sync"] = dice.random() < 0.2
        if dice.random() < 0.3:
            node["attempts"] = 3
            node["fails"] = dice.choice((1, 2, 99))
        if not self.settled and dice.random() < 0.15:
            node["timeout_ms"] = self._few() + 1
        return self._caught(node, certain=node["fails"] == 99)

    def _caught(self, node: Node, *, certain: bool) -> Node:
        """A node that fails is caught most of the time, in a settled program always."""
        if certain and (self.settled or self.dice.random() < 0.7):
            return {"do": "catch", "of": node}
        return node

    def _read(self, _depth: int) -> Node:
        return {
            "do": "read",
            "name": self._name(),
            "ms": self._few(),
            "fails": self.dice.choice((0, 0, 2)),
        }

    def _write(self, _depth: int) -> Node:
        dice = self.dice
        recovery = dice.choice(RECOVERIES)
        script = [
            {
                "answer": dice.choices(_ANSWERS, _WEIGHTS)[0],
                "ms": self._few(),
                "after_ms": self._few(),
            }
            for _ in range(dice.choice((0, 0, 1, 1, 2, 3)))
        ]
        refused = dice.random() < 0.08
        if not refused:
            _at_most_two_refusals(script)
        node: Node = {
            "do": "write",
            "name": self._name(),
            "recovery": recovery,
            "sync": dice.random() < 0.25,
            "script": script,
            "refused": refused,
            "lookups": [
                dice.choice(("truth", "cannot_tell", "fails")) for _ in range(dice.randint(0, 2))
            ],
        }
        return self._caught(node, certain=refused)

    def _sleep(self, _depth: int) -> Node:
        return {"do": "sleep", "ms": self._moment(), "plain": self.dice.random() < 0.3}

    def _wait(self, _depth: int) -> Node:
        dice = self.dice
        name = self._name()
        signal = name if self.settled else dice.choice(("a", "b"))
        at_ms = 0 if dice.random() < 0.2 else self._moment()
        self.signals.append((self.label, signal, f"t{name}", at_ms, dice.random() < 0.3))
        node: Node = {"do": "wait", "signal": signal}
        if not self.settled and dice.random() < 0.3:
            node["timeout_ms"] = self._moment() + 1
        return node

    def _ask(self, _depth: int) -> Node:
        node: Node = {"do": "ask", "name": self._name()}
        if not self.settled and self.dice.random() < 0.4:
            node["deadline_ms"] = self._moment() + 1
        return node

    def _stamp(self, _depth: int) -> Node:
        return {"do": "stamp", "name": self._name()}

    def _note(self, _depth: int) -> Node:
        return {"do": "note", "name": self._name()}

    # Branches.

    def _several(self, how: str) -> Callable[[int], Node]:
        def make(depth: int) -> Node:
            count = self.dice.randint(2, _BRANCHES_AT_MOST)
            return {"do": how, "of": [self._node(depth) for _ in range(count)]}

        return make

    def _catch(self, depth: int) -> Node:
        if self.settled:
            return {"do": "catch", "of": self._node(depth)}
        return {"do": "catch", "of": {"do": "seq", "of": [self._node(depth), *self._failing()]}}

    def _failing(self) -> list[Node]:
        return [{"do": "raise"}] if self.dice.random() < 0.4 else []

    def _finally(self, depth: int) -> Node:
        return {"do": "guarded", "of": self._node(depth), "finally": self._node(_DEPTH_AT_MOST)}

    def _handshake(self, depth: int) -> Node:
        return {"do": "handshake", "of": self._node(depth)}

    def _within(self, depth: int) -> Node:
        plain = self.dice.random() < 0.3
        return {"do": "within", "ms": self._moment(), "plain": plain, "of": self._node(depth)}

    def _cancelled(self, depth: int) -> Node:
        return {"do": "cancelled", "ms": self._moment(), "of": self._node(depth)}

    def _child(self, depth: int) -> Node:
        if self.nesting >= 2:
            return self._step(depth)
        outer, self.label = self.label, f"c{self._name()}"
        self.nesting += 1
        node: Node = {"do": CHILD, "label": self.label, "of": self._whole_run()}
        self.nesting -= 1
        self.label = outer
        node["close"] = (
            "cancel" if self.settled else self.dice.choice(("cancel", "wait", "abandon"))
        )
        node["awaits"] = 1 if self.settled else self.dice.choice((0, 1, 1, 2))
        return node


_ANSWERS: Final = ("ok", "refused", "lost", "made_then_lost", "late", "silent")
_WEIGHTS: Final = (3, 2, 2, 3, 2, 1)


def _at_most_two_refusals(script: list[dict[str, Any]]) -> None:
    refusals = [entry for entry in script if entry["answer"] == "refused"]
    for entry in refusals[2:]:
        entry["answer"] = "ok"
