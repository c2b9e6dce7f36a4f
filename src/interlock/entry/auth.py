"""Who a request comes from: an API key or an OAuth token in `Authorization: Bearer …`.

One check for the whole server, made at the door before a body is read. What is wrong with a
credential is told only once its signature or its secret has been proven; before that, every answer
is the same.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers

from interlock.clock import Clock
from interlock.entry.auth_identity import Identity
from interlock.entry.auth_keys import KEY_PREFIX, KeyFile
from interlock.entry.auth_tokens import (
    IssuerUnreachableError,
    TokenRefusedError,
    Tokens,
    read_token_terms,
)
from interlock.entry.problem import RequestError
from interlock.errors import InvalidInputError

__all__ = ["METADATA_PATH", "AuthOptions", "Authenticator", "authenticator", "is_open"]

# RFC 9728, section 3.1: below it stands the path of the resource.
METADATA_PATH: Final = "/.well-known/oauth-protected-resource"
_OPEN: Final = frozenset({"/healthz", "/readyz"})
_log = logging.getLogger("interlock.http")


@dataclass(frozen=True, kw_only=True)
class AuthOptions:
    """Where credentials are looked up: a file of API keys, a file about tokens, or both."""

    keys: Path | None = None
    tokens: Path | None = None

    @classmethod
    def of(cls, keys: str | None, tokens: str | None) -> AuthOptions:
        """Files by their names; an empty name counts as absent."""
        return cls(keys=Path(keys) if keys else None, tokens=Path(tokens) if tokens else None)

    @property
    def wanted(self) -> bool:
        """Whether anything is to be looked up at all."""
        return self.keys is not None or self.tokens is not None


def authenticator(options: AuthOptions, clock: Clock) -> Authenticator | None:
    """What checks credentials, or None where none are wanted.

    Raises `InvalidInputError` for a file that is not there or cannot be used, since a server that
    cannot tell anybody apart should not start.
    """
    if not options.wanted:
        return None
    keys = None
    if options.keys is not None:
        if not options.keys.exists():
            raise InvalidInputError(
                f"there is no file of keys {str(options.keys)!r}: `interlock key new` makes it.",
                file=str(options.keys),
            )
        keys = KeyFile(options.keys, clock)
        keys.keys()
    tokens = None if options.tokens is None else Tokens(read_token_terms(options.tokens), clock)
    return Authenticator(keys, tokens)


def is_open(path: str) -> bool:
    """Whether a path is answered without a credential: health, and where to get a token."""
    return path in _OPEN or path == METADATA_PATH or path.startswith(f"{METADATA_PATH}/")


class Authenticator:
    """Finds out who calls."""

    def __init__(self, keys: KeyFile | None, tokens: Tokens | None) -> None:
        self._keys = keys
        self.tokens = tokens

    async def identify(self, headers: Headers, scheme: str) -> Identity:
        """Who a request's credential names. Raises `RequestError`: 401, or 503 for the moment."""
        given = headers.getlist("authorization")
        challenge = self._challenge(headers, scheme)
        if not given:
            raise RequestError(
                "unauthenticated",
                "Say who calls: send an API key or an OAuth token as `Authorization: Bearer …`.",
                headers={"WWW-Authenticate": challenge},
            )
        word, _, credential = given[0].partition(" ")
        invalid = {"WWW-Authenticate": f'{challenge}, error="invalid_token"'}
        if len(given) > 1 or word.lower() != "bearer":
            raise RequestError(
                "unauthenticated", "Send one `Authorization: Bearer …`.", headers=invalid
            )
        try:
            return await self._identify(credential.strip())
        except TokenRefusedError as error:
            detail = f"The credential is not taken: {error}."
            raise RequestError("unauthenticated", detail, headers=invalid) from error

    async def _identify(self, credential: str) -> Identity:
        try:
            if credential.startswith(KEY_PREFIX) and self._keys is not None:
                return _by_key(self._keys, credential)
            if self.tokens is not None:
                return await self.tokens.identify(credential)
        except (IssuerUnreachableError, InvalidInputError) as error:
            _log.error("nobody can be identified: %s", error)
            raise RequestError(
                "identity_unavailable",
                "Nobody can be identified right now; the server's log says why. Try again later.",
                headers={"Retry-After": "10"},
            ) from error
        raise TokenRefusedError("it is none that is known here")

    def _challenge(self, headers: Headers, scheme: str) -> str:
        if self.tokens is None:
            return 'Bearer realm="interlock"'
        # The door has checked the host.
        where = f"{scheme}://{headers['host']}{METADATA_PATH}"
        return f'Bearer realm="interlock", resource_metadata="{where}"'


def _by_key(keys: KeyFile, credential: str) -> Identity:
    found = keys.find(credential)
    if found is None:
        raise TokenRefusedError("it is none that is known here")
    state = found.state(keys.now())
    if state != "valid":
        raise TokenRefusedError(f"key {found.id} is {state}; ask for a new one")
    return found.identity()
