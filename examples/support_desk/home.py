"""The folder in which one support desk lives: its help desk, its journal, and what it was told.

| in the home | what |
|---|---|
| `desk/`, `desk.lock`, `desk.log`, `desk.ready.json` | Roundup and its process |
| `refunds/`, `refunds.lock`, … (likewise) | the refund service and its process |
| `journal.db` and its side files | the journal of the agent's runs, and its vault |
| `vault.key` | what opens the vault; for the owner alone |
| `demo.lock` | held by the demo that works in it |
| `orders.json` | what it works with (examples, messages, floor, model), and whether it is done |

A folder that holds anything else is not taken for a home.
"""

import base64
import fcntl
import json
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from .decider import OFFLINE
from .helpdesk import find_running

__all__ = [
    "DEFAULT_HOME",
    "ELSEWHERE",
    "HANDBOOK",
    "HOME_VARIABLE",
    "MODEL_VARIABLE",
    "TICKETS",
    "TRAIN",
    "DeskHome",
    "HomeError",
    "Orders",
]

_DATA: Final = Path(__file__).parent / "data"
TRAIN: Final = _DATA / "train.csv"
TICKETS: Final = _DATA / "tickets.csv"
# Messages that ask for money; the demo works on them after the example's own.
ELSEWHERE: Final = _DATA / "elsewhere.csv"
HANDBOOK: Final = _DATA / "handbook.md"
DEFAULT_HOME: Final = Path(".interlock") / "support_desk"
HOME_VARIABLE: Final = "SUPPORT_DESK_HOME"
MODEL_VARIABLE: Final = "INTERLOCK_MODEL"

_OWN: Final = ("desk", "desk.*", "refunds", "refunds.*", "journal.db*", "vault.*", "orders.*")


class HomeError(Exception):
    """A home cannot be used; the message says which, why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a support desk was told. `contents` is a digest of what the files held then.

    `model` is the name of the model that decides.
    """

    train: str
    tickets: str
    contents: str
    limit: int | None
    floor: float
    model: str = OFFLINE
    finished: bool = False


class DeskHome:
    """A support desk's folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def desk(self) -> Path:
        """The help desk's own home."""
        return self.folder / "desk"

    @property
    def refunds(self) -> Path:
        """The refund service's own home."""
        return self.folder / "refunds"

    @property
    def journal(self) -> Path:
        """The file that holds the journal."""
        return self.folder / "journal.db"

    @property
    def store(self) -> str:
        """The journal as a store's URL."""
        return f"sqlite:///{quote(str(self.journal))}"

    def orders(self) -> Orders | None:
        """What the desk was told, or None in a new home. Raises `HomeError` if it is garbled."""
        try:
            return Orders(**json.loads(self._orders.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as problem:
            raise HomeError(
                f"{self._orders} is garbled ({problem}); remove {self.folder}"
            ) from problem

    def give(self, orders: Orders) -> None:
        """Tell the desk what to do. The file is replaced in one step."""
        draft = self._orders.with_suffix(".part")
        draft.write_text(json.dumps(asdict(orders), indent=2))
        draft.replace(self._orders)

    def finish(self) -> None:
        """Note that everything is done that could be. Repeatable."""
        orders = self.orders()
        if orders is not None:
            self.give(replace(orders, finished=True))

    @contextmanager
    def sole_user(self) -> Generator[None]:
        """Keep others from using the home as well. Raises `HomeError` when somebody does."""
        self._refuse_foreign()
        with self._open_lock() as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HomeError(
                    f"another demo works in {self.folder}; wait for it, or give another --home"
                ) from None
            yield

    def vault_key(self) -> Path:
        """The file with the vault's key, made the first time: for INTERLOCK_VAULT_KEY_FILE."""
        path = self.folder / "vault.key"
        if not path.exists():
            unfinished = path.with_suffix(".part")
            unfinished.touch(mode=0o600)
            unfinished.write_text(f"demo:{base64.b64encode(secrets.token_bytes(32)).decode()}")
            unfinished.replace(path)
        return path

    def stop_desk(self) -> None:
        """End what serves the home's help desk and its refunds, if anything does. Repeatable."""
        for service in (self.desk, self.refunds):
            running = find_running(service)
            if running is not None:
                running.stop()

    def clear(self) -> None:
        """Stop the home's help desk and remove what the home holds. Repeatable."""
        self.stop_desk()
        # The orders go last: until then a clearing that was interrupted is done again.
        for path in sorted(self._own_files(), key=lambda path: path == self._orders):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _open_lock(self) -> IO[str]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return self._lock.open("w")
        except OSError as problem:
            raise HomeError(
                f"{self.folder} cannot be the demo's home: {problem.strerror}; "
                "give --home a folder that can be written"
            ) from problem

    @property
    def _lock(self) -> Path:
        return self.folder / "demo.lock"

    @property
    def _orders(self) -> Path:
        return self.folder / "orders.json"

    def _own_files(self) -> list[Path]:
        return [path for pattern in _OWN for path in self.folder.glob(pattern)]

    def _refuse_foreign(self) -> None:
        if not self.folder.is_dir() or self._orders.exists():
            return
        own = {*self._own_files(), self._lock}
        foreign = sorted(path.name for path in self.folder.iterdir() if path not in own)
        if foreign:
            raise HomeError(
                f"{self.folder} holds something else ({foreign[0]}); "
                "give --home a folder of its own"
            )
