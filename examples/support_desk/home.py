"""The folder in which one support desk lives: its help desk, its journal, and what it was told.

| in the home | what |
|---|---|
| `desk/`, `desk.lock`, `desk.log`, `desk.ready.json` | Roundup and its process |
| `journal.db` and its side files | the journal of the agent's runs |
| `orders.json` | which examples, messages and floor it works with, and whether it has finished |

A home holds nothing else; whatever else is in a folder makes it unfit to be one.
"""

import fcntl
import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from .helpdesk import find_running

__all__ = [
    "DEFAULT_HOME",
    "HANDBOOK",
    "HOME_VARIABLE",
    "TICKETS",
    "TRAIN",
    "DeskHome",
    "HomeError",
    "Orders",
]

_DATA: Final = Path(__file__).parent / "data"
TRAIN: Final = _DATA / "train.csv"
TICKETS: Final = _DATA / "tickets.csv"
HANDBOOK: Final = _DATA / "handbook.md"
DEFAULT_HOME: Final = Path(".interlock") / "support_desk"
HOME_VARIABLE: Final = "SUPPORT_DESK_HOME"

_OWN: Final = ("desk", "journal.db", "orders.json")


class HomeError(Exception):
    """A home cannot be used; the message says which, why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a support desk was told. `contents` is a digest of what the files held then."""

    train: str
    tickets: str
    contents: str
    limit: int | None
    floor: float
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
            raise HomeError(f"{self._orders} is garbled ({problem}); remove {self.folder}") from problem

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
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "demo.lock").open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HomeError(
                    f"another demo works in {self.folder}; wait for it, or give another --home"
                ) from None
            yield

    def clear(self) -> None:
        """Stop the home's help desk and remove what the home holds. Repeatable."""
        running = find_running(self.desk)
        if running is not None:
            running.stop()
        # The orders go last: until then a clearing that was interrupted is done again.
        for path in sorted(self._own_files(), key=lambda path: path == self._orders):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @property
    def _orders(self) -> Path:
        return self.folder / "orders.json"

    def _own_files(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.name.startswith(_OWN)]

    def _refuse_foreign(self) -> None:
        if not self.folder.is_dir() or self._orders.exists():
            return
        foreign = {path.name for path in self.folder.iterdir()} - {"demo.lock"}
        if foreign and not (foreign <= {path.name for path in self._own_files()}):
            raise HomeError(
                f"{self.folder} holds something else ({sorted(foreign)[0]}); "
                "give --home a folder of its own"
            )
