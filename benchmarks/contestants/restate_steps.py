# pyright: basic, reportMissingImports=false
"""Restate: its server, a service of ten steps under hypercorn, and the load over its HTTP ingress.

Everything listens on 127.0.0.1, on free ports unless ``--ingress-port`` is given, and stays in
this process's group. The server's usage telemetry is switched off; all else is as shipped, the
synced log (``log-server.rocksdb-disable-wal-fsync = false``) included, and that is read from the
server itself.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import re
import socket
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.contestants.entry import Durability, arguments, run

START_SECONDS = 60.0
REQUEST_SECONDS = 120.0
SERVICE = "benchmarks.contestants.restate_service:app"
_POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The four ports of one Restate node and its service."""

    ingress: int
    admin: int
    node: int
    service: int

    def configuration(self) -> str:
        """The server's configuration file: defaults but for addresses and telemetry."""
        return (
            'listen-mode = "tcp"\n'
            'bind-ip = "127.0.0.1"\n'
            'advertised-host = "127.0.0.1"\n'
            f"bind-port = {self.node}\n"
            "disable-telemetry = true\n"
            f'[ingress]\nbind-address = "127.0.0.1:{self.ingress}"\n'
            f'[admin]\nbind-address = "127.0.0.1:{self.admin}"\n'
        )


class RestateSteps:
    """Requests to the ingress, each one run."""

    def __init__(
        self, client: httpx.AsyncClient, ingress: int, version: str, durability: Durability
    ) -> None:
        self.version = version
        self._client = client
        self._url = f"http://127.0.0.1:{ingress}/bench/run"
        self._durability = durability
        self._numbers = itertools.count()

    async def run_once(self) -> None:
        response = await self._client.post(self._url, json=next(self._numbers))
        response.raise_for_status()

    async def durability(self) -> Durability:
        return self._durability


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _choose_ports(options: argparse.Namespace) -> Ports:
    ingress, admin, node, service = _free_ports(4)
    return Ports(ingress=options.ingress_port or ingress, admin=admin, node=node, service=service)


async def _output(*command: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    printed, _ = await child.communicate()
    return printed.decode()


async def _read_version(server: str) -> str:
    found = re.search(r"\d+\.\d+\.\d+", await _output(server, "--version"))
    return found.group() if found else "unknown"


async def _read_durability(server: str, configuration: Path) -> Durability:
    loaded = tomllib.loads(
        await _output(server, "--config-file", str(configuration), "--dump-config")
    )
    unsynced = loaded["log-server"]["rocksdb-disable-wal-fsync"]
    setting = f"log-server wal fsync={'off' if unsynced else 'on'}"
    return Durability(setting=setting, synced=not unsynced)


async def _until_ready(
    client: httpx.AsyncClient, url: str, child: asyncio.subprocess.Process, log: Path
) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            if child.returncode is not None:
                raise RuntimeError(
                    f"{url} never answered: its process ended. Its log:\n{log.read_text()[-2000:]}"
                )
            try:
                if (await client.get(url)).is_success:
                    return
            except httpx.TransportError:
                pass  # not listening yet; the timeout above bounds this
            await asyncio.sleep(_POLL_SECONDS)


async def _register(client: httpx.AsyncClient, ports: Ports) -> None:
    """Tell the server of the service; tried again while hypercorn is still starting."""
    url = f"http://127.0.0.1:{ports.admin}/deployments"
    deployment = {"uri": f"http://127.0.0.1:{ports.service}"}
    async with asyncio.timeout(START_SECONDS):
        while not (response := await client.post(url, json=deployment)).is_success:
            if response.status_code < 500 and "connect" not in response.text.lower():
                raise RuntimeError(
                    f"Restate refused the service: {response.status_code} {response.text}"
                )
            await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def _child(
    log: Path, *command: str, cwd: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {**os.environ, "DO_NOT_TRACK": "1"}
    with log.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, cwd=cwd, env=environment
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


def _hypercorn(options: argparse.Namespace, ports: Ports) -> list[str]:
    bind = f"127.0.0.1:{ports.service}"
    return [
        sys.executable,
        "-m",
        "hypercorn",
        options.service,
        "--bind",
        bind,
        "--log-level",
        "warning",
    ]


@asynccontextmanager
async def open_restate(options: argparse.Namespace) -> AsyncIterator[RestateSteps]:
    """A new Restate node with the service registered."""
    ports = _choose_ports(options)
    configuration = options.directory / "restate.toml"
    configuration.write_text(ports.configuration())
    server_log, service_log = options.directory / "server.log", options.directory / "service.log"
    base = str(options.directory / "data")
    server = [options.server, "--config-file", str(configuration), "--base-dir", base, "--no-logo"]
    limits = httpx.Limits(max_connections=options.concurrency + 5)
    async with (
        _child(server_log, *server) as node,
        _child(service_log, *_hypercorn(options, ports), cwd=options.service_directory),
        httpx.AsyncClient(timeout=REQUEST_SECONDS, limits=limits) as client,
    ):
        await _until_ready(client, f"http://127.0.0.1:{ports.admin}/health", node, server_log)
        await _register(client, ports)
        await _until_ready(
            client, f"http://127.0.0.1:{ports.ingress}/restate/health", node, server_log
        )
        durability = await _read_durability(options.server, configuration)
        yield RestateSteps(client, ports.ingress, await _read_version(options.server), durability)


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "")
    parser.add_argument("--server", required=True, help="the restate-server executable")
    parser.add_argument("--ingress-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--service", default=SERVICE, help="module:app of the service")
    parser.add_argument(
        "--service-directory", type=Path, default=None, help="where to import the service from"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run(open_restate, _options())
