"""What the policies as they stand now would have decided on calls that were made before.

Read from the journal alone: nothing is written and nothing outside is asked. What a run relied on
when it named a destination is gathered again from its input and its trusted reads, in the order in
which it had them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from interlock.errors import InterlockError, NotAllowedError
from interlock.journal.event import Entry
from interlock.journal.rows import RunFilter, RunRow
from interlock.journal.store import Store
from interlock.orchestrator.agent import Agent
from interlock.orchestrator.gateway import Call, Gateway
from interlock.orchestrator.history import at_path
from interlock.tools.masking.vault import HANDLE
from interlock.tools.provenance import Sources
from interlock.tools.tool import Tool

__all__ = ["Judged", "Replayed", "replay_policies"]

Verdict = Literal["allow", "ask", "deny"]
_PAGE: Final = 500


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One recorded call. `was` is what was decided then, `now` what would be; None: not judged.

    `why` is the reason of the present decision, or why there is none.
    """

    run: str
    key: str
    agent: str
    tool: str
    at_us: int
    was: Verdict
    now: Verdict | None
    policies: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """All recorded calls of a stretch of time, the oldest run first."""

    calls: tuple[Judged, ...]

    def changed(self) -> tuple[Judged, ...]:
        """Those that would be decided otherwise."""
        return tuple(call for call in self.calls if call.now not in (None, call.was))

    def not_judged(self) -> tuple[Judged, ...]:
        """Those that cannot be judged again."""
        return tuple(call for call in self.calls if call.now is None)

    def counts(self) -> dict[str, int]:
        """How many went from what to what, as `allow → ask`; `not judged` beside them."""
        counts: dict[str, int] = {}
        for call in self.calls:
            name = "not judged" if call.now is None else f"{call.was} → {call.now}"
            counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items()))


@dataclass(slots=True)
class _Recorded:
    """A call as the journal has it. Without `arguments` it cannot be judged: `why` says why."""

    key: str
    tool: str
    at_us: int
    was: Verdict
    arguments: dict[str, Any] | None
    why: str = ""


@dataclass(slots=True)
class _Reading:
    """One run, read in order."""

    gateway: Gateway
    row: RunRow
    agent: Agent | None
    tools: Mapping[str, Tool[..., Any]]
    since_us: int
    sources: Sources = field(default_factory=Sources)
    asked: dict[str, _Recorded] = field(default_factory=dict[str, _Recorded])
    # Whether something that the run relied on was erased.
    incomplete: bool = False

    def calls(self, entries: list[Entry]) -> Iterator[Judged]:
        for entry in entries:
            recorded = self._recorded(entry)
            if recorded is not None and recorded.at_us >= self.since_us:
                yield self._judged(recorded)
            self._rely_on(entry)

    def _recorded(self, entry: Entry) -> _Recorded | None:
        event = entry.event
        header = event.header
        match event.kind:
            case "run_queued" | "run_continued":
                self.asked.clear()
            case "task_opened" if header.get("kind") == "approval":
                details = _object(entry).get("details")
                card = cast("dict[str, Any]", details) if isinstance(details, dict) else {}
                given = _found(entry, card.get("arguments"))
                recorded = _Recorded(
                    event.key, str(card.get("tool", "")), event.at_us, "ask", *given
                )
                # About the same call a second person is asked: that is one call.
                before = self.asked.get(event.key)
                self.asked[event.key] = recorded
                if before is None or before.arguments != recorded.arguments:
                    return recorded
            case "effect_intended" if "policies" in header and event.key not in self.asked:
                given = _found(entry, _object(entry))
                self.asked[event.key] = made = _Recorded(
                    event.key, str(header["tool"]), event.at_us, "allow", *given
                )
                return made
            case "effect_denied" if header.get("reason") == "policy":
                if event.key not in self.asked:
                    why = "the journal does not keep the arguments of a call that was refused"
                    return _Recorded(event.key, _named(event.key), event.at_us, "deny", None, why)
            case "read_completed" if "policies" in header:
                given = _found(entry, _object(entry).get("args"))
                return _Recorded(event.key, _named(event.key), event.at_us, "allow", *given)
            case "read_failed" if _refused(_object(entry).get("result")):
                given = _found(entry, _object(entry).get("args"))
                return _Recorded(event.key, _named(event.key), event.at_us, "deny", *given)
            case _:
                pass
        return None

    def _rely_on(self, entry: Entry) -> None:
        """What a session takes as a source, at the same point."""
        kind = entry.event.kind
        if kind in ("run_queued", "run_continued") and self.agent is not None:
            self.sources = Sources()
            self.incomplete = entry.erased
            given = json.loads(entry.body or b"null")
            for path in self.agent.grounding.input:
                self.sources.add("the run's input", at_path(given, path))
            self.sources.add("the contract", list(self.agent.grounding.values))
        elif kind == "read_completed" and entry.event.header.get("integrity") != "untrusted":
            name = _named(entry.event.key)
            tool = self.tools.get(name)
            if tool is not None and tool.standing.trusted:
                self.incomplete = self.incomplete or entry.erased
                self.sources.add(name, _object(entry).get("result"))

    def _judged(self, recorded: _Recorded) -> Judged:
        said: dict[str, Any] = {
            "run": self.row.id,
            "key": recorded.key,
            "agent": self.row.agent,
            "tool": recorded.tool,
            "at_us": recorded.at_us,
            "was": recorded.was,
        }
        tool = self.tools.get(recorded.tool)
        if recorded.arguments is None:
            return Judged(**said, now=None, why=recorded.why)
        if tool is None:
            return Judged(**said, now=None, why=f"there is no tool {recorded.tool!r} any more")
        if self.incomplete and tool.standing.destinations:
            return Judged(**said, now=None, why="what its destinations rested on was erased")
        try:
            tool.bind((), recorded.arguments)
        except InterlockError as error:  # The tool takes something else today.
            return Judged(**said, now=None, why=error.message)
        call = Call(
            agent=self.row.agent,
            tenant=self.row.tenant,
            tool=tool,
            arguments=recorded.arguments,
        )
        decision = self.gateway.judge(call, self.sources, recorded.at_us)
        return Judged(**said, now=decision.verdict, policies=decision.policies, why=decision.reason)


def replay_policies(
    store: Store,
    gateway: Gateway,
    agents: Mapping[str, Agent],
    tools: Mapping[str, Tool[..., Any]],
    since_us: int,
) -> Replayed:
    """Judge every call again that was decided since a moment (microseconds since 1970, UTC).

    A call whose arguments are erased, under handles or not in the journal is counted as not judged.
    Repeatable; changes nothing.
    """
    calls: list[Judged] = []
    for row in _runs(store, since_us):
        reading = _Reading(gateway, row, agents.get(row.agent), tools, since_us)
        calls += reading.calls(store.read(row.id))
    return Replayed(calls=tuple(sorted(calls, key=lambda call: call.at_us)))


def _runs(store: Store, since_us: int) -> Iterator[RunRow]:
    before = ""
    while True:
        page = store.runs(RunFilter(before=before, limit=_PAGE))
        # A run that began long ago may have called something yesterday.
        yield from (row for row in page if row.updated_at_us >= since_us)
        if len(page) < _PAGE:
            return
        before = page[-1].id


def _found(entry: Entry, arguments: Any) -> tuple[dict[str, Any] | None, str]:
    if entry.erased:
        return None, "its arguments were erased"
    if not isinstance(arguments, dict):
        return None, "the journal does not have its arguments"
    if HANDLE.search(json.dumps(arguments)):
        return None, "its arguments are under handles"
    return cast("dict[str, Any]", arguments), ""


def _object(entry: Entry) -> dict[str, Any]:
    data: Any = None if entry.body is None else json.loads(entry.body)
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def _refused(failure: Any) -> bool:
    """Whether a read has failed because the policies said no."""
    types: Any = cast("dict[str, Any]", failure).get("types") if isinstance(failure, dict) else ()
    return f"{NotAllowedError.__module__}.{NotAllowedError.__qualname__}" in (types or ())


def _named(key: str) -> str:
    """The name of the operation: of a tool that reads, its own."""
    return key.rpartition("/")[2].partition("#")[0]
