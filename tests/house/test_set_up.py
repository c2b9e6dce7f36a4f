"""The set-up of a checkout: fast when nothing changed, and whole again after an interruption.

The real script runs in a copy of the set-up's files and installs a wheel that the test makes; no
registry is asked (`PIP_NO_INDEX`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.source import ROOT

# One worker, so that the environment is made once.
pytestmark = pytest.mark.xdist_group("set-up")

# The interpreter with a pip that a person starts from; the environment of the tests has none.
OUTER_PYTHON = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")


def make_wheel(folder: Path, version: str) -> str:
    """Put a wheel of the package `signal_box` into `folder`; its line for a lock, with its hash."""
    files = {
        "signal_box.py": f"version = {version!r}\n",
        f"signal_box-{version}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: signal-box\nVersion: {version}\n"
        ),
        f"signal_box-{version}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = f"signal_box-{version}.dist-info/RECORD"
    files[record] = "".join(f"{name},,\n" for name in [*files, record])
    wheel = folder / f"signal_box-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return f"signal-box=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


class Checkout:
    """A small checkout with the set-up script, a lock of one package, and wheels to install."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = folder / "environment"
        self.lock = folder / "requirements" / "dev.txt"
        (folder / "scripts").mkdir(parents=True)
        self.lock.parent.mkdir()
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.lock.write_text(make_wheel(self.wheels, "1.0"), encoding="utf-8")
        shutil.copy(ROOT / "scripts" / "set_up.py", folder / "scripts")
        shutil.copy(ROOT / "pyproject.toml", folder)

    def set_up(
        self, *more: str, lock: Path | None = None, code: int = 0, python: Path = OUTER_PYTHON
    ) -> str:
        """Run the script; its messages. Fails the test if it does not end with `code`."""
        script = self.folder / "scripts" / "set_up.py"
        wanted = ["--venv", str(self.environment), "--lock", str(lock or self.lock), *more]
        done = subprocess.run(
            [str(python), str(script), *wanted], capture_output=True, text=True, check=False,
            env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stderr

    def installed(self) -> str:
        """The version of the package that the environment's interpreter finds."""
        program = "import signal_box, sys; print(signal_box.version, sys.prefix)"
        command = [str(self.environment / "bin" / "python"), "-c", program]
        version, place = subprocess.check_output(command, text=True).split()
        assert Path(place) == self.environment
        return version

    def leave_trace(self) -> Path:
        """A file in the environment that only a rebuild removes."""
        trace = self.environment / "trace"
        trace.touch()
        return trace


@pytest.fixture(scope="module")
def shared_checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the set-up has run once."""
    made = Checkout(tmp_path_factory.mktemp("set-up") / "checkout")
    assert "installing dev.txt into environment" in made.set_up()
    return made


@pytest.fixture
def checkout(shared_checkout: Checkout) -> Checkout:
    """The checkout with its first lock, set up, whatever the test before did to it."""
    shared_checkout.lock.write_text(make_wheel(shared_checkout.wheels, "1.0"), encoding="utf-8")
    shared_checkout.set_up()
    return shared_checkout


def test_a_second_call_does_nothing(checkout: Checkout) -> None:
    trace = checkout.leave_trace()
    assert checkout.set_up() == ""
    assert trace.exists()
    assert checkout.installed() == "1.0"


def test_a_wider_lock_that_is_installed_serves_a_narrower_one(checkout: Checkout) -> None:
    narrow = checkout.lock.with_name("example.txt")
    narrow.write_text("# fewer\n", encoding="utf-8")
    assert checkout.set_up("--or", str(checkout.lock), lock=narrow) == ""
    assert "installing example.txt" in checkout.set_up(lock=narrow)


def test_a_changed_lock_is_installed_into_the_same_environment(checkout: Checkout) -> None:
    trace = checkout.leave_trace()
    checkout.lock.write_text(make_wheel(checkout.wheels, "2.0"), encoding="utf-8")
    assert "installing dev.txt" in checkout.set_up()
    assert (checkout.installed(), trace.exists()) == ("2.0", True)
    assert checkout.set_up() == ""


def test_a_set_up_that_did_not_finish_begins_again(checkout: Checkout) -> None:
    """Here a package is refused, since it is not the one that was locked; a kill does the same."""
    trace, right = checkout.leave_trace(), checkout.lock.read_text(encoding="utf-8")
    checkout.lock.write_text(f"signal-box==1.0 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    (checkout.environment / "pyvenv.cfg").write_text("version = 3.8.1\n", encoding="utf-8")
    refused = checkout.set_up(code=1)
    assert "it is for Python 3.8" in refused
    assert "DO NOT MATCH THE HASHES" in refused
    checkout.lock.write_text(right, encoding="utf-8")
    assert "made anew: an earlier set-up was interrupted" in checkout.set_up()
    assert (checkout.installed(), trace.exists()) == ("1.0", False)


def test_it_works_from_within_the_activated_environment(checkout: Checkout) -> None:
    trace = checkout.leave_trace()
    (checkout.environment / "set-up.unfinished").touch()
    said = checkout.set_up(python=checkout.environment / "bin" / "python")
    assert "made anew" in said
    assert (checkout.installed(), trace.exists()) == ("1.0", False)


def test_a_lost_interpreter_is_replaced(checkout: Checkout) -> None:
    (checkout.environment / "bin" / "python").unlink()
    assert "its interpreter is gone" in checkout.set_up()
    assert checkout.installed() == "1.0"


def test_a_moved_checkout_is_set_up_again(checkout: Checkout, tmp_path: Path) -> None:
    moved = Checkout(tmp_path / "moved")
    shutil.copytree(checkout.environment, moved.environment, symlinks=True)
    assert "the checkout was moved" in moved.set_up()
    assert moved.installed() == "1.0"
