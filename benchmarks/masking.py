"""Mixed text full of secrets and personal data goes through runs; no view shows any of it.

Each piece of text is a run's input, arguments and results of a read and of a write, the result of a
step, a signal, what a person edits a call to, a note in the log, the output, and for some runs the
error they end with. Then every way out is read without `--reveal`: `interlock show`, `explain`,
`runs`, `inbox` and `effects`, for people and as JSON; every GET of the HTTP API; refusals; the log.
Whatever was seeded is looked for in all of it. The recorded text is counted, not the views' size.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from typer.testing import CliRunner

from benchmarks.mixed_text import Piece, make_piece
from benchmarks.report import Target
from benchmarks.scenario import Outcome, play, say, scenario_arguments
from interlock import App, LocalExecutor, Run
from interlock.cli import app as program
from interlock.clock import SystemClock
from interlock.entry.api import guarded_api
from interlock.entry.service import Service
from interlock.errors import InterlockError
from interlock.tools.masking import mask_text
from interlock.tools.masking.logs import mask_logs

MS_PER_KB_MAX: Final = 1.0
_RECORDED_PER_RUN: Final = 12
"""About how often the journal holds the text of a run; the result tells how much it was."""
_log = logging.getLogger("interlock.masking_bench")


class BrokenError(Exception):
    """What a tool of another system may end with: words that quote what it was given."""


@dataclass(kw_only=True)
class Found:
    """What was seeded and what was seen; the time that masking itself took."""

    seeded: Counter[str] = field(default_factory=Counter[str])
    leaks: Counter[str] = field(default_factory=Counter[str])
    examples: list[str] = field(default_factory=list[str])
    recorded_bytes: int = 0
    looked_at_bytes: int = 0
    text_bytes: int = 0
    masking_seconds: float = 0.0
    views: int = 0

    def look(self, where: str, shown: str, piece: Piece) -> None:
        """Look for everything seeded in a piece in what a view shows."""
        self.views += 1
        self.looked_at_bytes += len(shown)
        for seeded in piece.seeded:
            for trace in seeded.traces():
                if trace in shown or json.dumps(trace)[1:-1] in shown:
                    self.leaks[f"{where}: {seeded.maker}"] += 1
                    if len(self.examples) < 20:
                        place = max(0, shown.find(trace) - 60)
                        self.examples.append(f"{where}: …{shown[place : place + 160]!r}")
                    break


def build_app(directory: Path) -> App:
    """An application in which a text goes everywhere that it can go."""
    app = App("masking", store=f"sqlite:///{directory / 'journal.db'}")

    @app.tool(effect="read")
    async def look(text: str) -> dict[str, str]:
        return {"found": text}

    @app.tool(effect="write", recovery="repeatable", autonomy="suggest", owner="desk")
    async def note(text: str) -> dict[str, str]:
        return {"noted": text}

    @app.tool(effect="write", recovery="repeatable", attempts=1, refused=(BrokenError,))
    async def broken(text: str) -> None:
        raise BrokenError(text)

    async def think(text: str) -> str:
        return text

    @app.agent("reader")
    async def reader(run: Run, given: dict[str, Any]) -> str:
        text = given["text"]
        await run.call(look, text=text)
        await run.call(note, text=text)
        await run.step(think, text)
        told = await run.wait("more", type=str)
        _log.warning("the run says %s", told)
        if given["fails"]:
            await run.call(broken, text=text)
        return told

    return app


async def leaks_in(directory: Path, pieces: Iterable[Piece], *, views_each: int = 1) -> Found:
    """Send each piece through a run and look at every `views_each`-th one's views."""
    found = Found()
    app = build_app(directory)
    with _listening() as logged:
        async with app.executor() as local:
            service = Service(local, SystemClock(), timedelta(seconds=5))
            transport = httpx.ASGITransport(app=guarded_api(service, ["localhost"]))
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost", timeout=60
            ) as http:
                for number, piece in enumerate(pieces):
                    await _one(local, http, directory, piece, number, found, views_each)
                    found.look("log", logged.getvalue(), piece)
                    logged.seek(0)
                    logged.truncate()
                    if number % 50 == 0:
                        say(f"{found.recorded_bytes / 1e6:.0f} MB, leaks {dict(found.leaks)}")
    return found


async def _one(
    local: LocalExecutor,
    http: httpx.AsyncClient,
    directory: Path,
    piece: Piece,
    number: int,
    found: Found,
    views_each: int,
) -> None:
    found.seeded.update(each.kind for each in piece.seeded)
    found.text_bytes += len(piece.text.encode())
    began = time.process_time()
    masked = mask_text(piece.text)
    found.masking_seconds += time.process_time() - began
    found.look("mask_text", masked, piece)
    handle = await local.start("reader", {"text": piece.text, "fails": number % 4 == 0})
    run = handle.id
    while not (tasks := local.store.inbox()):
        await asyncio.sleep(0.001)
    looked_at = number % views_each == 0
    if looked_at:
        await _views(http, directory, piece, run, found, "waiting")
    choice = {"choice": "edit", "value": {"text": piece.text}, "note": piece.text[:2000]}
    refused = await http.post(
        f"/v1/inbox/{tasks[0].id}/decision", json={"choice": piece.text[:4000]}
    )
    found.look("http refusal", refused.text, piece)
    await local.client.decide(tasks[0].id, choice["choice"], value=choice["value"], by="ann")
    # The edit is judged as a new call, and asked about again.
    while not (again := [one for one in local.store.inbox() if one.id != tasks[0].id]):
        await asyncio.sleep(0.001)
    await local.client.decide(again[0].id, "approve", by="bob", note=piece.text[:2000])
    await local.client.signal(run, "more", piece.text)
    fails = number % 4 == 0
    try:
        assert await handle.result() == piece.text
        assert not fails
    except InterlockError as error:
        if not fails or piece.text[:40] not in error.message:
            raise
        # As every command and every answer tells it.
        found.look("error", mask_text(error.message), piece)
    if looked_at:
        await _views(http, directory, piece, run, found, "ended")
    found.recorded_bytes += sum(len(entry.body or b"") for entry in local.store.read(run))


async def _views(
    http: httpx.AsyncClient, directory: Path, piece: Piece, run: str, found: Found, when: str
) -> None:
    store = ["--store", f"sqlite:///{directory / 'journal.db'}"]
    for command in (["show", run, "--bodies"], ["explain", run], ["runs"], ["inbox"], ["effects"]):
        for more in ([], ["--json"]):
            invoked = [*command, *more, *store]
            shown = await asyncio.to_thread(CliRunner().invoke, program, invoked)
            assert shown.exit_code == 0, (invoked, shown.output, shown.exception)
            found.look(" ".join([when, "cli", command[0], *more]), shown.output, piece)
    for path in await _paths(http, run):
        answer = await http.get(path)
        found.look(f"{when} http {path.replace(run, 'RUN')}", answer.text, piece)


async def _paths(http: httpx.AsyncClient, run: str) -> list[str]:
    """Every GET of the API that needs no more than a run, with and without bodies."""
    described = (await http.get("/openapi.json")).json()["paths"]
    paths: list[str] = []
    for path, operations in described.items():
        filled = path.replace("{run}", run)
        if "get" not in operations or "{" in filled or "stream" in path:
            continue
        wanted = {each.get("name") for each in operations["get"].get("parameters", [])}
        paths.append(filled + ("?bodies=true" if "bodies" in wanted else ""))
    return paths


@contextmanager
def _listening() -> Iterator[io.StringIO]:
    """What the log writes, through the filters that `serve` puts on its handlers."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("interlock")
    mask_logs([handler])
    logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False
    try:
        yield written
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


async def masking(options: argparse.Namespace, directory: Path) -> Outcome:
    """As much text as is asked for, in pieces."""
    size = options.piece_kb * 1024
    count = max(1, round(options.megabytes * 1e6 / (size * _RECORDED_PER_RUN)))
    began = time.perf_counter()
    pieces = (make_piece(number, size) for number in range(count))
    found = await leaks_in(directory, pieces, views_each=options.views_each)
    return _outcome(found, time.perf_counter() - began)


def _outcome(found: Found, seconds: float) -> Outcome:
    kb = found.text_bytes / 1024
    ms_per_kb = found.masking_seconds * 1e3 / kb
    leaks = sum(found.leaks.values())
    by_kind: Counter[str] = Counter()
    for where, number in found.leaks.items():
        by_kind[where.rpartition(": ")[2]] += number
    rows = [[kind, f"{number:,}"] for kind, number in sorted(found.seeded.items())]
    return Outcome(
        title=(
            f"{found.recorded_bytes / 1e6:.0f} MB recorded, {found.looked_at_bytes / 1e6:.0f} MB "
            f"of {found.views:,} views looked at in {seconds:.0f} s; masking "
            f"{found.text_bytes / 1e6 / found.masking_seconds:.1f} MB/s"
        ),
        heads=["seeded", "number"],
        rows=rows,
        targets=[
            Target(name="seeded things seen", wanted="none", measured=f"{leaks}", met=not leaks),
            Target(
                name="masking",
                wanted=f"under {MS_PER_KB_MAX:g} ms a KB",
                measured=f"{ms_per_kb:.3f} ms a KB of processor time",
                met=ms_per_kb < MS_PER_KB_MAX,
            ),
        ],
        answer={
            "recorded_bytes": found.recorded_bytes,
            "seeded": dict(found.seeded),
            "leaks": dict(found.leaks),
            "leaks_by_maker": dict(by_kind),
            "examples": found.examples,
            "ms_per_kb": ms_per_kb,
            "seconds": seconds,
        },
    )


def main() -> int:
    """Run the scenario from the command line."""
    parser = scenario_arguments("masking", __doc__ or "", engines=["interlock"])
    parser.add_argument("--megabytes", type=float, default=100.0, help="of text in the journal")
    parser.add_argument("--piece-kb", type=int, default=48, help="text of one run")
    parser.add_argument("--views-each", type=int, default=1, help="look at every n-th run's views")
    return play(parser.parse_args(), masking)


if __name__ == "__main__":
    sys.exit(main())
