"""Decides a message's category from its nearest labelled examples. No model.

The examples sit in a full-text index of SQLite (FTS5) in memory; the nearest
are those with the best BM25 score for the message's words. It is honest about
what it is: it knows words and not meaning, and says how far its examples
disagree, so that a floor on the confidence leaves the doubtful to a person.

The same examples and message always give the same decision.
"""

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from .labelled import Labelled

__all__ = ["OFFLINE", "Decision", "NearestExamples", "Neighbour"]

OFFLINE: Final = "nearest-examples"
"""The name of the decider as a model."""

# Chosen on a public set of 10,000 training messages in 77 categories, of which
# a part was held out; 10 to 30 neighbours and powers from 3 to 6 do as well.
_NEIGHBOURS: Final = 20
_VOTE_POWER: Final = 4
# A word in more than this share of the examples tells categories apart very
# little and costs most of a search, as all its examples have to be scored.
_COMMON_SHARE: Final = 0.3
_COMMON_FROM_EXAMPLES: Final = 1000

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A labelled example near a message; `score` is its BM25 score, higher is nearer."""

    text: str
    category: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A category for a message.

    `confidence` lies between 0 and 1 and orders decisions by how sure they are;
    it is no probability. `neighbours` are the examples that decided, nearest
    first. `category` is None, with confidence 0, when no example shares a word.
    """

    category: str | None
    confidence: float
    neighbours: tuple[Neighbour, ...]


class NearestExamples:
    """A decider over labelled examples; a context manager.

    Threads may share it. A decision over 10,000 examples takes some ten
    milliseconds.
    """

    method: Final = "nearest labelled examples by BM25; no model was used"

    def __init__(self, examples: Sequence[Labelled]) -> None:
        """Index the examples. Raises `ValueError` when there are none."""
        if not examples:
            raise ValueError("a decider needs labelled examples; it was given none")
        self._examples = tuple(examples)
        self._index = _build_index(self._examples)
        self._frequency: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the index; the decider cannot be used after."""
        self._index.close()

    @property
    def categories(self) -> frozenset[str]:
        """Every category that can be decided."""
        return frozenset(example.category for example in self._examples)

    def decide(self, text: str) -> Decision:
        """The category most of the nearest examples speak for. Repeating is safe."""
        words = list(dict.fromkeys(_WORD.findall(text.lower())))
        neighbours = self._nearest(words)
        if not neighbours:
            return Decision(category=None, confidence=0.0, neighbours=())
        votes = _votes(neighbours)
        best = max(votes, key=lambda category: votes[category])
        confidence = _lead(votes) * self._known_share(words)
        return Decision(category=best, confidence=confidence, neighbours=neighbours)

    def _nearest(self, words: Sequence[str]) -> tuple[Neighbour, ...]:
        if not words:
            return ()
        query = " OR ".join(f'"{word}"' for word in self._telling(words))
        found: Iterable[tuple[int, float]] = self._index.execute(
            "SELECT rowid, rank FROM examples WHERE examples MATCH ? ORDER BY rank, rowid LIMIT ?",
            (query, _NEIGHBOURS),
        )
        return tuple(self._neighbour(row, -rank) for row, rank in found)

    def _neighbour(self, row: int, score: float) -> Neighbour:
        example = self._examples[row]
        return Neighbour(text=example.text, category=example.category, score=score)

    def _telling(self, words: Sequence[str]) -> Sequence[str]:
        if len(self._examples) < _COMMON_FROM_EXAMPLES:
            return words
        limit = _COMMON_SHARE * len(self._examples)
        return [word for word in words if self._examples_with(word) <= limit] or words

    def _known_share(self, words: Sequence[str]) -> float:
        return sum(self._examples_with(word) > 0 for word in words) / len(words)

    def _examples_with(self, word: str) -> int:
        if word not in self._frequency:
            (count,) = self._index.execute(
                "SELECT count(*) FROM examples WHERE examples MATCH ?", (f'"{word}"',)
            ).fetchone()
            self._frequency[word] = count
        return self._frequency[word]


def _build_index(examples: Sequence[Labelled]) -> sqlite3.Connection:
    # SQLite's own locks make one connection safe for threads that only read.
    index = sqlite3.connect(":memory:", check_same_thread=False)
    index.execute(
        "CREATE VIRTUAL TABLE examples USING fts5"
        "(text, content='', tokenize='porter unicode61 remove_diacritics 2')"
    )
    rows = ((row, example.text) for row, example in enumerate(examples))
    index.executemany("INSERT INTO examples(rowid, text) VALUES (?, ?)", rows)
    index.execute("INSERT INTO examples(examples) VALUES ('optimize')")
    index.commit()
    return index


def _votes(neighbours: Iterable[Neighbour]) -> dict[str, float]:
    # The power lets one near example outweigh many that are half as near.
    nearest = 0.0
    votes: defaultdict[str, float] = defaultdict(float)
    for neighbour in neighbours:
        nearest = nearest or neighbour.score
        votes[neighbour.category] += (neighbour.score / nearest) ** _VOTE_POWER
    return votes


def _lead(votes: dict[str, float]) -> float:
    first, second = sorted([*votes.values(), 0.0], reverse=True)[:2]
    return (first - second) / sum(votes.values())
