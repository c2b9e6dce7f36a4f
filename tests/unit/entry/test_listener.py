"""The socket that a server listens on, and what it accepts."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from interlock.entry.listener import listen
from interlock.errors import ConflictError


def test_what_is_accepted_sends_small_answers_at_once() -> None:
    """Without TCP_NODELAY each answer waits for the acknowledgement of its head, some 40 ms."""

    async def accepted() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def taken(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            found.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listen("127.0.0.1", 0)
        async with await asyncio.start_server(taken, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            option = await found
            writer.close()
            await writer.wait_closed()
            return option

    assert asyncio.run(accepted()) == 1


def test_a_port_that_is_in_use_is_named() -> None:
    with closing(listen("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConflictError, match=str(port)):
            listen("127.0.0.1", port)
