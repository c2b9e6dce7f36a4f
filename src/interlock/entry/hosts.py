"""Which host names and origins a request may carry.

A page in a browser must not reach the API, neither by a forged form, nor through a name that its
attacker points at 127.0.0.1 (DNS rebinding). So a request must name a host that this server knows,
and one that says it comes from a page must come from this server's own.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

__all__ = ["LOOPBACK_NAMES", "allowed_hosts", "host_name", "is_loopback", "is_own_origin"]

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST: Final = re.compile(
    r"^(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>\d{1,5}))?$"
)


def host_name(value: str) -> str | None:
    """The name in a `Host` header, lower case and without its port; None when it is malformed."""
    found = _HOST.match(value.strip())
    if found is None:
        return None
    return (found["six"] or found["name"]).lower().removesuffix(".")


def is_loopback(host: str) -> bool:
    """Whether a host to bind to is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def allowed_hosts(bound: str, configured: Iterable[str]) -> frozenset[str]:
    """The names that a request may ask for: loopback's, the bound one, and those configured.

    A server bound to all addresses has no name of its own: those must be configured.
    """
    names = {name.lower() for name in configured} | LOOPBACK_NAMES
    return frozenset(names if _is_everywhere(bound) else names | {bound.lower()})


def _is_everywhere(bound: str) -> bool:
    try:
        return ipaddress.ip_address(bound).is_unspecified
    except ValueError:
        return not bound


def is_own_origin(origin: str, host: str) -> bool:
    """Whether an `Origin` is this server's own, as the request's `Host` names it."""
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and rest.lower() == host.strip().lower()
