"""Identifiers: time-ordered for runs and messages, derived where a repeat must give the same."""

from __future__ import annotations

import hashlib

from interlock.clock import Clock

__all__ = ["derived_id", "new_id"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(one + other for one in _ALPHABET for other in _ALPHABET)


def _base32(number: int, length: int) -> str:
    """The lowest digits of a number; `length` is even."""
    return "".join([_PAIRS[number >> bits & 1023] for bits in range(length * 5 - 10, -1, -10)])


def new_id(prefix: str, clock: Clock) -> str:
    """A fresh id, e.g. `run_01j9…`: 10 characters of milliseconds, 16 random ones.

    Ids sort by the time they were made. The 80 random bits make a collision not worth handling.
    """
    milliseconds = clock.now_us() // 1000
    random = int.from_bytes(clock.random_bytes(10), "big")
    return f"{prefix}_{_base32(milliseconds, 10)}{_base32(random, 16)}"


def derived_id(prefix: str, *parts: str | int) -> str:
    """An id that the same parts always give: 128 bits of SHA-256 over the length-marked parts."""
    material = b"".join(b"%d:%s" % (len(p), p) for p in (str(x).encode() for x in parts))
    number = int.from_bytes(hashlib.sha256(material).digest()[:16], "big")
    return f"{prefix}_{_base32(number, 26)}"
