"""Following a run in the server's own process: a reader that is slow delays nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import cast

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel

from interlock import App, Run
from interlock.clock import SystemClock
from interlock.entry.event_stream import event_frames
from interlock.entry.service import Service
from tests.support.event_frames import Frame, frames_of
from tests.support.local import app_in, executing, until_state

PIECES = 3000


async def counting(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    """An answer in very many pieces."""
    for number in range(PIECES):
        yield f"{number}\n"


def app_that_counts(folder: Path) -> App:
    """An app whose agent counts once somebody says `go`."""
    app = app_in(folder)
    agent = Agent(FunctionModel(stream_function=counting), name="counter")

    @app.agent("count")
    async def count(run: Run) -> int:
        await run.wait("go")
        return len((await run.ask(agent, "Count.")).split())

    return app


def frames(service: Service, run: str) -> AsyncGenerator[bytes]:
    """The frames of a run, for a reader who wants bodies."""
    return cast("AsyncGenerator[bytes]", event_frames(service, run, 0, bodies=True))


def read(frame: bytes) -> Frame:
    """A frame taken apart."""
    (found,) = frames_of([*frame.decode().splitlines(), ""])
    return found


def test_a_slow_reader_loses_fragments_and_delays_no_run(tmp_path: Path) -> None:
    async def main() -> None:
        async with executing(app_that_counts(tmp_path)) as local:
            service = Service(local, SystemClock(), timedelta(seconds=1))
            handle = await local.start("count")
            await until_state(local, handle.id, "waiting")
            async with aclosing(frames(service, handle.id)) as slow:
                first = read(await anext(slow))
                # It reads no further, and the run goes on to its end.
                await local.client.signal(handle.id, "go")
                assert await handle.result() == PIECES
                rest = [read(frame) async for frame in slow]
        fragments = [frame for frame in rest if frame.event == "fragment"]
        assert 0 < len(fragments) < PIECES
        assert fragments[-1].data["text"] == f"{PIECES - 1}\n"
        events = [first, *(frame for frame in rest if frame.event != "fragment")]
        assert [frame.id for frame in events] == [str(n) for n in range(1, len(events) + 1)]

    asyncio.run(main())


def test_a_reader_who_has_gone_is_not_followed_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with executing(app_that_counts(tmp_path)) as local:
            service = Service(local, SystemClock(), timedelta(seconds=1))
            handle = await local.start("count")
            await until_state(local, handle.id, "waiting")
            async with aclosing(frames(service, handle.id)) as reader:
                await anext(reader)
                assert service.feed.followed(handle.id)
            assert not service.feed.followed(handle.id)

    asyncio.run(main())


SECRET = "DE89 3704 0044 0532 0130 00"


async def telling(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
    """An account number in two pieces, with the other asker's between them."""
    yield f"Pay to {SECRET[:14]}"
    await asyncio.sleep(0)
    yield f"{SECRET[14:]}, please."


def test_two_answers_at_once_do_not_show_what_each_of_them_hides(tmp_path: Path) -> None:
    """Both are called the same: their pieces are told apart all the same."""
    app = app_in(tmp_path)
    agent = Agent(FunctionModel(stream_function=telling), name="teller")

    @app.agent("tell")
    async def tell(run: Run) -> list[str]:
        await run.wait("go")
        return list(await asyncio.gather(*(run.ask(agent, f"{n}") for n in range(3))))

    async def main() -> None:
        async with executing(app) as local:
            service = Service(local, SystemClock(), timedelta(seconds=1))
            handle = await local.start("tell")
            await until_state(local, handle.id, "waiting")
            async with aclosing(frames(service, handle.id)) as reader:
                await anext(reader)
                await local.client.signal(handle.id, "go")
                told = [read(frame) async for frame in reader]
        streams: dict[int, str] = {}
        for frame in told:
            if frame.event == "fragment":
                stream = frame.data["stream"]
                streams[stream] = streams.get(stream, "") + frame.data["text"]
        assert list(streams.values()) == ["Pay to [iban], please."] * 3

    asyncio.run(main())
