"""A support desk's home: what it remembers, what it clears, and what it will not touch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.support_desk.home import DeskHome, HomeError, Orders
from examples.support_desk.intake import reference_of

ORDERS = Orders(train="a.csv", tickets="b.csv", contents="0f", limit=3, floor=0.3)


@pytest.fixture
def home(tmp_path: Path) -> DeskHome:
    return DeskHome(tmp_path / "home")


def test_a_new_home_has_no_orders(home: DeskHome) -> None:
    assert home.orders() is None
    with home.sole_user():
        assert home.orders() is None
        home.finish()
        assert home.orders() is None


def test_orders_are_remembered_until_they_are_finished(home: DeskHome) -> None:
    with home.sole_user():
        home.give(ORDERS)
    again = DeskHome(home.folder)
    assert again.orders() == ORDERS
    again.finish()
    again.finish()
    finished = again.orders()
    assert finished is not None
    assert finished != ORDERS
    assert (finished.finished, finished.contents) == (True, "0f")


def test_orders_that_name_no_model_are_those_of_the_offline_decider(home: DeskHome) -> None:
    home.folder.mkdir()
    told = {"train": "a.csv", "tickets": "b.csv", "contents": "0f", "limit": 3, "floor": 0.3}
    (home.folder / "orders.json").write_text(json.dumps(told))
    assert home.orders() == ORDERS
    assert ORDERS.model == "nearest-examples"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"train": "a.csv"}', '{"colour": "red"}'])
def test_garbled_orders_are_named(home: DeskHome, text: str) -> None:
    home.folder.mkdir()
    (home.folder / "orders.json").write_text(text)
    with pytest.raises(HomeError, match=r"orders\.json is garbled"):
        home.orders()


def test_clearing_removes_what_is_its_own_and_nothing_else(home: DeskHome) -> None:
    with home.sole_user():
        home.give(ORDERS)
        home.desk.mkdir()
        (home.desk / "config.ini").write_text("")
        home.refunds.mkdir()
        assert home.vault_key().stat().st_mode & 0o777 == 0o600
        assert home.vault_key().read_text() == home.vault_key().read_text()
        for name in (
            "desk.log",
            "refunds.log",
            "journal.db",
            "journal.db-vault",
            "journal.db-wal",
            "journal.db.executor",
        ):
            (home.folder / name).write_text("")
        for name in ("desktop.txt", "journal.txt"):
            (home.folder / name).write_text("mine")
        for _ in range(2):
            home.clear()
            left = {path.name for path in home.folder.iterdir()}
            assert left == {"demo.lock", "desktop.txt", "journal.txt"}


def test_a_folder_of_other_things_is_no_home(home: DeskHome) -> None:
    home.folder.mkdir()
    (home.folder / "letter.txt").write_text("dear")
    with pytest.raises(HomeError, match=r"something else \(letter\.txt\)"), home.sole_user():
        pass
    assert [path.name for path in home.folder.iterdir()] == ["letter.txt"]


def test_what_a_cleared_home_left_behind_does_not_hinder_it(home: DeskHome) -> None:
    with home.sole_user():
        home.desk.mkdir()
    with home.sole_user():
        home.clear()
        assert not home.desk.exists()


def test_a_home_has_one_user_at_a_time(home: DeskHome) -> None:
    other = DeskHome(home.folder)
    refused = pytest.raises(HomeError, match="another demo works in")
    with home.sole_user(), refused, other.sole_user():
        pass
    with other.sole_user():
        pass


def test_a_path_with_blanks_and_signs_is_a_store(tmp_path: Path) -> None:
    store = DeskHome(tmp_path / "my 100% desk").store
    assert store == f"sqlite:///{tmp_path}/my%20100%25%20desk/journal.db"


def test_references_count_from_one() -> None:
    assert [reference_of(0), reference_of(9999)] == ["T-0001", "T-10000"]
