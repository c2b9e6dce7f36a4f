"""Make a virtual environment in the checkout hold exactly what a lock file says.

Promises: everything installed comes from a lock file by hash, the tools that build a package
included; only the project itself and packages that publish no wheel are built. A second call with
nothing changed does no work and starts no pip. A call that was interrupted is noticed by the next
one, which begins again from an empty folder. Two calls at once wait for each other. Standard
library only: this runs before anything is installed.

The environment is made without a pip of its own and filled by the pip of the interpreter that runs
this script, so Debian's `python3` and `python3-pip` are enough; `python3-venv` is not needed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
OLDEST_PIP = (22, 3)  # the first with `pip --python`
STATE = "set-up.json"
UNFINISHED = "set-up.unfinished"


def stop(message: str) -> NoReturn:
    """End with `message` on standard error and exit code 1."""
    sys.stderr.write(f"set-up: {message}\n")
    raise SystemExit(1)


def say(message: str) -> None:
    """Tell the person what takes time; one line."""
    sys.stderr.write(f"set-up: {message}\n")
    sys.stderr.flush()


def digest(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the checkout's set-up lock; the operating system frees it if we are killed."""
    with Path(__file__).open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up of this checkout is under way; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class Environment:
    """One virtual environment, and the record in it of what has been installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    def recorded(self) -> dict[str, str]:
        """What the last call finished: the checkout's path, digests by lock name and of "project".

        Only the lock installed last is named: packages of an older one may have been replaced.
        """
        try:
            state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def record(self, state: dict[str, str]) -> None:
        """Replace the record in one step, so that a reader never sees half of it."""
        draft = self.folder / (STATE + ".draft")
        draft.write_text(json.dumps(state, indent=1, sort_keys=True), encoding="utf-8")
        draft.replace(self.folder / STATE)

    def reason_to_rebuild(self) -> str | None:
        """Why the folder cannot be kept, or None if it can."""
        if (self.folder / UNFINISHED).exists():
            return "an earlier set-up was interrupted"
        if not os.access(str(self.python), os.X_OK):
            return "its interpreter is gone"
        found = self._python_version()
        if found != sys.version_info[:2]:
            return f"it is for Python {_dotted(found)}, and this is Python {_dotted()}"
        place = self.recorded().get("root")
        if place is not None and place != str(ROOT):
            return "the checkout was moved"
        return None

    def create(self) -> None:
        """Make an empty environment, marked unfinished until its first install succeeds."""
        self.folder.mkdir(parents=True)
        (self.folder / UNFINISHED).touch()
        _run([sys.executable, "-m", "venv", "--without-pip", str(self.folder)])

    def install(self, *arguments: str) -> None:
        """Run the outer interpreter's pip on this environment."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-qq"]
        _run([*pip, "--disable-pip-version-check", "--no-input", *arguments])

    def _python_version(self) -> tuple[int, ...]:
        text = (self.folder / "pyvenv.cfg").read_text(encoding="utf-8")
        found = re.search(r"^version(?:_info)?\s*=\s*(\d+)\.(\d+)", text, re.MULTILINE)
        return tuple(int(part) for part in found.groups()) if found else ()


def _dotted(version: tuple[int, ...] = sys.version_info[:2]) -> str:
    return ".".join(str(part) for part in version) or "an unknown version"


def _run(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PIP_USER"}
    code = subprocess.call(command, env=environment, stdin=subprocess.DEVNULL)
    if code != 0:
        check_pip()
        stop(f"{' '.join(command)}\nended with code {code}; what it printed above says why")


def check_interpreter() -> None:
    """Stop with the remedy unless this Python and its pip are new enough."""
    if sys.version_info[:2] < OLDEST_PYTHON:
        stop(
            f"Python {_dotted()} is too old, Interlock needs {_dotted(OLDEST_PYTHON)} or newer; "
            "name one: make PYTHON=python3.11"
        )


def leave(environment: Path) -> None:
    """Go on as the interpreter below if this one is of `environment` (activated), or has no pip."""
    if sys.prefix == sys.base_prefix:
        return
    if Path(sys.prefix) != environment and importlib.util.find_spec("pip") is not None:
        return
    below = Path(sys.base_prefix, "bin", f"python{_dotted()}")
    if below.exists():
        os.execv(str(below), [str(below), *sys.argv])


def check_pip() -> None:
    """Stop with the remedy unless this interpreter has a pip that can fill another environment."""
    command = [sys.executable, "-m", "pip", "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.match(r"pip (\d+)\.(\d+)", answer.stdout)
    if answer.returncode != 0 or found is None:
        stop(
            f"{sys.executable} has no pip; install it (Debian: apt-get install python3-pip) "
            "or name another interpreter: make PYTHON=python3.11"
        )
    if tuple(int(part) for part in found.groups()) < OLDEST_PIP:
        stop(
            f"the pip of {sys.executable} is older than {_dotted(OLDEST_PIP)}; "
            f"upgrade it: {sys.executable} -m pip install --upgrade pip"
        )


def satisfied(state: dict[str, str], locks: list[Path]) -> bool:
    """Whether one of the locks, each of which holds the first one whole, is what is installed."""
    return any(state.get(lock.name) == digest(lock) for lock in locks)


def provide(
    environment: Environment, locks: list[Path], *, build: Path | None, project: bool
) -> None:
    """Bring the environment to the first lock, and to the project's present metadata if asked."""
    state = environment.recorded() if environment.reason_to_rebuild() is None else {}
    manifest = digest(ROOT / "pyproject.toml")
    packages_stand = satisfied(state, locks)
    if packages_stand and (not project or state.get("project") == manifest):
        return
    if environment.folder.exists():
        reason = environment.reason_to_rebuild()
        if reason is not None:
            say(f"{environment.folder.name} is made anew: {reason}")
            shutil.rmtree(str(environment.folder))
    if not environment.folder.exists():
        environment.create()
    (environment.folder / UNFINISHED).touch()
    if not packages_stand:
        say(f"installing {locks[0].name} into {environment.folder.name}")
        if build is not None:
            environment.install("--require-hashes", "-r", str(build))
        # A lock is whole; and pip takes `a[extra]` of a dependent for another package than `a`.
        whole = ("--no-deps", "--require-hashes", "--no-build-isolation")
        environment.install(*whole, "-r", str(locks[0]))
        state = {"root": str(ROOT), locks[0].name: digest(locks[0])}
    if project:
        environment.install("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
        state = {**state, "project": manifest}
    environment.record(state)
    (environment.folder / UNFINISHED).unlink()


def arguments() -> argparse.Namespace:
    """The command line, read."""
    parser = argparse.ArgumentParser(description="Fill a virtual environment from a lock file.")
    parser.add_argument("--venv", required=True, type=Path, help="folder of the environment")
    parser.add_argument("--lock", required=True, type=Path, help="lock file to install")
    parser.add_argument(
        "--or", dest="wider", type=Path, action="append", default=[], metavar="LOCK",
        help="a lock that contains the first: if it is installed, nothing is to do",
    )  # fmt: skip
    parser.add_argument("--build", type=Path, help="lock of the tools that build, installed first")
    parser.add_argument("--project", action="store_true", help="install this project, editable")
    return parser.parse_args()


def main() -> None:
    """Do what the command line asks."""
    asked = arguments()
    check_interpreter()
    environment = Environment(asked.venv.absolute())
    leave(environment.folder)
    try:
        with alone():
            provide(
                environment, [asked.lock, *asked.wider], build=asked.build, project=asked.project
            )
    except KeyboardInterrupt:
        stop("interrupted; the next call begins again")


if __name__ == "__main__":
    main()
