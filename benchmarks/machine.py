"""The machine that figures belong to: processor, memory, file system, how fast it syncs."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Machine", "describe", "syncs_per_second"]

_BLOCK = b"\0" * 4096
_VOLATILE = {"tmpfs", "ramfs", "devtmpfs"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a figure needs beside it to mean anything."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    filesystem: str
    syncs_per_second: float
    python: str
    sqlite: str

    @property
    def volatile(self) -> bool:
        """Whether the store lies in memory, where a sync costs nothing and proves nothing."""
        return self.filesystem in _VOLATILE

    def to_json(self) -> dict[str, object]:
        """The fields as a JSON object."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gb:.0f} GB, {self.system}, "
            f"{self.filesystem} with {self.syncs_per_second:,.0f} syncs/s of 4 KB, "
            f"Python {self.python}, SQLite {self.sqlite}"
        )


def describe(directory: Path) -> Machine:
    """This machine, its disk measured in ``directory`` for a second."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        system=f"{platform.system()} {platform.release()}",
        filesystem=_filesystem(directory),
        syncs_per_second=syncs_per_second(directory),
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
    )


def syncs_per_second(directory: Path, seconds: float = 1.0) -> float:
    """How many appends of 4 KB a second this directory takes, each synced before the next."""
    sync = getattr(os, "fdatasync", os.fsync)
    path = directory / "syncs.probe"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        count, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            os.write(descriptor, _BLOCK)
            sync(descriptor)
            count += 1
        return count / passed
    finally:
        os.close(descriptor)
        path.unlink()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _filesystem(directory: Path) -> str:
    """The type of the file system that holds the directory, or ``unknown`` off Linux."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    place = directory.resolve()
    best, kind = -1, "unknown"
    for line in mounts.read_text().splitlines():
        _, mount, filesystem, *_ = line.split(" ")
        if place.is_relative_to(mount) and len(mount) >= best:
            best, kind = len(mount), filesystem
    return kind
