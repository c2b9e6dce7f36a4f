"""The socket that a server listens on."""

from __future__ import annotations

import socket
from typing import Final

from interlock.errors import ConflictError

__all__ = ["listen"]

_BACKLOG: Final = 1024


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, for asyncio; `port` 0 takes a free one.

    It names its protocol, and what it accepts inherits that: asyncio sends small answers at once
    (TCP_NODELAY) only where it is TCP by name, and else each waits some 40 ms for the caller's
    acknowledgement. Raises `ConflictError` when the port is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConflictError(
            f"cannot listen on {host} port {port}: {error.strerror or error}. Choose another with "
            "--port, or end the program that has it.",
            host=host,
            port=port,
        ) from error
    return listener
