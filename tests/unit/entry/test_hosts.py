"""Which names and origins a request may carry."""

from __future__ import annotations

import pytest

from interlock.entry.hosts import (
    LOOPBACK_NAMES,
    allowed_hosts,
    host_name,
    is_loopback,
    is_own_origin,
)
from tests.support.serving import EVERYWHERE


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8000", "localhost"),
        ("localhost.:80", "localhost"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.1:65535", "127.0.0.1"),
        ("::1", None),
        ("a:b", None),
        ("localhost:80:80", None),
        ("user@localhost", None),
        ("localhost/evil", None),
        ("local host", None),
        ("localhost\n", "localhost"),
        ("", None),
        ("münchen.example", None),
    ],
)
def test_the_name_in_a_host_header(value: str, name: str | None) -> None:
    assert host_name(value) == name


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost"])
def test_what_only_this_machine_reaches(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.168.1.5", "desk.example", ""])
def test_what_others_reach(host: str) -> None:
    assert not is_loopback(host)


def test_a_server_answers_to_its_own_name_and_those_configured() -> None:
    assert allowed_hosts("127.0.0.1", ()) == LOOPBACK_NAMES
    assert allowed_hosts("10.0.0.5", ("Desk.Example",)) == LOOPBACK_NAMES | {
        "10.0.0.5",
        "desk.example",
    }
    assert allowed_hosts(EVERYWHERE, ()) == LOOPBACK_NAMES
    assert allowed_hosts("::", ()) == LOOPBACK_NAMES


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        ("http://localhost:8000", True),
        ("https://LOCALHOST:8000", True),
        ("http://localhost", False),
        ("http://localhost:8001", False),
        ("http://evil.example", False),
        ("ftp://localhost:8000", False),
        ("null", False),
        ("", False),
        ("http://localhost:8000/path", False),
    ],
)
def test_only_the_very_same_origin_is_its_own(origin: str, own: bool) -> None:
    assert is_own_origin(origin, "localhost:8000") is own
