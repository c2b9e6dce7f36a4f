"""200 model calls with answers of 10 KB: the journal grows by what is new, not by what was said.

A model is sent the whole conversation at every call. Measured is what each call adds to the
journal, its events and their bodies, in one long ask and in a conversation of as many asks, of
which each is a run of its own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.agent_scripts import ANSWER_KB
from benchmarks.model_agents import build_app
from benchmarks.model_server import open_model
from benchmarks.report import Target
from benchmarks.scenario import Outcome, play, scenario_arguments
from interlock import LocalExecutor
from interlock.journal.event import Entry
from interlock.journal.rows import RunFilter

_EARLY = 20
_WINDOW = 10
_DIFFERS_MAX = 0.10
_ALL = 1_000_000


async def agent_growth(options: argparse.Namespace, directory: Path) -> Outcome:
    """Measure both forms of a long conversation."""
    shown: dict[str, list[int]] = {}
    files: dict[str, int] = {}
    for form in ("one ask", "a conversation of asks"):
        folder = directory / form.replace(" ", "-")
        folder.mkdir()
        async with open_model("writer", folder / "model.jsonl") as url:
            app = build_app(folder, model_url=url)
            async with app.executor() as executor:
                talk = _one_ask if form == "one ask" else _conversation
                await talk(executor, options.calls)
                shown[form] = _bytes_of_calls(executor)
            files[form] = sum(path.stat().st_size for path in folder.glob("interlock.db*"))
    return _outcome(options, shown, files)


async def _one_ask(executor: LocalExecutor, calls: int) -> None:
    await (await executor.start("writer", f"Write {calls} pages")).result()


async def _conversation(executor: LocalExecutor, calls: int) -> None:
    for number in range(calls):
        given = {"prompt": f"Page {number}", "conversation": "long"}
        await (await executor.start("talker", given)).result()


def _bytes_of_calls(executor: LocalExecutor) -> list[int]:
    """What each call added: all since the answer before it, in the order of the journal."""
    store = executor.store
    runs = [row.id for row in store.runs(RunFilter(limit=_ALL))]
    conversation = "conversation/default/long"
    streams = [*runs, *([conversation] if store.head(conversation) else [])]
    entries = [entry for stream in streams for entry in store.read(stream)]
    sizes: list[int] = []
    size = 0
    for entry in sorted(entries, key=lambda each: each.event.position):
        size += _size(entry)
        if entry.event.kind == "model_answered":
            sizes.append(size)
            size = 0
    return sizes


def _size(entry: Entry) -> int:
    return len(entry.body or b"") + len(str(dict(entry.event.header)))


def _around(sizes: Sequence[int], call: int) -> float:
    """Bytes a call around this one, which is the last where there are no more."""
    end = min(len(sizes), call + _WINDOW // 2)
    return statistics.mean(sizes[end - _WINDOW : end])


def _outcome(
    options: argparse.Namespace, shown: dict[str, list[int]], files: dict[str, int]
) -> Outcome:
    rows: list[list[str]] = []
    targets: list[Target] = []
    for form, sizes in shown.items():
        early, late = _around(sizes, _EARLY), _around(sizes, options.calls)
        rows.append(
            [form, f"{len(sizes)}", f"{early:,.0f}", f"{late:,.0f}", f"{files[form] / 2**20:.1f}"]
        )
        differs = late / early - 1
        targets.append(
            Target(
                name=f"{form}: bytes a call at call {len(sizes)} against call {_EARLY}",
                wanted=f"within {_DIFFERS_MAX:.0%}",
                measured=f"{differs:+.1%}",
                met=abs(differs) <= _DIFFERS_MAX and len(sizes) == options.calls,
            )
        )
    return Outcome(
        title=f"{options.calls} model calls, answers of {ANSWER_KB} KB",
        heads=["", "calls", f"bytes at {_EARLY}", f"bytes at {options.calls}", "file, MB"],
        rows=rows,
        targets=targets,
        answer={"bytes": shown, "file_bytes": files},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenario from the command line."""
    parser = scenario_arguments("agent_growth", __doc__ or "", engines=("interlock",))
    parser.add_argument("--calls", type=int, default=200)
    return play(parser.parse_args(arguments), agent_growth)


if __name__ == "__main__":
    sys.exit(main())
